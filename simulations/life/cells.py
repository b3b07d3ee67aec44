"""What users did as cells: of every stream, the steps in which there was anything, and what was counted in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from client.detection.bursts import LEAST, RATIO
from shared.arrays import Doubles, Ints, as_declared, hold_declared
from shared.features import FeatureSpec, History
from shared.features.readings import kinds_used, log_of

from .kernel import sum_up
from .terms import HAPPENED, KINDS, N_USER_VALUES, N_VALUES, USER_ACTIVE, USER_BREADTH, Value


@dataclass(frozen=True)
class Cells:
    """Streams (N,), one after the other: `starts` (N + 1,) says where. Of each cell its step (n,), `values` (n, V) and the stream's
    running sums of them. The first row of a stream is none: step -1, and nothing. Raw behaviour: the repr shows only how many."""

    starts: Ints
    steps: Ints
    values: Doubles
    sums: Doubles

    def __post_init__(self) -> None:
        hold_declared(self)

    def __repr__(self) -> str:
        return f"Cells(<raw> n={self.steps.size - self.n_streams})"

    @property
    def n_streams(self) -> int:
        return self.starts.size - 1

    @classmethod
    @as_declared
    def of(cls, stream: Ints, steps: Ints, values: Doubles, n_streams: int) -> Cells:
        """Cells (n,) of streams in their order, of each in the order of steps."""
        starts = np.concatenate([[0], np.cumsum(np.bincount(stream, minlength=n_streams) + 1)])
        at = np.arange(steps.size) + stream + 1
        own_steps, own = np.full(starts[-1], -1), np.zeros((int(starts[-1]), values.shape[1]))
        own_steps[at], own[at] = steps, values
        sums = np.zeros_like(own)
        sum_up(starts, own, sums)
        return cls(starts, own_steps, own, sums)

    @as_declared
    def within(self, stream: Ints, end: Ints, width: int) -> Doubles:
        """Sums over the `width` steps up to steps `end` of streams (..., V); the two broadcast."""
        out: Doubles = self.sums[self._row(stream, end)] - self.sums[self._row(stream, end - width)]
        return out

    def _row(self, stream: Ints, step: Ints) -> Ints:
        """The last row of streams at or before steps."""
        stride = int(self.steps.max(initial=0)) + 2
        keys = self.steps + 1 + stride * np.repeat(np.arange(self.n_streams), np.diff(self.starts))
        wanted = np.clip(step + 1, 0, stride - 1) + stride * stream
        out: Ints = np.searchsorted(keys, wanted, side="right") - 1
        return out


def cells_of(history: History, spec: FeatureSpec, *, bursts: bool) -> tuple[Cells, Cells]:
    """Cells of every category of users (K, C, T), K C streams, and of every user, K streams. With `bursts` it is marked which cells
    are (`client.detection.bursts`)."""
    n_users, n_categories, n_steps = history.active.shape
    there = history.active if history.kinds is None else history.active | history.kinds.any(axis=0)
    places = np.flatnonzero(there)
    stream, steps = np.divmod(places, n_steps)
    active = np.ascontiguousarray(history.active).reshape(-1)[places]
    count, amount = (np.ascontiguousarray(column).reshape(-1)[places] for column in (history.count, history.amount))
    values = np.zeros((steps.size, N_VALUES if spec.more else Value.LOG_COUNT))
    values[:, Value.ACTIVE], values[:, Value.COUNT], values[:, Value.AMOUNT] = active, count, amount
    if bursts:
        values[:, Value.USUAL] = np.log(count, out=np.zeros_like(count), where=active)
    if spec.more is not None:
        values[:, Value.LOG_COUNT], values[:, Value.LOG_AMOUNT] = log_of(count), log_of(amount)
        for kind in kinds_used(history, spec):
            assert history.kinds is not None
            events = np.ascontiguousarray(history.kinds[kind]).reshape(-1)[places]
            values[:, KINDS + kind], values[:, HAPPENED + kind] = events, events > 0
    cells = Cells.of(stream, steps, values, n_users * n_categories)
    if bursts:
        _mark_bursts(cells, n_categories, spec)
    breadth = np.bincount(stream[active] // n_categories * n_steps + steps[active], minlength=n_users * n_steps)
    days = np.flatnonzero(breadth)
    of_users = np.zeros((days.size, N_USER_VALUES))
    of_users[:, USER_ACTIVE], of_users[:, USER_BREADTH] = 1, breadth[days]
    return cells, Cells.of(days // n_steps, days % n_steps, of_users, n_users)


def _mark_bursts(cells: Cells, n_categories: int, spec: FeatureSpec) -> None:
    """By the rule of `client.detection.bursts.burst_at`."""
    at = np.flatnonzero(cells.values[:, Value.COUNT] >= LEAST)
    stream = np.searchsorted(cells.starts, at, side="right") - 1
    each = (stream // n_categories * n_categories)[:, None] + np.arange(n_categories)
    end = cells.steps[at, None] - spec.short_steps[-1] - 1
    sums = cells.within(each, end, spec.window_steps)
    n, total = sums[..., Value.ACTIVE], sums[..., Value.USUAL]
    own = np.arange(at.size), stream % n_categories
    n_anywhere, anywhere = n.sum(axis=1), total.sum(axis=1)
    mean = np.where(n[own] > 0, total[own] / np.maximum(n[own], 1), anywhere / np.maximum(n_anywhere, 1))
    usual = np.exp(mean) * (n_anywhere > 0)
    cells.values[at, Value.BURST] = (cells.values[at, Value.ACTIVE] > 0) & (
        cells.values[at, Value.COUNT] >= RATIO * usual
    )
