"""Users whose steps close one after the other: features, which categories they know, which are watched, which a burst holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Bools, Floats, Ints, as_declared
from shared.features import N_KINDS, Crowd, FeatureSpec, History
from shared.features.columns import of_activity, of_richer
from shared.features.readings import Activity, RicherRead

from .cells import Cells, cells_of
from .kernel import sum_within
from .streams import Streams
from .terms import EVER, USER_ACTIVE, Value, of_categories, of_users

_ACTIVE, _BURST, _HAPPENED = range(3)
_N_WINDOWS = 5


class People:
    """Users of a history (K, C, T) at the close of steps (S,), as they `close` them. Everything is as `extract`, `seen`, `established`
    and `held_by_burst` say it of whole histories, features to 1e-6."""

    def __init__(self, history: History, spec: FeatureSpec, *, bursts: bool = False) -> None:
        self._spec, self._shape, self._at = spec, history.active.shape[:-1], np.empty(0, np.int64)
        cells, of_each = cells_of(history, spec, bursts=bursts)
        self._streams = Streams(cells, of_categories(spec), history.n_steps)
        self._users = Streams(of_each, of_users(spec), history.n_steps)
        self._first = _first(cells, Value.ACTIVE)
        self._user_first = _first(of_each, USER_ACTIVE)
        self._busy = np.zeros(cells.steps.size)
        sum_within(cells.starts, cells.steps, cells.sums, Value.ACTIVE, spec.window_steps, self._busy)

    @as_declared
    def close(self, steps: Sequence[int] | Ints) -> None:
        """Close rising `steps` (S,), and whatever lies between them and the last one that was closed."""
        self._at = np.asarray(steps, np.int64)
        self._streams.move(self._at)
        self._users.move(self._at)

    def rows(self, crowd: Crowd | None = None) -> Floats:
        """Features (K, S, C, F)."""
        read = self._activity()
        out = of_activity(read, self._spec)
        if self._spec.more is not None:
            out = np.concatenate([out, of_richer(read, self._richer(), self._spec, crowd)], axis=-1)
        return np.moveaxis(out, -2, -3)

    def known(self) -> Bools:
        """Which categories a user has touched by then: (K, S, C)."""
        return self._of_each(self._first[:, None] <= self._at)

    def watched(self, min_active: int, lapse_steps: int) -> Bools:
        """Which interests are established: (K, S, C)."""
        last, long = self._streams.last_steps(_ACTIVE), self._spec.window_steps
        busy = self._busy[self._streams.last[_ACTIVE]] >= min_active
        recent = (last >= 0) & (self._at - last < lapse_steps)
        return self._of_each(busy & recent & (self._first[:, None] <= self._at - long // 2))

    def held(self) -> Bools:
        """Which streams a burst holds: (K, S, C)."""
        last = self._streams.last_steps(_BURST)
        return self._of_each((last >= 0) & (last > self._at - self._spec.window_steps))

    def _of_each(self, values: Bools) -> Bools:
        return np.moveaxis(self._columns(values), -1, -2)

    def _activity(self) -> Activity:
        streams, users = self._streams, self._users
        n_active = _N_WINDOWS + 1
        sums = self._columns(streams.sums[: n_active + 4].astype(np.float32))
        user = self._columns(users.sums.astype(np.float32), user=True)
        amount = self._columns(streams.sums[n_active + 2]).sum(axis=-2).astype(np.float32)
        fast, slow = self._columns(streams.averages[:2].astype(np.float32))
        return Activity(
            at=self._at,
            active=tuple(sums[:_N_WINDOWS]),
            counts=(sums[n_active], sums[n_active + 1]),
            amounts=(sums[n_active + 2], sums[n_active + 3]),
            last=self._columns(streams.last_steps(_ACTIVE)),
            first=self._columns(self._known_first(self._first)),
            total=sums[_N_WINDOWS],
            averages=(fast, slow),
            user_active=tuple(user[:_N_WINDOWS]),
            user_last=self._columns(users.last_steps(USER_ACTIVE), user=True),
            user_amount=amount,
        )

    def _richer(self) -> RicherRead:
        assert self._spec.more is not None
        streams, users, kinds = self._streams, self._users, list(self._spec.more.kinds)
        averages = self._columns(streams.averages)
        user = self._columns(users.averages, user=True)
        shape = (*self._shape, self._at.size)
        kind_averages, counts = np.zeros((3, N_KINDS, *shape)), np.zeros((2, N_KINDS, *shape))
        last = np.full((N_KINDS, *shape), -1)
        if kinds:
            kind_averages[:, kinds] = averages[10:].reshape(3, len(kinds), *shape)
            counts[:, kinds] = self._columns(streams.sums[_N_WINDOWS + 5 :]).reshape(2, len(kinds), *shape)
            last[kinds] = [self._columns(streams.last_steps(_HAPPENED + i)) for i in range(len(kinds))]
        return RicherRead(
            averages=averages[2:6],
            log_counts=averages[6:8],
            log_amounts=averages[8:10],
            user_averages=user[:3],
            user_breadths=user[3:],
            user_first=self._columns(self._known_first(self._user_first), user=True),
            user_total=self._columns(users.sums[_N_WINDOWS], user=True),
            kind_averages=kind_averages,
            kind_counts=counts,
            kind_last=last,
        )

    def _known_first(self, first: Ints) -> Ints:
        return np.where(first[:, None] <= self._at, first[:, None], -1)

    def _columns(self, values: NDArray[Any], *, user: bool = False) -> NDArray[Any]:
        """Readings (..., N, S) of streams as (..., K, C, S), or of users as they are, (..., K, S)."""
        return values if user else values.reshape(*values.shape[:-2], *self._shape, values.shape[-1])


def _first(cells: Cells, value: int) -> Ints:
    """The first step of each stream with a value above 0 (N,); far away if none."""
    at = np.flatnonzero(cells.values[:, value] > 0)[::-1]
    out = np.full(cells.n_streams, EVER)
    out[np.searchsorted(cells.starts, at, side="right") - 1] = cells.steps[at]
    return out
