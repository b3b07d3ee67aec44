"""Streams that move from the close of one step to the next: what of them is read, and what is remembered for the next step."""

from __future__ import annotations

import numpy as np

from shared.arrays import Doubles, Ints

from .cells import Cells
from .kernel import move
from .terms import Terms


class Streams:
    """The readings of `Terms` of streams (N,), as of the step that they moved to last.

    `sums` (M, N), `averages` (A, N), of a level that begins at 0; `last` (L, N) rows of cells. All of it moves in place.
    """

    def __init__(self, cells: Cells, terms: Terms, n_steps: int) -> None:
        n_streams = cells.n_streams
        self._cells, self._at = cells, -1
        windows = (0, *terms.windows)
        self._widths = np.array(windows)
        self._sum_windows = np.array([windows.index(width) for width, _ in terms.sums])
        self._sum_values = np.array([value for _, value in terms.sums])
        self._average_values = np.array([value for _, value in terms.averages], np.int64)
        self._last_values = np.array(terms.lasts)
        weights = np.array([2 / (span + 1) for span, _ in terms.averages])
        self._fading = 1 - weights
        self._weights: Doubles = weights[:, None] * self._fading[:, None] ** np.arange(n_steps)
        nothing = cells.starts[:-1]
        self._rows = np.repeat(nothing[None], self._widths.size, axis=0)
        self._due = np.zeros_like(self._rows)
        self.sums: Doubles = np.zeros((self._sum_values.size, n_streams))
        self.averages: Doubles = np.zeros((self._average_values.size, n_streams))
        self.last: Ints = np.repeat(nothing[None], self._last_values.size, axis=0)

    def move(self, step: int) -> None:
        """To the close of `step`, which lies behind the last one."""
        self.averages *= (self._fading ** (step - self._at))[:, None]
        self._at = step
        move(
            step,
            self._cells.starts,
            self._cells.steps,
            self._cells.values,
            self._cells.sums,
            self._widths,
            self._sum_windows,
            self._sum_values,
            self._weights,
            self._average_values,
            self._last_values,
            self._rows,
            self._due,
            self.sums,
            self.averages,
            self.last,
        )

    def last_step(self, i: int) -> Ints:
        """The step of the last cell of `Terms.lasts[i]`, -1: none (N,)."""
        out: Ints = self._cells.steps[self.last[i]]
        return out
