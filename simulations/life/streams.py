"""Streams that move from the close of some steps to that of later ones: what of them is read, and what is remembered."""

from __future__ import annotations

import numpy as np

from shared.arrays import Doubles, Ints, as_declared

from .cells import Cells
from .kernel import move
from .terms import Terms


class Streams:
    """The readings of `Terms` of streams (N,), as of the steps (S,) that they moved to last: `sums` (M, N, S), `averages` (A, N, S), of
    a level that begins at 0, `last` (L, N, S) rows of cells."""

    def __init__(self, cells: Cells, terms: Terms, n_steps: int) -> None:
        windows, nothing = (0, *terms.windows), cells.starts[:-1]
        self._cells, self._at = cells, -1
        self._widths = np.array(windows)
        self._sum_windows = np.array([windows.index(width) for width, _ in terms.sums])
        self._sum_values = np.array([value for _, value in terms.sums])
        self._average_values = np.array([value for _, value in terms.averages], np.int64)
        self._last_values = np.array(terms.lasts)
        weights = np.array([2 / (span + 1) for span, _ in terms.averages])
        self._fading = 1 - weights
        self._weights: Doubles = weights[:, None] * self._fading[:, None] ** np.arange(n_steps)
        self._rows = np.repeat(nothing[:, None], len(windows), axis=1)
        self._levels = np.zeros((cells.n_streams, weights.size))
        self._newest = np.repeat(nothing[:, None], len(terms.lasts), axis=1)
        self._read(0)

    def _read(self, n_steps: int) -> None:
        """Room for the readings of so many steps."""
        shape = self._cells.n_streams, n_steps
        self.sums: Doubles = np.empty((self._sum_values.size, *shape))
        self.averages: Doubles = np.empty((self._average_values.size, *shape))
        self.last: Ints = np.empty((self._last_values.size, *shape), np.int64)

    @as_declared
    def move(self, steps: Ints) -> None:
        """To the close of each of rising `steps` (S,), which lie behind the last one."""
        self._read(steps.size)
        gaps = np.diff(steps, prepend=self._at)
        self._at = int(steps[-1])
        move(
            steps,
            self._cells.starts,
            self._cells.steps,
            self._cells.values,
            self._cells.sums,
            self._widths,
            self._sum_windows,
            self._sum_values,
            self._weights,
            self._fading ** gaps[:, None],
            self._average_values,
            self._last_values,
            self._rows,
            self._levels,
            self._newest,
            self.sums,
            self.averages,
            self.last,
        )

    def last_steps(self, i: int) -> Ints:
        """The step of the last cell of `Terms.lasts[i]`, -1: none (N, S)."""
        out: Ints = self._cells.steps[self.last[i]]
        return out
