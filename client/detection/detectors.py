"""When interest turns: detectors on the stream of p, for any number of leading axes. Falls and rises are two alarms.

A detector is a rule without memory of its own; what it remembers is a small array that the caller keeps, so that a
device with C streams and a host with (K, C) run the same code. `update` changes that array in place and returns the
alarms. Memory is (m, ..., C), so that each remembered number lies in one piece. `cusum.py` holds the detector for dense
streams; spikes of activity, which are neither falls nor rises, are `bursts.py`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from shared.arrays import Bools, Floats
from shared.errors import ConfigError
from shared.lapse_risk import logit

from .chances import Chances

#: A rate of .2 in decimal is not .2 in floating point; thresholds are reached within this.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Alarms:
    """Where a detector fires now: two masks (..., C), the change rate per step behind them (NaN: not known yet), and how
    strong each alarm is, (2, ..., C), falls first: of two in the same direction the stronger one is further beyond its
    line. Where nothing fires the strength says nothing.

    `judged` (..., C): the streams that a rule whose thresholds adapt judged at all; None from any other rule.
    """

    fall: Bools
    rise: Bools
    rate: Floats
    strength: Floats
    judged: Bools | None = None


class Detector(Protocol):
    """A rule on a stream of p.

    `adapts`: its thresholds come from the budget and follow a user's alarms. `reads_risk`: it looks at the chances of turns.
    """

    adapts: ClassVar[bool]
    reads_risk: ClassVar[bool]

    def start(self, shape: tuple[int, ...]) -> Floats:
        """Memory before the first p of streams of `shape` (..., C); float32 (m, ..., C)."""
        ...

    def update(
        self,
        memory: Floats,
        chances: Chances,
        established: Bools,
        step: int = 0,
        threshold: Floats | float = math.inf,
    ) -> Alarms:
        """The alarms at `chances`, (..., C) each, of which p goes into the memory. A p that is NaN (no score) raises none.

        `step` is their step, for rules that know weekdays; `threshold` broadcasts against (..., C), for rules whose
        threshold adapts. A rule reads p, or the chances of turns, which are NaN where they are not learned.
        """
        ...


class RateDetector:
    """The article's rule: the change rate r = (p_i - p_{i - dt}) / dt reaches a threshold, up or down.

    Memory: the last dt values of p.

    The article's worked example: p of .3, .4, .6, .5, and a threshold of .2 a step. It fires at the third value, upwards.

    >>> rule = RateDetector(window_steps=1, threshold=0.2)
    >>> memory = rule.start((1,))
    >>> for p in (0.3, 0.4, 0.6, 0.5):
    ...     alarms = rule.update(memory, Chances.of_p(np.array([p], np.float32)), np.array([True]))
    ...     print(f"{p} rate {alarms.rate[0]:+.1f} rise {alarms.rise[0]} fall {alarms.fall[0]}")
    0.3 rate +nan rise False fall False
    0.4 rate +0.1 rise False fall False
    0.6 rate +0.2 rise True fall False
    0.5 rate -0.1 rise False fall False
    """

    adapts: ClassVar[bool] = False
    reads_risk: ClassVar[bool] = False

    def __init__(self, window_steps: int, threshold: float) -> None:
        if window_steps < 1 or not threshold > 0:
            raise ConfigError(f"expected window_steps >= 1 and threshold > 0, got {window_steps} and {threshold}")
        self.window_steps, self.threshold = window_steps, threshold

    def start(self, shape: tuple[int, ...]) -> Floats:
        return np.full((self.window_steps, *shape), np.nan, np.float32)

    def update(
        self,
        memory: Floats,
        chances: Chances,
        established: Bools,
        step: int = 0,
        threshold: Floats | float = math.inf,
    ) -> Alarms:
        rate = shift(memory, chances.p)
        with np.errstate(invalid="ignore"):
            fall, rise = rate <= TOLERANCE - self.threshold, rate >= self.threshold - TOLERANCE
        return Alarms(fall, rise, rate, np.stack([-rate, rate]))


class LevelDetector:
    """The level of p crosses a fixed line: down on an interest that was established, up on one that was not.

    It fires on the crossing, so a stream that stays low does not fire again. Memory: the last dt values of p (for the
    rate that explains an alert).

    >>> detector = LevelDetector(fall_level=0.2, rise_level=0.6)
    >>> memory = detector.start((1,))
    >>> stream = [Chances.of_p(np.array([p], np.float32)) for p in (0.5, 0.1, 0.1)]
    >>> [bool(detector.update(memory, now, np.array([True])).fall[0]) for now in stream]
    [False, True, False]
    """

    adapts: ClassVar[bool] = False
    reads_risk: ClassVar[bool] = False

    def __init__(self, fall_level: float, rise_level: float, window_steps: int = 1) -> None:
        if not 0 <= fall_level < rise_level <= 1:
            raise ConfigError(f"expected 0 <= fall_level < rise_level <= 1, got {fall_level} and {rise_level}")
        self.fall_level, self.rise_level, self.window_steps = fall_level, rise_level, window_steps

    def start(self, shape: tuple[int, ...]) -> Floats:
        return np.full((self.window_steps, *shape), np.nan, np.float32)

    def update(
        self,
        memory: Floats,
        chances: Chances,
        established: Bools,
        step: int = 0,
        threshold: Floats | float = math.inf,
    ) -> Alarms:
        p, before = chances.p, memory[-1]
        with np.errstate(invalid="ignore"):
            fall = (p <= self.fall_level) & (before > self.fall_level) & established
            rise = (p >= self.rise_level) & (before < self.rise_level) & ~established
        return Alarms(fall, rise, shift(memory, p), np.stack([-p, p]))


class RiskDetector:
    """phi, the probability of a lapse, is at or above a line on an established interest. With a calibrated phi, at least one
    such alert in 1 / line comes true. Rises: with a `takeoff_line`, where the probability of a take-off is at or above that;
    without one, as `LevelDetector` calls them.

    It fires as long as the probability is there: quiet time keeps it from repeating itself, the budget lets the likeliest turns
    go first. An interest that is at risk already when the model arrives is told of, too. Memory: the last p.
    """

    adapts: ClassVar[bool] = False
    reads_risk: ClassVar[bool] = True

    def __init__(self, line: float, rise_level: float, takeoff_line: float | None = None) -> None:
        if not (0 < line < 1 and 0 < rise_level <= 1):
            raise ConfigError(f"expected line in (0, 1) and rise_level in (0, 1], got {line} and {rise_level}")
        if takeoff_line is not None and not 0 < takeoff_line <= 1:
            raise ConfigError(f"expected takeoff_line in (0, 1], got {takeoff_line}")
        self.line, self.rise_level, self.takeoff_line = line, rise_level, takeoff_line

    def start(self, shape: tuple[int, ...]) -> Floats:
        return np.full((1, *shape), np.nan, np.float32)

    def update(
        self,
        memory: Floats,
        chances: Chances,
        established: Bools,
        step: int = 0,
        threshold: Floats | float = math.inf,
    ) -> Alarms:
        """As any detector's. Without phi no fall is called, and with a `takeoff_line` no rise without such a chance."""
        p, lapse, takeoff = chances
        rising, line = (p, self.rise_level) if self.takeoff_line is None else (takeoff, self.takeoff_line)
        with np.errstate(invalid="ignore"):
            fall, rise = (lapse >= self.line) & established, rising >= line
            if self.takeoff_line is None:
                rise &= (memory[0] < self.rise_level) & ~established
        rate = p - memory[0]
        memory[0] = p
        return Alarms(fall, rise, rate, np.stack([lapse, rising]))


class OwnLevelDetector:
    """The level of p leaves this stream's own slow level, in logits, by a margin: down on an established interest, up on
    any. It fires when the stream goes beyond the margin, not while it stays there.

    Memory: the slow level (an EWMA of logit p), whether p was beyond either margin, and the last dt values of p.
    """

    adapts: ClassVar[bool] = False
    reads_risk: ClassVar[bool] = False

    def __init__(self, span_steps: int, fall_margin: float, rise_margin: float, window_steps: int = 1) -> None:
        if span_steps < 1 or not (fall_margin > 0 and rise_margin > 0):
            raise ConfigError(
                f"expected span_steps >= 1 and margins > 0, got {span_steps}, {fall_margin} and {rise_margin}"
            )
        self.span_steps, self.fall_margin, self.rise_margin = span_steps, fall_margin, rise_margin
        self.window_steps = window_steps

    def start(self, shape: tuple[int, ...]) -> Floats:
        memory = np.full((3 + self.window_steps, *shape), np.nan, np.float32)
        memory[1:3] = 0
        return memory

    def update(
        self,
        memory: Floats,
        chances: Chances,
        established: Bools,
        step: int = 0,
        threshold: Floats | float = math.inf,
    ) -> Alarms:
        p, (own, was_low, was_high) = chances.p, memory[:3]
        level = logit(p)
        np.copyto(own, level, where=np.isnan(own))
        gap = level - own
        with np.errstate(invalid="ignore"):
            low, high = gap <= TOLERANCE - self.fall_margin, gap >= self.rise_margin - TOLERANCE
        fall, rise = low & (was_low == 0) & established, high & (was_high == 0)
        own += np.float32(2 / (self.span_steps + 1)) * np.nan_to_num(gap)
        was_low[:], was_high[:] = low, high
        return Alarms(fall, rise, shift(memory[3:], p), np.stack([-gap, gap]))


def shift(past: Floats, p: Floats) -> Floats:
    """The change rate per step over a window `past` (dt, ..., C) of p's, which moves on by one: float32 (..., C)."""
    rate: Floats = (p - past[0]) / np.float32(len(past))
    past[:-1] = past[1:]
    past[-1] = p
    return rate
