"""When interest turns: detectors on the stream of p, for any number of leading axes. Falls and rises are two alarms.

A detector is a rule without memory of its own; what it remembers is a small array that the caller keeps, so that a
device with C streams and a host with (K, C) run the same code. `update` returns the new memory and the two alarms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError
from shared.plan import Detection

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

#: A rate of .2 in decimal is not .2 in floating point; thresholds are reached within this.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Alarms:
    """Where a detector fires now: two masks (..., C), and the change rate per step behind them (NaN: not known yet)."""

    fall: Bools
    rise: Bools
    rate: Floats


class Detector(Protocol):
    """A rule on a stream of p."""

    def start(self, shape: tuple[int, ...]) -> Floats:
        """Memory before the first p; float32 (..., C, m)."""
        ...

    def update(self, memory: Floats, p: Floats, established: Bools) -> tuple[Floats, Alarms]:
        """The memory after p (..., C), and the alarms. A p that is NaN (no score) raises none."""
        ...


class RateDetector:
    """The article's rule: the change rate r = (p_i - p_{i - dt}) / dt reaches a threshold, up or down.

    Memory: the last dt values of p.
    """

    def __init__(self, window_steps: int, threshold: float) -> None:
        if window_steps < 1 or not threshold > 0:
            raise ConfigError(f"expected window_steps >= 1 and threshold > 0, got {window_steps} and {threshold}")
        self.window_steps, self.threshold = window_steps, threshold

    def start(self, shape: tuple[int, ...]) -> Floats:
        return np.full((*shape, self.window_steps), np.nan, np.float32)

    def update(self, memory: Floats, p: Floats, established: Bools) -> tuple[Floats, Alarms]:
        rate = (p - memory[..., 0]) / np.float32(self.window_steps)
        with np.errstate(invalid="ignore"):
            alarms = Alarms(rate <= TOLERANCE - self.threshold, rate >= self.threshold - TOLERANCE, rate)
        return np.concatenate([memory[..., 1:], p[..., None]], axis=-1), alarms


class LevelDetector:
    """The level of p crosses a fixed line: down on an interest that was established, up on one that was not.

    It fires on the crossing, so a stream that stays low does not fire again. Memory: the last dt values of p (for the
    rate that explains an alert).
    """

    def __init__(self, fall_level: float, rise_level: float, window_steps: int = 1) -> None:
        if not 0 <= fall_level < rise_level <= 1:
            raise ConfigError(f"expected 0 <= fall_level < rise_level <= 1, got {fall_level} and {rise_level}")
        self.fall_level, self.rise_level, self.window_steps = fall_level, rise_level, window_steps

    def start(self, shape: tuple[int, ...]) -> Floats:
        return np.full((*shape, self.window_steps), np.nan, np.float32)

    def update(self, memory: Floats, p: Floats, established: Bools) -> tuple[Floats, Alarms]:
        before = memory[..., -1]
        with np.errstate(invalid="ignore"):
            fall = (p <= self.fall_level) & (before > self.fall_level) & established
            rise = (p >= self.rise_level) & (before < self.rise_level) & ~established
        rate = (p - memory[..., 0]) / np.float32(self.window_steps)
        return np.concatenate([memory[..., 1:], p[..., None]], axis=-1), Alarms(fall, rise, rate)


class OwnLevelDetector:
    """The level of p leaves this stream's own slow level, in logits, by a margin: down on an established interest, up on
    any. It fires when the stream goes beyond the margin, not while it stays there.

    Memory: the slow level (an EWMA of logit p), whether p was beyond either margin, and the last dt values of p.
    """

    def __init__(self, span_steps: int, fall_margin: float, rise_margin: float, window_steps: int = 1) -> None:
        if span_steps < 1 or not (fall_margin > 0 and rise_margin > 0):
            raise ConfigError(
                f"expected span_steps >= 1 and margins > 0, got {span_steps}, {fall_margin} and {rise_margin}"
            )
        self.span_steps, self.fall_margin, self.rise_margin = span_steps, fall_margin, rise_margin
        self.window_steps = window_steps

    def start(self, shape: tuple[int, ...]) -> Floats:
        memory = np.full((*shape, 3 + self.window_steps), np.nan, np.float32)
        memory[..., 1:3] = 0
        return memory

    def update(self, memory: Floats, p: Floats, established: Bools) -> tuple[Floats, Alarms]:
        logit = _logit(p)
        own = np.where(np.isnan(memory[..., 0]), logit, memory[..., 0])
        gap = logit - own
        with np.errstate(invalid="ignore"):
            low, high = gap <= TOLERANCE - self.fall_margin, gap >= self.rise_margin - TOLERANCE
        fall, rise = low & (memory[..., 1] == 0) & established, high & (memory[..., 2] == 0)
        after = np.concatenate([memory[..., :1], memory[..., 1:3], memory[..., 4:], p[..., None]], axis=-1)
        after[..., 0] = own + np.float32(2 / (self.span_steps + 1)) * np.nan_to_num(gap)
        after[..., 1], after[..., 2] = low, high
        return after, Alarms(fall, rise, (p - memory[..., 3]) / np.float32(self.window_steps))


def _logit(p: Floats) -> Floats:
    """log(p / (1 - p)) with p held in .01...99; NaN stays NaN."""
    held = np.clip(p, np.float32(0.01), np.float32(0.99))
    out: Floats = np.log(held / (1 - held))
    return out


def detector_for(settings: Detection) -> Detector:
    """The detector that a plan asks for."""
    if settings.detector == "rate":
        return RateDetector(settings.rate_window_steps, settings.rate_threshold)
    if settings.detector == "own_level":
        return OwnLevelDetector(
            settings.own_span_steps, settings.fall_margin, settings.rise_margin, settings.rate_window_steps
        )
    return LevelDetector(settings.fall_level, settings.rise_level, settings.rate_window_steps)
