"""At most F false alerts per user in N steps: over all streams of that user, falls and rises together.

Three things keep it, each for another reason:

- a start threshold from `threshold_table.py`, made by simulating users whose streams are of mixed kinds: at most
  `OVERRUN` of them have more than F false alarms in N steps (that probability is calibrated, not the mean run length);
- a threshold of one's own, h <- h + ETA (alarms - expected), bounded, so that a user whose streams are livelier than the
  simulated ones comes back to the same rate;
- a bucket of F tokens, each of which comes back N steps after it was spent: no N steps ever show more than F alerts,
  whatever the streams do. When there are fewer tokens than alarms, the strongest go first; the others are lost.

A device cannot know which alerts are false, so true ones take tokens too. Arrays have any leading axes: one user is (),
a host (K,).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError

from .cusum import GAIN, MOST
from .threshold_table import FALSE_ALERTS, RATE_THRESHOLDS, RATES, STEPS, STREAMS, THRESHOLDS

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: How far one alarm moves a user's threshold.
ETA = 0.5
#: No threshold is lower: three steps of any p stay below it (see cusum.immune_steps).
LEAST = 3 * GAIN + 0.1
#: Adapted thresholds stay within these shares of the start threshold (and within LEAST and MOST).
LOWEST, HIGHEST = 0.8, 3.0
#: The step at which a token that was never spent was spent.
NEVER = -(2**62)


@dataclass
class Spending:
    """What has to be remembered of users (...): how far each one's threshold has moved, float32 (...), and the steps at
    which its F tokens were last spent, oldest first, int64 (F, ...)."""

    moved: Floats
    spent: Ints


@dataclass(frozen=True)
class Budget:
    """`false_alerts` F in `steps` N, for a user of `n_streams` streams."""

    false_alerts: int
    steps: int
    n_streams: int

    def __post_init__(self) -> None:
        if min(self.false_alerts, self.steps, self.n_streams) < 1:
            raise ConfigError(
                f"expected at least 1 false alert, 1 step and 1 stream, "
                f"got {self.false_alerts}, {self.steps} and {self.n_streams}"
            )

    @cached_property
    def start_threshold(self) -> float:
        """Where every user's threshold begins."""
        return min(max(from_table(self.false_alerts, self.steps, self.n_streams), LEAST), MOST)

    @cached_property
    def per_stream_rate(self) -> float:
        """False alarms per observed step of a simulated stream at the start threshold."""
        return false_alarm_rate(self.start_threshold)

    @property
    def per_user_rate(self) -> float:
        """False alarms per step of a user all of whose streams are observed."""
        return self.per_stream_rate * self.n_streams

    def start(self, shape: tuple[int, ...]) -> Spending:
        """Users of `shape` (...) with full buckets."""
        return Spending(np.zeros(shape, np.float32), np.full((self.false_alerts, *shape), NEVER, np.int64))

    def carried(self, spending: Spending) -> Spending:
        """The spending of an earlier budget under this one: what was spent stays spent, newest first."""
        kept = spending.spent[-self.false_alerts :]
        fresh = self.start(spending.moved.shape)
        fresh.spent[self.false_alerts - len(kept) :] = kept
        fresh.moved[...] = spending.moved
        return fresh

    def thresholds(self, spending: Spending) -> Floats:
        """Each user's threshold now: float32 (...)."""
        out: Floats = np.float32(self.start_threshold) + spending.moved
        return out

    def adapt(self, spending: Spending, alarms: Ints, judged: Ints) -> None:
        """Move thresholds after a step in which users (...) had `alarms` of `judged` streams."""
        moved = spending.moved + np.float32(ETA) * (alarms - np.float32(self.per_stream_rate) * judged)
        start = self.start_threshold
        least, most = max(LOWEST * start, LEAST) - start, min(HIGHEST * start, MOST) - start
        spending.moved[...] = np.clip(moved, least, most)

    def allow(self, spending: Spending, raised: Bools, strength: Floats, step: int) -> Bools:
        """Which of the alarms `raised` (..., 2, C) at `step` become alerts; their tokens are spent. `strength`
        (..., 2, C) says which go first."""
        wanted = raised.sum(axis=(-2, -1))
        free = (spending.spent <= step - self.steps).sum(axis=0)
        if (wanted <= free).all():
            allowed = raised
        else:
            ranked = np.where(raised, strength, -np.inf).reshape(*wanted.shape, -1)
            order = np.argsort(-ranked, axis=-1, kind="stable")
            place = np.empty_like(order)
            np.put_along_axis(place, order, np.broadcast_to(np.arange(order.shape[-1]), order.shape), axis=-1)
            allowed = raised & (place.reshape(raised.shape) < free[..., None, None])
        taken = np.minimum(wanted, free)
        for i in range(int(taken.max(initial=0))):
            moves = np.broadcast_to(taken > i, spending.spent.shape)
            pushed = np.concatenate([spending.spent[1:], np.full_like(spending.spent[:1], step)])
            np.copyto(spending.spent, pushed, where=moves)
        return allowed


def false_alarm_rate(
    threshold: float, thresholds: Sequence[float] = RATE_THRESHOLDS, rates: Sequence[float] = RATES
) -> float:
    """False alarms per observed step and stream at a threshold: its logarithm is linear between the table's, and beyond."""
    at, logs = np.array(thresholds), np.log(rates)
    i = int(np.clip(np.searchsorted(at, threshold) - 1, 0, len(at) - 2))
    return float(np.exp(logs[i] + (threshold - at[i]) / (at[i + 1] - at[i]) * (logs[i + 1] - logs[i])))


def from_table(false_alerts: float, steps: float, n_streams: float) -> float:
    """The start threshold, linear in the logarithm of each axis of the table, and beyond its ends too."""
    values = np.array(THRESHOLDS)
    for axis, at in ((STREAMS, n_streams), (STEPS, steps), (FALSE_ALERTS, false_alerts)):
        known = np.log(axis)
        i = int(np.clip(np.searchsorted(known, math.log(at)) - 1, 0, len(known) - 2))
        share = (math.log(at) - known[i]) / (known[i + 1] - known[i])
        values = values[i] + share * (values[i + 1] - values[i])
    return float(values)
