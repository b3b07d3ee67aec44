"""The loops that close a step: over streams, each a row of cells in the order of their steps."""

from __future__ import annotations

import numpy as np

from shared.arrays import Doubles, Ints, as_declared

from .compiled import compiled

#: No step comes so late.
_NEVER = 1 << 40


@as_declared
@compiled
def sum_up(starts: Ints, values: Doubles, out: Doubles) -> None:
    """Running sums (n, V) of values (n, V), each stream's own, from the rows where it `starts` (N + 1,)."""
    for stream in range(starts.size - 1):
        for row in range(starts[stream] + 1, starts[stream + 1]):
            for value in range(values.shape[1]):
                out[row, value] = out[row - 1, value] + values[row, value]


@as_declared
@compiled
def sum_within(starts: Ints, steps: Ints, sums: Doubles, value: int, width: int, out: Doubles) -> None:
    """Sums (n,) of one value over the `width` steps up to each cell, from running `sums` (n, V)."""
    for stream in range(starts.size - 1):
        old = starts[stream]
        for row in range(starts[stream] + 1, starts[stream + 1]):
            while steps[old + 1] <= steps[row] - width:
                old += 1
            out[row] = sums[row, value] - sums[old, value]


@as_declared
@compiled
def move(
    at: Ints,
    starts: Ints,
    steps: Ints,
    values: Doubles,
    sums_until: Doubles,
    widths: Ints,
    sum_windows: Ints,
    sum_values: Ints,
    weights: Doubles,
    fading: Doubles,
    average_values: Ints,
    last_values: Ints,
    rows: Ints,
    levels: Doubles,
    newest: Ints,
    sums: Doubles,
    averages: Doubles,
    last: Ints,
) -> None:
    """Streams (N,) move to the close of one step `at` (S,) after the other, from any earlier one.

    Cells: rows `steps` (n,), `values` and their running sums (n, V), those of a stream from `starts` (N + 1,) on; its first row is none,
    and has no value. Windows: `widths` (W,), of which the first is 0, so that what falls out of it is what has come. What moves: `rows`
    (N, W), the last one that fell out of each window; `levels` (N, A), which fade by `fading` (S, A) and take in `weights` (A, T) of a
    value so many steps ago; the `newest` rows with a value above 0 (N, L). What is read then: `sums` (M, N, S), each of a window and a
    value, `averages` (A, N, S), which are the levels, and `last` (L, N, S), which are the newest.
    """
    n_windows, n_sums, n_levels, n_last = widths.size, sum_values.size, average_values.size, last_values.size
    due = np.empty(n_windows, np.int64)
    for stream in range(starts.size - 1):
        end = starts[stream + 1]
        for window in range(n_windows):
            next_row = rows[stream, window] + 1
            due[window] = steps[next_row] + widths[window] if next_row < end else _NEVER
        for now in range(at.size):
            step, moved = at[now], now == 0
            for i in range(n_levels):
                levels[stream, i] *= fading[now, i]
            for window in range(n_windows):
                while due[window] <= step:
                    row = rows[stream, window] + 1
                    rows[stream, window] = row
                    due[window] = steps[row + 1] + widths[window] if row + 1 < end else _NEVER
                    moved = True
                    if window == 0:
                        age = step - steps[row]
                        for i in range(n_levels):
                            levels[stream, i] += weights[i, age] * values[row, average_values[i]]
                        for i in range(n_last):
                            if values[row, last_values[i]] > 0:
                                newest[stream, i] = row
            if moved:
                row = rows[stream, 0]
                for i in range(n_sums):
                    value = sum_values[i]
                    old = rows[stream, sum_windows[i]]
                    sums[i, stream, now] = sums_until[row, value] - sums_until[old, value]
            else:
                for i in range(n_sums):
                    sums[i, stream, now] = sums[i, stream, now - 1]
            for i in range(n_levels):
                averages[i, stream, now] = levels[stream, i]
            for i in range(n_last):
                last[i, stream, now] = newest[stream, i]
