"""What ours is measured against on simulated daily streams: simple rules and river's detectors, each with one number
that sets how often it fires. All run on streams p (T, N), NaN where not observed, and give alarms (T, N).

River's detectors run in Python, a stream at a time, on observed values only, and check at every step (ADWIN's own
default is every 32nd; to fire as often as the others its delta has to go beyond 1, where it is no bound any more). The
rates see the last observed value. Every rule is quiet for `QUIET_STEPS` after an alarm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from river.drift import ADWIN, PageHinkley

from client.detection.chances import Chances
from client.detection.detectors import RateDetector
from shared.arrays import Bools, Floats, as_declared

QUIET_STEPS = 14
ROUNDS = 12


@dataclass(frozen=True)
class Rule:
    """A rule and the range of its setting, from often to never; the range is searched in logarithms."""

    name: str
    alarms: Callable[[Floats, float], Bools]
    often: float
    never: float
    per_stream: bool = False

    @as_declared
    def calibrated(self, p: Floats, first: int, rate: float) -> float:
        """The setting nearest to `often` at which streams without change have at most `rate` alarms per step from step
        `first` on."""
        often, never = math.log(self.often), math.log(self.never)
        for _ in range(ROUNDS):
            middle = (often + never) / 2
            if self.alarms(p, math.exp(middle))[first:].mean() > rate:
                often = middle
            else:
                never = middle
        return math.exp(never)


def _rate(window_steps: int) -> Callable[[Floats, float], Bools]:
    def alarms(p: Floats, threshold: float) -> Bools:
        detector = RateDetector(window_steps, threshold)
        memory, everybody = detector.start(p.shape[1:]), np.ones(p.shape[1:], bool)
        last = np.full(p.shape[1:], np.nan, np.float32)
        quiet_until, out = np.zeros(p.shape[1:], np.int64), np.zeros(p.shape, bool)
        for t, now in enumerate(p):
            observed = ~np.isnan(now)
            last = np.where(observed, now, last)
            fired = detector.update(memory, Chances.of_p(last), everybody)
            out[t] = (fired.fall | fired.rise) & observed & (quiet_until <= t)
            quiet_until[out[t]] = t + 1 + QUIET_STEPS
        return out

    return alarms


def _river(make: Callable[[float], PageHinkley | ADWIN]) -> Callable[[Floats, float], Bools]:
    def alarms(p: Floats, setting: float) -> Bools:
        out = np.zeros(p.shape, bool)
        for i in range(p.shape[1]):
            detector, quiet_until = make(setting), 0
            for t, value in enumerate(p[:, i].tolist()):
                if value == value:
                    detector.update(value)  # type: ignore[no-untyped-call]
                    if detector.drift_detected and t >= quiet_until:
                        out[t, i], quiet_until = True, t + 1 + QUIET_STEPS
        return out

    return alarms


def _adwin(delta: float) -> ADWIN:
    return ADWIN(delta=delta, clock=1)  # type: ignore[no-untyped-call]


RULES = (
    Rule("1-step rate (the article)", _rate(1), 0.005, 1.0),
    Rule("7-step rate", _rate(7), 0.001, 1.0),
    Rule("Page-Hinkley (river)", _river(lambda h: PageHinkley(threshold=h, mode="both")), 0.05, 50.0, True),
    Rule("ADWIN (river)", _river(_adwin), 5.0, 1e-6, True),
)
