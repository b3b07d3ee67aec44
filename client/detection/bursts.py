"""Bursts: far more events in one step than this user ever has in a category. A bot, a click farm, a gift-shopping day.

A burst says nothing about interest, but p follows it for as long as the features' window W holds its step, and falls when
that lets go of it. For that long the CUSUM does not observe the stream (`watch.observed`), so a bot makes neither a rise
nor, later, a fall. The app is told of a burst as what it is (`Device.bursts`), never as a turn; nobody else is told.

The other detectors see everything. On weekly purchases a first large order is how real interest begins: tried on
online-retail-ii, the rule lost a fifth of the rises that are found, and spared one false rise in sixteen.

The price: nothing is seen for W steps after a burst. Whoever makes bursts on a phone can hide a lapse, not invent one.

The rule looks at the counters, not at p: p of a three-day bot stays up for weeks, exactly as after a real rise, while
its counters are back the next day. It has no memory beside the `History`, which a device keeps anyway, so it costs a
stream no byte, and a device and a host run the same code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Bools, Doubles, Ints
from shared.features import FeatureSpec, History

#: A burst has so many times the usual events of an active step, and at least so many (weighted by kind, as counters are:
#: ten purchases, or fifty views). Real changes are far smaller: planted rises multiply events by at most 16 in ever more
#: active steps; of planted active steps one in a thousand is a burst, of real weeks one in two thousand to one in fifty.
RATIO, LEAST = 8.0, 10.0


def burst_at(history: History, features: FeatureSpec, steps: Sequence[int] | Ints) -> Bools:
    """Whether each step is a burst: (..., S, C).

    Usual is the geometric mean of the counters over the active ones of `window_steps` steps, which end the longest short
    window before the step: a burst up to that long does not raise what it is held against. Where the category was not
    active then, the user's other categories say what is usual, and where none was, `LEAST` alone decides.
    """
    at, gap = np.asarray(steps, np.int64), features.short_steps[-1]
    if not at.size:
        return np.zeros((*history.active.shape[:-2], 0, history.n_categories), bool)
    first = max(int(at.min()) - gap - features.window_steps, 0)
    here = slice(first, int(at.max()) + 1)
    active, count = history.active[..., here], history.count[..., here]
    enough = count[..., at - first] >= LEAST
    if not enough.any():
        return np.moveaxis(enough, -1, -2)
    logs = np.log(count, out=np.zeros_like(count), where=active)
    end = np.maximum(at - first - gap, 0)
    begin = np.maximum(end - features.window_steps, 0)
    total, n = (_within(values, begin, end) for values in (logs, active))
    anywhere, n_anywhere = (values.sum(axis=-2, keepdims=True) for values in (total, n))
    mean = np.where(n > 0, total / np.maximum(n, 1), anywhere / np.maximum(n_anywhere, 1))
    usual = np.exp(mean) * (n_anywhere > 0)
    out: Bools = enough & active[..., at - first] & (count[..., at - first] >= RATIO * usual)
    return np.moveaxis(out, -1, -2)


def held_by_burst(history: History, features: FeatureSpec, steps: Sequence[int] | Ints) -> Bools:
    """Whether a burst lies in the last `window_steps` steps up to each step: (..., S, C)."""
    at, width = np.asarray(steps, np.int64), features.window_steps
    if not at.size:
        return np.zeros((*history.active.shape[:-2], 0, history.n_categories), bool)
    first = max(int(at.min()) - width + 1, 0)
    found = burst_at(history, features, np.arange(first, int(at.max()) + 1))
    if not found.any():
        return np.zeros((*found.shape[:-2], at.size, found.shape[-1]), bool)
    out: Bools = _within(np.moveaxis(found, -2, -1), np.maximum(at - width + 1, 0) - first, at + 1 - first) > 0
    return np.moveaxis(out, -1, -2)


def _within(values: NDArray[np.generic], begin: Ints, end: Ints) -> Doubles:
    """Sums of values (..., T) over begin..end - 1: (..., S)."""
    sums = np.zeros((*values.shape[:-1], values.shape[-1] + 1))
    np.cumsum(values, axis=-1, dtype=np.float64, out=sums[..., 1:])
    out: Doubles = sums[..., end] - sums[..., begin]
    return out
