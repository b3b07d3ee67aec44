"""At most F false alerts per user in N steps: over all streams of that user, falls and rises together.

Three things keep it, each for another reason:

- a start threshold from `threshold_table.py`, made by simulating users whose streams are of mixed kinds: at most
  `OVERRUN` of them have more than F false alarms in N steps (that probability is calibrated, not the mean run length);
- a threshold of one's own, h <- h + ETA (alarms - expected), bounded, so that a user whose streams are livelier than the
  simulated ones comes back to the same rate;
- a bucket of F tokens, each of which comes back N steps after it was spent: no N steps ever show more than F alerts,
  whatever the streams do. When there are fewer tokens than alarms, falls go before rises and the strongest first; the
  others are lost.

Falls are what a warning is for, and rises are many times more common (interest grows in jumps and fades slowly). So
rises hold at most half the tokens, rounded up, and push the threshold of falls up by at most `PUSH`. With F = 1 the one
token is for whichever comes first.

The table and the thresholds are the CUSUM's; the bucket holds for every detector. A device cannot know which alerts are
false, so true ones take tokens too. Arrays have any leading axes: one user is (), a host (K,).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from shared.arrays import Bools, Floats, Ints
from shared.errors import ConfigError

from .cusum import GAIN, MOST
from .threshold_table import FALSE_ALERTS, RATE_THRESHOLDS, RATES, STEPS, STREAMS, THRESHOLDS

#: How far one alarm moves a user's threshold.
ETA = 0.5
#: How far rises move the threshold of falls, at most.
PUSH = 0.25
#: No threshold is lower: three steps of any p stay below it (see cusum.immune_steps).
LEAST = 3 * GAIN + 0.1
#: Adapted thresholds stay within these shares of the start threshold (and within LEAST and MOST).
LOWEST, HIGHEST = 0.8, 3.0
#: The step at which a token that was never spent was spent.
NEVER = -(2**62)
#: Falls and rises.
SIDES = 2


@dataclass
class Spending:
    """What has to be remembered of users (...): how far each one's threshold has moved by falls alone and by falls and
    rises together, float32 (2, ...); the steps at which its F tokens were last spent, oldest first, int64 (F, ...), and
    the last R of those that went to rises, int64 (R, ...)."""

    moved: Floats
    spent: Ints
    risen: Ints

    @classmethod
    def nothing(cls, shape: tuple[int, ...]) -> Spending:
        """Users of `shape` (...) without a budget."""
        none = np.empty((0, *shape), np.int64)
        return cls(np.zeros((SIDES, *shape), np.float32), none, none.copy())


@dataclass(frozen=True)
class OwnThresholds:
    """Thresholds that begin at `start` and follow a user's alarms, to come back to `rate` of them per judged step and
    stream. `moved` (2, ...) is how far they went: by falls alone, and by falls and rises together."""

    start: float
    rate: float

    def now(self, moved: Floats) -> Floats:
        """Each user's thresholds, falls first: float32 (2, ...)."""
        falls, both = moved
        return np.float32(self.start) + np.stack([np.minimum(both, falls + np.float32(PUSH)), both])

    def adapt(self, moved: Floats, alarms: Ints, judged: Ints) -> None:
        """Move them after a step in which users had `alarms` (2, ...), falls first, of `judged` (...) streams."""
        counted = np.stack([alarms[0], alarms.sum(axis=0)])
        expected = np.stack([judged / SIDES, judged]) * np.float32(self.rate)
        moved += np.float32(ETA) * (counted - expected).astype(np.float32)
        least, most = max(LOWEST * self.start, LEAST), min(HIGHEST * self.start, MOST)
        np.clip(moved, least - self.start, most - self.start, out=moved)


def most_rises(false_alerts: int) -> int:
    """How many of F tokens rises may hold."""
    return (false_alerts + 1) // 2


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

    @property
    def most_rises(self) -> int:
        """How many of the tokens rises may hold."""
        return most_rises(self.false_alerts)

    @cached_property
    def start_threshold(self) -> float:
        """Where every user's threshold begins."""
        return min(max(from_table(self.false_alerts, self.steps, self.n_streams), LEAST), MOST)

    @cached_property
    def per_stream_rate(self) -> float:
        """False alarms per observed step of a simulated stream at the start threshold."""
        return false_alarm_rate(self.start_threshold)

    @cached_property
    def own(self) -> OwnThresholds:
        """Each user's thresholds, which only the CUSUM has."""
        return OwnThresholds(self.start_threshold, self.per_stream_rate)

    def start(self, shape: tuple[int, ...]) -> Spending:
        """Users of `shape` (...) with full buckets."""
        spent, risen = (np.full((n, *shape), NEVER, np.int64) for n in (self.false_alerts, self.most_rises))
        return Spending(np.zeros((SIDES, *shape), np.float32), spent, risen)

    def carried(self, spending: Spending) -> Spending:
        """The spending of an earlier budget under this one: what was spent stays spent, newest first."""
        fresh = self.start(spending.moved.shape[1:])
        for now, before in ((fresh.spent, spending.spent), (fresh.risen, spending.risen)):
            n = min(len(now), len(before))
            now[len(now) - n :] = before[len(before) - n :]
        fresh.moved[...] = spending.moved
        return fresh

    def allow(self, spending: Spending, raised: Bools, strength: Floats, step: int) -> Bools:
        """Which of the alarms `raised` (..., 2, C) at `step` become alerts; their tokens are spent. Falls go first, and
        of one direction the strongest by `strength` (..., 2, C)."""
        wanted = raised.sum(axis=-1)
        falls, rises = wanted[..., 0], wanted[..., 1]
        free, free_to_rise = ((held <= step - self.steps).sum(axis=0) for held in (spending.spent, spending.risen))
        falls = np.minimum(falls, free)
        rises = np.minimum(rises, np.minimum(free - falls, free_to_rise))
        allowed = strongest(raised, strength, np.stack([falls, rises], axis=-1))
        _spend(spending.spent, falls + rises, step)
        _spend(spending.risen, rises, step)
        return allowed


#: Digits behind the point of an alarm's strength that can be told apart.
STRENGTH_DIGITS = 4


def strongest(raised: Bools, strength: Floats, most: Ints) -> Bools:
    """The at most `most` (...) strongest of each row's alarms `raised` (..., C); in their order those that are as strong to
    `STRENGTH_DIGITS`: what lies beyond is rounding, which differs from one runtime to the next.

    >>> raised, strength = np.array([True, True, False, True]), np.array([0.2, 0.9, 5.0, 0.4])
    >>> strongest(raised, strength, np.array(2)).tolist()
    [False, True, False, True]
    """
    over = raised.sum(axis=-1) > most
    if not over.any():
        return raised
    ranked = np.where(raised, np.round(strength, STRENGTH_DIGITS), -np.inf)[over]
    order = np.argsort(-ranked, axis=-1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.broadcast_to(np.arange(order.shape[-1]), order.shape), axis=-1)
    out = raised.copy()
    out[over] &= place < most[over][..., None]
    return out


def _spend(tokens: Ints, taken: Ints, step: int) -> None:
    """Spend `taken` (...) of the tokens (F, ...), the oldest first, at `step`."""
    for i in range(int(taken.max(initial=0))):
        who = taken > i
        left = tokens[1:, who]
        tokens[:-1, who], tokens[-1, who] = left, step


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
