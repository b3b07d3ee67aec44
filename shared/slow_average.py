"""A rule of counters that tells turns ahead: the slow average of activity, and how often the user comes at all.

    fall    minus the log of the average over 2 W steps: the lower, the sooner a lapse
    rise    the log of that average, plus half the log of the user's rate in all categories

No model is needed. Two coefficients a direction, which planted people teach, make a chance of each (`RulePlan`), so that a plan's lines
hold for this rule as for what is learned. Averages start from 0, and a step weighs 2 / (span + 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .arrays import Bools, Doubles, Floats, Ints, as_declared
from .features import FeatureSpec, History, quiet, seen
from .features.columns import MORE_ACTIVE, MORE_STEPS
from .features.windows import cumulative, first_active
from .heads.inputs import LEAST_LEVEL
from .network import sigmoid
from .register.rule_plan import RulePlan

Steps = Sequence[int] | Ints
#: What is further back than so many spans weighs less than 1e-13, and is not looked at.
SPANS = 16


@as_declared
def average(active: Bools, steps: Ints, span: int) -> Doubles:
    """The exponentially weighted share of active steps as of each of `steps` (S,): (..., T) -> (..., S)."""
    first, last = max(int(steps.min()) - SPANS * span, 0) if steps.size else 0, int(steps.max(initial=-1))
    weight, level = 2 / (span + 1), np.zeros(active.shape[:-1])
    out = np.empty((*level.shape, last + 1 - first))
    for t in range(first, last + 1):
        level = level + weight * (active[..., t] - level)
        out[..., t - first] = level
    found: Doubles = out[..., steps - first]
    return found


def log_user_rate(history: History, steps: Steps) -> Doubles:
    """The log of a user's active steps, in any category, over the steps since the first, as features of version 2 have it: (..., S)."""
    at, active = np.asarray(steps, np.int64), np.asarray(history.active.any(axis=-2))
    began = first_active(active, at)
    age = np.where(began >= 0, at - began, 0)
    out: Doubles = np.log((cumulative(active)[..., at + 1] + MORE_ACTIVE) / (age + MORE_STEPS))
    return out


def log_level(history: History, steps: Steps, span: int) -> Doubles:
    """The log of the average of activity: (..., S, C)."""
    level = np.maximum(average(history.active, np.asarray(steps, np.int64), span), 0)
    return np.moveaxis(np.log(level + LEAST_LEVEL), -1, -2)


def parts(history: History, steps: Steps, features: FeatureSpec, *, rising: bool) -> tuple[Doubles, Doubles]:
    """What a score is the sum of, (..., S, C) each: that of the category, that of the user."""
    level = log_level(history, steps, 2 * features.window_steps)
    if not rising:
        return -level, np.zeros_like(level)
    return level, np.broadcast_to(log_user_rate(history, steps)[..., None] / 2, level.shape)


def chances(rule: RulePlan, features: FeatureSpec, history: History, steps: Steps) -> tuple[Floats, Floats]:
    """P(lapse) of interests that the user has touched by then, P(take-off) of those that are quiet: (..., S, C) each, else NaN."""
    found = []
    for rising, slope, intercept in (
        (False, rule.fall_slope, rule.fall_intercept),
        (True, rule.rise_slope, rule.rise_intercept),
    ):
        logits = slope * np.add(*parts(history, steps, features, rising=rising)) + intercept
        asked = quiet(history, steps, features.window_steps) if rising else seen(history, steps)
        found.append(np.where(asked, sigmoid(logits.astype(np.float32)), np.float32(np.nan)))
    return found[0], found[1]
