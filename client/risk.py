"""How urgent an alert is: w = phi(p), for now in fixed bands of the interest level.

The bands are a stated choice, not calibrated probabilities: a fall is the worse the lower p, a rise the better the
higher p.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Direction(IntEnum):
    """Which way interest turned: a lapse warning or an opportunity."""

    FALL = 0
    RISE = 1


class RiskLevel(IntEnum):
    LOW = 0
    MEDIUM = 1
    HIGH = 2


#: p at or below which a fall is medium, high; 1 - p at or below which a rise is.
MEDIUM_BELOW, HIGH_BELOW = 0.2, 0.1


def risk_level(p: NDArray[np.float32], direction: Direction) -> NDArray[np.int64]:
    """RiskLevel, int (...,), of an alert at interest p (...,)."""
    left = p if direction is Direction.FALL else 1 - p
    return (left <= MEDIUM_BELOW).astype(np.int64) + (left <= HIGH_BELOW)
