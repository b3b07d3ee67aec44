"""What a history says of a step: sums over windows, the last active step, averages, labels, which interests are watched.

All of it takes any number of leading axes, and looks only at steps <= t to say something of step t; labels look ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import Bools, Doubles, Floats, Ints, as_declared
from ..errors import InputError
from .counters import History


@as_declared
def steps_of(history: History, steps: Sequence[int] | Ints, last: int) -> Ints:
    """The steps as an int array, each in 0..last."""
    out = np.asarray(steps, dtype=np.int64)
    if out.ndim != 1 or (out.size and not (out.min() >= 0 and out.max() <= last)):
        raise InputError(f"expected steps in 0..{last} of {history.n_steps} closed ones, got {out.tolist()}")
    return out


@as_declared
def cumulative(values: NDArray[Any]) -> Doubles:
    """Running sums over T with a leading zero: (..., T) -> (..., T + 1)."""
    out = np.zeros((*values.shape[:-1], values.shape[-1] + 1))
    np.cumsum(values, axis=-1, dtype=np.float64, out=out[..., 1:])
    return out


@as_declared
def window(sums: Doubles, steps: Ints, width: int) -> Floats:
    """Sum over the last `width` steps up to each step: (..., T + 1) -> (..., S)."""
    out: Floats = (sums[..., steps + 1] - sums[..., np.maximum(steps + 1 - width, 0)]).astype(np.float32)
    return out


@as_declared
def last_active(active: Bools) -> Ints:
    """Index of the last active step at or before each step, -1 if none: (..., T) -> (..., T).

    >>> last_active(np.array([False, True, False, False, True])).tolist()
    [-1, 1, 1, 1, 4]
    """
    index = np.where(active, np.arange(active.shape[-1]), -1)
    out: Ints = np.maximum.accumulate(index, axis=-1)
    return out


@as_declared
def first_active(active: Bools, steps: Ints) -> Ints:
    """Index of the first active step if it is <= step, else -1: (..., T) -> (..., S)."""
    if not active.shape[-1]:
        return np.full((*active.shape[:-1], steps.size), -1)
    first = np.where(active.any(axis=-1), active.argmax(axis=-1), active.shape[-1])[..., None]
    return np.where(first <= steps, first, -1)


@as_declared
def ewma(active: Bools, steps: Ints, span: int) -> Floats:
    """Exponentially weighted share of active steps, as of each step: (..., T) -> (..., S).

    The recursion level += w (active - level), w = 2 / (span + 1), from level 0, written as one matrix product.
    """
    weight = 2 / (span + 1)
    age = steps - np.arange(active.shape[-1])[:, None]
    powers = weight * (1 - weight) ** np.arange(active.shape[-1] + 1)
    decay = np.where(age >= 0, powers[np.maximum(age, 0)], 0).astype(np.float32)
    out: Floats = active.astype(np.float32) @ decay
    return out


@as_declared
def seen(history: History, steps: Sequence[int] | Ints) -> Bools:
    """Whether the user had engaged with the category at or before each step: (..., S, C)."""
    at = steps_of(history, steps, history.n_steps - 1)
    return np.moveaxis(first_active(history.active, at) >= 0, -1, -2)


@as_declared
def labels(history: History, steps: Sequence[int] | Ints, horizon_steps: int) -> Bools:
    """Whether the user engages in (t, t + horizon]: (..., S, C).

    InputError unless t + horizon is closed for every step: a label that is not known yet is no label.

    One category, active at steps 1 and 4; does the user come within two steps?

    >>> active = np.array([[False, True, False, False, True]])
    >>> history = History(active, active * np.float32(1), active * np.float32(0))
    >>> labels(history, [0, 1, 2], horizon_steps=2).tolist()
    [[True], [False], [True]]
    """
    at = steps_of(history, steps, history.n_steps - 1 - horizon_steps)
    sums = cumulative(history.active)
    return np.moveaxis((sums[..., at + horizon_steps + 1] - sums[..., at + 1]) > 0, -1, -2)


@as_declared
def established(
    history: History, steps: Sequence[int] | Ints, *, window_steps: int, min_active: int, lapse_steps: int
) -> Bools:
    """Which interests are worth watching for a lapse at each step: (..., S, C).

    Those whose last active step saw >= `min_active` active steps in the `window_steps` up to it, came fewer than
    `lapse_steps` ago, and whose first lies at least window_steps // 2 back (docs/protocol.md: "watched").
    """
    at = steps_of(history, steps, history.n_steps - 1)
    sums = cumulative(history.active)
    last = last_active(history.active)[..., at]
    end = np.maximum(last, 0) + 1
    busy = np.take_along_axis(sums, end, -1) - np.take_along_axis(sums, np.maximum(end - window_steps, 0), -1)
    first = first_active(history.active, at)
    old = (first >= 0) & (first <= at - window_steps // 2)
    return np.moveaxis((last >= 0) & (busy >= min_active) & (at - last < lapse_steps) & old, -1, -2)


#: Active steps that a quiet interest has at most in the longest window, and one that is taken up at least in the steps behind it.
QUIET_ACTIVE, TAKEOFF_ACTIVE = 2, 3


@as_declared
def quiet(history: History, steps: Sequence[int] | Ints, window_steps: int) -> Bools:
    """Which interests may be taken up (again) after each step: known by then, and at most `QUIET_ACTIVE` active steps in the
    `window_steps` up to it: (..., S, C)."""
    at = steps_of(history, steps, history.n_steps - 1)
    sums = cumulative(history.active)
    lately = sums[..., at + 1] - sums[..., np.maximum(at + 1 - window_steps, 0)]
    return np.moveaxis((first_active(history.active, at) >= 0) & (lately <= QUIET_ACTIVE), -1, -2)


@as_declared
def taken_up(history: History, steps: Sequence[int] | Ints, ahead_steps: int) -> Bools:
    """Whether the user engages in `TAKEOFF_ACTIVE` or more of the `ahead_steps` after each step: (..., S, C).

    InputError unless t + ahead_steps is closed for every step.
    """
    at = steps_of(history, steps, history.n_steps - 1 - ahead_steps)
    sums = cumulative(history.active)
    return np.moveaxis(sums[..., at + ahead_steps + 1] - sums[..., at + 1] >= TAKEOFF_ACTIVE, -1, -2)
