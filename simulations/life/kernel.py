"""The loops that close a step: over streams, each a row of cells in the order of their steps."""

from __future__ import annotations

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
    step: int,
    starts: Ints,
    steps: Ints,
    values: Doubles,
    sums_until: Doubles,
    widths: Ints,
    sum_windows: Ints,
    sum_values: Ints,
    weights: Doubles,
    average_values: Ints,
    last_values: Ints,
    rows: Ints,
    due: Ints,
    sums: Doubles,
    averages: Doubles,
    last: Ints,
) -> None:
    """Streams (N,) move to the close of `step`, from any earlier one.

    Cells: rows `steps` (n,), `values` and their running sums (n, V), those of a stream from `starts` (N + 1,) on; its first row is none,
    and has no value. Windows: `widths` (W,), of which the first is 0, so that what falls out of it is what has come. What moves: `rows`
    (W, N), the last one that fell out of each window, and when the next one is `due` (W, N); `sums` (M, N), each of a window and a
    value; `averages` (A, N), which have faded already, by `weights` (A, T) of a value so many steps ago; and the `last` rows with a
    value above 0 (L, N).
    """
    n_sums, n_averages, n_last = sum_values.size, average_values.size, last_values.size
    for window in range(widths.size):
        for stream in range(starts.size - 1):
            if due[window, stream] > step:
                continue
            row, end = rows[window, stream], starts[stream + 1]
            while row + 1 < end and steps[row + 1] + widths[window] <= step:
                row += 1
                if window == 0:
                    age = step - steps[row]
                    for i in range(n_averages):
                        averages[i, stream] += weights[i, age] * values[row, average_values[i]]
                    for i in range(n_last):
                        if values[row, last_values[i]] > 0:
                            last[i, stream] = row
            rows[window, stream] = row
            due[window, stream] = steps[row + 1] + widths[window] if row + 1 < end else _NEVER
            newest = rows[0, stream]
            for i in range(n_sums):
                if window == 0 or sum_windows[i] == window:
                    value = sum_values[i]
                    sums[i, stream] = sums_until[newest, value] - sums_until[rows[sum_windows[i], stream], value]
