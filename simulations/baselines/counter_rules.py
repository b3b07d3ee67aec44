"""Rules that look at counters only: how likely is a lapse, by rule of thumb or by a detector on raw activity.

Each takes a history (..., C, T) and steps (S,), looks at steps <= t only, and gives scores (..., S, C): the higher, the
more a lapse is to be expected; for a rise the same scores are read the other way round, or a rule is told `rising`. A
stream begins with its first active step. Streams that were never active by t get some value: nobody watches them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from river import drift

from shared.arrays import Bools, Doubles, Ints, as_declared
from shared.features import History, last_active
from shared.slow_average import average, log_level, log_user_rate

from .bgnbd import BgNbd, Purchases

Steps = Sequence[int] | Ints

#: A CUSUM looks for a stream's rate to fall to this share of its own, or to rise by it; rates are kept within limits.
CUSUM_SHARE: Final = 0.25
CUSUM_RATES: Final = (0.02, 0.98)


def silence(history: History, steps: Steps) -> Doubles:
    """Recency: steps since the last active one."""
    at = np.asarray(steps, np.int64)
    return _steps_before_streams(at - last_active(history.active)[..., at])


def silence_per_interval(history: History, steps: Steps) -> Doubles:
    """Recency against the stream's own rhythm: silence over the mean interval between its active steps so far."""
    known = Purchases.of(history, steps)
    return (known.age - known.t_x) / np.maximum(known.t_x / np.maximum(known.x, 1), 0.5)


def ewma(history: History, steps: Steps, span: int) -> Doubles:
    """Minus the exponentially weighted share of active steps, weight 2 / (span + 1), from 0."""
    return _steps_before_streams(-average(history.active, np.asarray(steps, np.int64), span))


def ewma_rise(history: History, steps: Steps, spans: tuple[int, int]) -> Doubles:
    """How far a fast EWMA of activity stands above a slow one: the sign of a rise, not of a lapse."""
    fast, slow = (ewma(history, steps, span) for span in spans)
    return slow - fast


def cusum(history: History, steps: Steps, *, rising: bool = False) -> Doubles:
    """Bernoulli CUSUM of activity (Reynolds and Stoumbos 1999): log likelihood ratio of a rate that fell to CUSUM_SHARE
    of the stream's own mean before the step, or if `rising` rose as much, summed and kept >= 0."""
    at = np.asarray(steps, np.int64)
    shape = history.active.shape[:-1]
    n, total, level = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    out = np.zeros((*shape, history.n_steps))
    for t in range(history.n_steps):
        x = history.active[..., t]
        own = np.clip(total / np.maximum(n, 1), *CUSUM_RATES)
        other = np.minimum(own / CUSUM_SHARE, CUSUM_RATES[1]) if rising else own * CUSUM_SHARE
        ratio = np.where(x, np.log(other / own), np.log((1 - other) / (1 - own)))
        level = np.where(n > 0, np.maximum(level + ratio, 0), 0)
        n, total = n + ((n > 0) | x), total + x
        out[..., t] = level
    return _steps_before_streams(out[..., at])


def level_and_rate(history: History, steps: Steps, span: int) -> Doubles:
    """The log of the average of activity as it is, plus half the log of the user's rate: the sign of a rise, not of a lapse."""
    return log_level(history, steps, span) + log_user_rate(history, steps)[..., None] / 2


@as_declared
def page_hinkley(history: History, steps: Steps, pairs: Bools, *, rising: bool = False) -> Doubles:
    """Page-Hinkley's statistic of a fall in activity, or if `rising` of a rise, as river keeps it with its default settings: all
    streams at once, each from its first active step.

    Only `pairs` (K, C) of a history (K, C, T) are watched, the others get NaN. No threshold: the statistic itself is the score, and it
    never starts anew.
    """
    at, river = np.asarray(steps, np.int64), drift.PageHinkley()
    user, category = np.nonzero(pairs & history.active.any(axis=-1))
    streams, sign = history.active[user, category], 1 if rising else -1
    n, mean, total = np.zeros(len(streams)), np.zeros(len(streams)), np.zeros(len(streams))
    lowest, score = np.full(len(streams), np.inf), np.full((len(streams), history.n_steps), np.nan)
    for t in range(int(at.max(initial=-1)) + 1):
        began = (n > 0) | streams[:, t]
        n += began
        mean += began * (1 / np.maximum(n, 1) * (streams[:, t] - mean))
        total = np.where(began, river.alpha * total + sign * (streams[:, t] - mean) - river.delta, 0)
        lowest = np.where(began, np.minimum(lowest, total), lowest)
        score[began, t] = (total - lowest)[began]
    out = np.full((history.active.shape[0], len(at), history.n_categories), np.nan)
    out[user, :, category] = score[:, at]
    return out


@as_declared
def adwin(history: History, steps: Steps, pairs: Bools) -> Doubles:
    """Minus the mean of activity in ADWIN's window, by river, checked at every step with its default delta.

    Only `pairs` (K, C) of a history (K, C, T) are watched, the others get NaN. Of its possible scores (this one, the drop
    against the stream's whole mean, its detections) only this tells lapses apart: in 50 to 100 steps of 0 and 1 its
    window is hardly ever cut, so it is nearly the mean since the first active step.
    """
    at = np.asarray(steps, np.int64)
    out = np.full((history.active.shape[0], history.n_steps, history.n_categories), np.nan)
    first, asked, last = history.active.argmax(axis=-1), int(at.min(initial=history.n_steps)), int(at.max(initial=-1))
    for user, category in np.argwhere(pairs & history.active.any(axis=-1)):
        detector = drift.ADWIN(clock=1)  # type: ignore[no-untyped-call]
        began = int(first[user, category])
        for t, active in enumerate(history.active[user, category, began : last + 1].astype(float).tolist(), began):
            detector.update(active)  # type: ignore[no-untyped-call]
            if t >= asked:
                out[user, t, category] = -detector.total / detector.width
    return out[:, at]


def gone(history: History, steps: Steps, model: BgNbd) -> Doubles:
    """1 - p_alive of BG/NBD."""
    known = Purchases.of(history, steps)
    return 1 - model.p_alive(np.maximum(known.x, 0), known.t_x, known.age)


def silent_ahead(history: History, steps: Steps, model: BgNbd, lapse_steps: int) -> Doubles:
    """P(nothing in the next `lapse_steps`) of BG/NBD."""
    known = Purchases.of(history, steps)
    return model.p_silent(np.maximum(known.x, 0), known.t_x, known.age, lapse_steps)


def _steps_before_streams(values: NDArray[Any]) -> Doubles:
    """(..., C, S) as (..., S, C), in double precision."""
    return np.moveaxis(values, -1, -2).astype(np.float64)
