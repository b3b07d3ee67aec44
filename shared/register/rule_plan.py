"""The part of a plan that says what a rule of counters reads as chances (`shared/slow_average.py`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .sum_plan import expect

#: No coefficient is larger: a chance that one step moves from nothing to certainty is none.
MOST = 100.0


@dataclass(frozen=True)
class RulePlan:
    """From the rule's score to a chance, for falls and for rises: sigmoid(slope * score + intercept). Planted people teach the four
    numbers; they are public, and cost no epsilon."""

    fall_slope: float = 1.0
    fall_intercept: float = 0.0
    rise_slope: float = 1.0
    rise_intercept: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            expect(math.isfinite(value) and abs(value) <= MOST, f"{name} in -{MOST:g}..{MOST:g}", value)
        for name in ("fall_slope", "rise_slope"):
            expect(getattr(self, name) > 0, f"{name} > 0: a higher score is a higher chance", getattr(self, name))
