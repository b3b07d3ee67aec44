"""What a device reads of its interests at the close of a step: p, the chance of a lapse, the chance of a take-off.

p is the network's. A lapse has phi on top of p (`shared/lapse_risk.py`) or a head (`shared/heads/`), a take-off has a head; NaN
stands where nothing is known: of an interest that the user never touched, of a chance that the plan does not learn or that has not
come yet, and of the take-off of one that is not quiet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from shared import slow_average
from shared.arrays import Bools, Floats
from shared.features import FeatureSpec, History, extract, seen
from shared.features.windows import QUIET_ACTIVE
from shared.heads import TASKS, Heads
from shared.heads.model import Score
from shared.lapse_risk import phi, readings
from shared.plan import Plan


class Chances(NamedTuple):
    """p, P(lapse) and P(take-off), float32 (..., C) each."""

    p: Floats
    lapse: Floats
    takeoff: Floats

    @classmethod
    def of_p(cls, p: Floats, lapse: Floats | None = None, takeoff: Floats | None = None) -> Chances:
        """p (..., C) and what is learned of turns (None: nothing)."""
        nothing = np.broadcast_to(np.float32(np.nan), p.shape)
        return cls(p, nothing if lapse is None else lapse, nothing if takeoff is None else takeoff)


class Weights(NamedTuple):
    """What all three are made with: theta (P,), phi's weights (R,; empty: none yet), the heads (None: none yet)."""

    theta: Floats
    risk: Floats
    heads: Heads | None = None


def recent_steps(plan: Plan, step: int) -> list[int]:
    """The steps of `recent_rows`."""
    return [max(step - plan.risk.rate_steps, 0), step] if plan.risk else [step]


def recent_rows(history: History, plan: Plan, step: int) -> tuple[Floats, Bools]:
    """What the chances of `step` are read from: features (..., S, C, F) as of `rate_steps` earlier and as of `step` (as of
    `step` alone if the plan learns no phi on top of p), and which categories the user has touched by then (..., S, C)."""
    steps, history = recent_steps(plan, step), plan.read_features.of(history)
    return extract(history, plan.read_features, steps), seen(history, steps)


def chances_of(plan: Plan, weights: Weights, score: Score, x: Floats, known: Bools) -> Chances:
    """What `recent_rows` say, x (..., S, C, F) and known (..., S, C); `score` makes p of rows under a theta."""
    p = np.where(known, score(weights.theta, x[..., : plan.features.n_features]), np.float32(np.nan))
    before = p[..., 0, :] if p.shape[-2] > 1 else None
    return chances_at(plan, weights, score, x[..., -1, :, :], known[..., -1, :], p[..., -1, :], before)


def chances_at(
    plan: Plan, weights: Weights, score: Score, x: Floats, known: Bools, p: Floats, before: Floats | None
) -> Chances:
    """What rows x (..., C, F) of one step say of categories of which some are known (..., C), where the network says p (..., C), and
    said `before` as of `rate_steps` earlier (None: there was no such step)."""
    if plan.heads is not None:
        if weights.heads is None:
            return Chances.of_p(p)
        return Chances(p, *of_heads(plan.heads.features, weights.heads, score, x, known))
    if not weights.risk.size or before is None:
        return Chances.of_p(p)
    return Chances.of_p(p, phi(weights.risk, readings(plan.features, x, p, before)))


def as_ruled(plan: Plan, chances: Chances, history: History) -> Chances:
    """The chances as of the last step of a history (..., C, T), as the plan's detector reads them: those of the rule of counters where
    it is the detector, else as they are."""
    if plan.detection.detector != "slow_average" or plan.rule is None:
        return chances
    lapse, takeoff = slow_average.chances(plan.rule, plan.features, history, [history.n_steps - 1])
    return Chances(chances.p, lapse[..., 0, :], takeoff[..., 0, :])


def of_heads(features: FeatureSpec, heads: Heads, score: Score, x: Floats, known: Bools) -> tuple[Floats, Floats]:
    """P(lapse) and P(take-off) (..., C) of rows x (..., C, F), by the heads."""
    said = dict(zip(TASKS, heads.read(features, score, x), strict=True))
    nothing = np.float32(np.nan)
    quiet = known & is_quiet(features, x)
    return np.where(known, said["lapse"], nothing), np.where(quiet, said["takeoff"], nothing)


def is_quiet(features: FeatureSpec, x: Floats) -> Bools:
    """Whether interests are quiet (`shared.features.quiet`), as their rows x (..., F) say it: (...,)."""
    share = x[..., features.names.index(f"active_{features.window_steps}")] / 2 + np.float32(0.5)
    quiet: Bools = share * features.window_steps < QUIET_ACTIVE + 0.5
    return quiet
