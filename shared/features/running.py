"""The features of the last closed step, one step after the other, in room that does not grow.

    now = Running.start(spec, shape)           nobody did anything yet
    now = now.then(count, amount, kinds)       a step closes
    now.rows()                                 as `extract` makes them of the whole history, to 1e-6

What is older than the longest window is known by running averages, numbers of steps, and the first and the last of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from ..arrays import Doubles, Floats, Ints, as_declared, hold_declared
from .columns import of_activity, of_richer
from .counters import N_COUNTERS, N_KINDS, History
from .crowd import Crowd
from .readings import Activity, RicherRead, activity_read, kinds_used, levels, log_of, richer_read
from .spec import FeatureSpec
from .windows import first_active


@dataclass(frozen=True)
class Running:
    """What a history (..., C, T) is remembered by. Raw behaviour: its repr shows only how many steps there were.

    `recent`: the last W steps of it. `averages` (2 + 8, ..., C): of activity over the spec's two spans and the four long ones, of
    log counts and log amounts over W and 2 W; `of_kinds` (3, 5, ..., C) and `of_user` (6, ...): likewise. `last`, `first`,
    `total` (..., C) and `user_last`, `user_first`, `user_total` (...): active steps; `kind_last` (5, ..., C).
    """

    spec: FeatureSpec
    n_steps: int
    recent: History
    averages: Doubles
    of_kinds: Doubles
    of_user: Doubles
    last: Ints
    first: Ints
    total: Ints
    user_last: Ints
    user_first: Ints
    user_total: Ints
    kind_last: Ints

    def __post_init__(self) -> None:
        hold_declared(self)

    def __repr__(self) -> str:
        return f"Running(<raw> n_steps={self.n_steps})"

    @classmethod
    def start(cls, spec: FeatureSpec, shape: tuple[int, ...]) -> Running:
        """Before the first step, of streams of `shape` (..., C)."""
        user, none = shape[:-1], np.full(shape, -1)
        return cls(
            spec,
            0,
            History.of_counters(np.zeros((N_COUNTERS, *shape, 0), np.float32)),
            np.zeros((10, *shape)),
            np.zeros((3, N_KINDS, *shape)),
            np.zeros((6, *user)),
            none,
            none,
            np.zeros(shape, np.int64),
            np.full(user, -1),
            np.full(user, -1),
            np.zeros(user, np.int64),
            np.full((N_KINDS, *shape), -1),
        )

    @classmethod
    def of(cls, history: History, spec: FeatureSpec) -> Running:
        """As of the last step of a history (..., C, T)."""
        nothing, n_steps, history = cls.start(spec, history.active.shape[:-1]), history.n_steps, spec.of(history)
        if not n_steps:
            return nothing
        at, spans = np.array([n_steps - 1]), spec.spans
        read, user = activity_read(history, spec, at), np.asarray(history.active.any(axis=-2))
        of_all = levels(history.active, at, (*spec.ewma_steps, *spans))
        logs = (levels(log_of(values), at, spans[1:3]) for values in (history.count, history.amount))
        of_user = (levels(values, at, spans[:3]) for values in (user, history.active.sum(axis=-2)))
        more = None if spec.more is None else richer_read(history, spec, at)
        return cls(
            spec,
            n_steps,
            history[..., -spec.window_steps :].copy(),
            np.concatenate([of_all, *logs])[..., 0],
            nothing.of_kinds if more is None else more.kind_averages[..., 0],
            np.concatenate([*of_user])[..., 0],
            read.last[..., 0],
            read.first[..., 0],
            history.active.sum(axis=-1),
            read.user_last[..., 0],
            first_active(user, at)[..., 0],
            user.sum(axis=-1),
            nothing.kind_last if more is None else more.kind_last[..., 0],
        )

    @property
    def size_bytes(self) -> int:
        """What the arrays of it take."""
        own, recent = (getattr(self, one.name) for one in fields(self)), self.recent
        columns = (*own, recent.active, recent.count, recent.amount, recent.kinds)
        return sum(column.nbytes for column in columns if isinstance(column, np.ndarray))

    @as_declared
    def then(self, count: Floats, amount: Floats, kinds: NDArray[np.uint8] | None = None) -> Running:
        """With one more closed step; `count` and `amount` (..., C), `kinds` (5, ..., C). A step that was closed takes nothing any
        more: after a late event, start again from the history."""
        recent = self.spec.of(self.recent.then(count, amount, kinds)[..., -self.spec.window_steps :])
        count, amount = recent.count[..., -1], recent.amount[..., -1]
        step, active = self.n_steps, count > 0
        user, spans = active.any(axis=-1), self.spec.spans
        values = [active] * 6 + [log_of(count)] * 2 + [log_of(amount)] * 2
        of_user = [user] * 3 + [active.sum(axis=-1)] * 3
        after = replace(
            self,
            n_steps=step + 1,
            recent=recent,
            averages=_moved(self.averages, values, (*self.spec.ewma_steps, *spans, *spans[1:3], *spans[1:3])),
            of_user=_moved(self.of_user, of_user, (*spans[:3], *spans[:3])),
            last=np.where(active, step, self.last),
            first=np.where(active & (self.first < 0), step, self.first),
            total=self.total + active,
            user_last=np.where(user, step, self.user_last),
            user_first=np.where(user & (self.user_first < 0), step, self.user_first),
            user_total=self.user_total + user,
        )
        if self.spec.more is None:
            return after
        happened = np.zeros(self.kind_last.shape, bool)
        for kind in kinds_used(recent, self.spec):
            assert kinds is not None
            happened[kind] = kinds[kind] > 0
        return replace(
            after,
            of_kinds=_moved(self.of_kinds, [happened] * 3, spans[:3]),
            kind_last=np.where(happened, step, self.kind_last),
        )

    def rows(self, crowd: Crowd | None = None) -> Floats:
        """Features (..., C, F) as of the last closed step, of which there must be one."""
        read = self._activity()
        out = of_activity(read, self.spec)
        if self.spec.more is not None:
            out = np.concatenate([out, of_richer(read, self._richer(), self.spec, crowd)], axis=-1)
        return out[..., 0, :]

    def _activity(self) -> Activity:
        windows, mid, long = (
            (*self.spec.short_steps, self.spec.window_steps),
            self.spec.mid_steps,
            self.spec.window_steps,
        )
        recent, user = self.recent, np.asarray(self.recent.active.any(axis=-2))
        fast, slow = self.averages[:2].astype(np.float32)
        return Activity(
            at=np.array([self.n_steps - 1]),
            active=tuple(_within(recent.active, k) for k in windows),
            counts=(_within(recent.count, mid), _within(recent.count, long)),
            amounts=(_within(recent.amount, mid), _within(recent.amount, long)),
            last=self.last[..., None],
            first=self.first[..., None],
            total=self.total[..., None].astype(np.float32),
            averages=(fast[..., None], slow[..., None]),
            user_active=tuple(_within(user, k) for k in windows),
            user_last=self.user_last[..., None],
            user_amount=_within(recent.amount.sum(axis=-2, dtype=np.float64), mid),
        )

    def _richer(self) -> RicherRead:
        averages, kinds = self.averages[..., None], self.recent.kinds
        counts = np.zeros((2, *self.kind_last.shape, 1))
        for kind in kinds_used(self.recent, self.spec):
            assert kinds is not None
            counts[:, kind] = [_within(kinds[kind], k) for k in (self.spec.mid_steps, self.spec.window_steps)]
        return RicherRead(
            averages=averages[2:6],
            log_counts=averages[6:8],
            log_amounts=averages[8:],
            user_averages=self.of_user[:3, ..., None],
            user_breadths=self.of_user[3:, ..., None],
            user_first=self.user_first[..., None],
            user_total=self.user_total[..., None].astype(np.float64),
            kind_averages=self.of_kinds[..., None],
            kind_counts=counts,
            kind_last=self.kind_last[..., None],
        )


def _moved(levels: Doubles, values: Sequence[NDArray[np.generic]], spans: Sequence[int]) -> Doubles:
    """Levels (n, ...), each a step further towards its value (...)."""
    out = levels.copy()
    for i, (value, span) in enumerate(zip(values, spans, strict=True)):
        out[i] += 2 / (span + 1) * (value - levels[i])
    return out


def _within(values: NDArray[np.generic], width: int) -> Floats:
    """Sums of the last `width` of values (..., T): (..., 1)."""
    out: Floats = values[..., -width:].sum(axis=-1, dtype=np.float64, keepdims=True).astype(np.float32)
    return out
