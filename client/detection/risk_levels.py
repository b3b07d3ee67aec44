"""How urgent a turn is: the levels of a probability that a watched interest lapses, or that a quiet one is taken up.

Levels are bands of it: of falls at "high", half or more should end in a lapse. Where no such probability is learned, the bands are
of p itself: a stated choice, no probability.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from shared.arrays import Ints

from .chances import Chances


class Direction(IntEnum):
    """Which way interest turned: a lapse warning or an opportunity."""

    FALL = 0
    RISE = 1


class RiskLevel(IntEnum):
    LOW = 0
    MEDIUM = 1
    HIGH = 2


#: The chance from which on a turn is medium, high.
MEDIUM_FROM, HIGH_FROM = 0.25, 0.5
#: Without one: p at or below which a fall is medium, high; 1 - p at or below which a rise is.
MEDIUM_BELOW, HIGH_BELOW = 0.2, 0.1


def risk_levels(chances: Chances) -> Ints:
    """RiskLevel of a fall and of a rise at the chances (..., C): int (..., 2, C), falls first. Without a chance they are judged by p."""
    p, lapse, takeoff = chances
    with np.errstate(invalid="ignore"):
        by_p = [(left <= MEDIUM_BELOW).astype(np.int64) + (left <= HIGH_BELOW) for left in (p, 1 - p)]
        by_chance = [(c >= MEDIUM_FROM).astype(np.int64) + (c >= HIGH_FROM) for c in (lapse, takeoff)]
    each = zip((lapse, takeoff), by_p, by_chance, strict=True)
    return np.stack([np.where(np.isnan(chance), rough, exact) for chance, rough, exact in each], axis=-2)
