"""How urgent a turn is: phi, the probability that a watched interest lapses, and its levels.

phi comes from `shared.lapse_risk`, with weights that private rounds learned. Its levels are bands of a probability: of falls at
"high", half or more should end in a lapse. Before phi is learned, and for rises, the bands are of p itself: a stated
choice, no probability.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from shared.arrays import Bools, Floats, Ints
from shared.features import History, extract, seen
from shared.lapse_risk import phi, readings
from shared.plan import Plan


class Direction(IntEnum):
    """Which way interest turned: a lapse warning or an opportunity."""

    FALL = 0
    RISE = 1


class RiskLevel(IntEnum):
    LOW = 0
    MEDIUM = 1
    HIGH = 2


#: phi from which on a fall is medium, high.
MEDIUM_FROM, HIGH_FROM = 0.25, 0.5
#: Without phi: p at or below which a fall is medium, high; 1 - p at or below which a rise is.
MEDIUM_BELOW, HIGH_BELOW = 0.2, 0.1


def recent_rows(history: History, plan: Plan, step: int) -> tuple[Floats, Bools]:
    """What p and phi of `step` are read from: features (..., S, C, F) as of `rate_steps` earlier and as of `step` (as of
    `step` alone if the plan learns no phi), and which categories the user has touched by then (..., S, C)."""
    steps = recent_steps(plan, step)
    return extract(history, plan.features, steps), seen(history, steps)


def recent_steps(plan: Plan, step: int) -> list[int]:
    """The steps of `recent_rows`."""
    return [max(step - plan.risk.rate_steps, 0), step] if plan.risk else [step]


def p_and_risk(plan: Plan, weights: Floats, x: Floats, p: Floats, known: Bools) -> tuple[Floats, Floats]:
    """p and phi (..., C) from `recent_rows` and their p (..., S, C); NaN where the user never touched a category, and
    phi everywhere NaN while there are no weights (R,)."""
    p = np.where(known, p, np.float32(np.nan))
    now = p[..., -1, :]
    if not weights.size or p.shape[-2] < 2:
        return now, np.full_like(now, np.nan)
    return now, phi(weights, readings(plan.features, x[..., -1, :, :], now, p[..., 0, :]))


def risk_levels(p: Floats, risk: Floats) -> Ints:
    """RiskLevel of a fall and of a rise at p and phi (..., C): int (..., 2, C), falls first. Rises are judged by p."""
    with np.errstate(invalid="ignore"):
        by_p = [(left <= MEDIUM_BELOW).astype(np.int64) + (left <= HIGH_BELOW) for left in (p, 1 - p)]
        by_phi = (risk >= MEDIUM_FROM).astype(np.int64) + (risk >= HIGH_FROM)
    return np.stack([np.where(np.isnan(risk), by_p[Direction.FALL], by_phi), by_p[Direction.RISE]], axis=-2)
