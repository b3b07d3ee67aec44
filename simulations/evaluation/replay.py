"""Detectors run again on everybody at once, by the code that devices run: what other settings would have called.

p and phi come from the numpy network, which devices' TFLite agrees with to 1e-5. A watch starts on the past that a device
has when a model arrives, and sees every step after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from client.detection.chances import Chances, of_heads
from client.detection.detectors import shift
from client.detection.watch import Watch, observed, past_steps
from shared import slow_average
from shared.arrays import Bools, Floats, Ints, as_declared, hold_declared
from shared.features import History, extract, seen
from shared.heads import Heads
from shared.lapse_risk import phi, readings
from shared.network import forward
from shared.plan import Detection, Plan
from shared.register.rule_plan import RulePlan

from ..people.labelled_rows import SCORE_USERS, users_of
from ..people.setup import Setup
from .ground_truth import watched

#: Per detector the number that sets how often it calls a fall, and values that are tried.
SETTINGS: Final[Mapping[str, tuple[str, tuple[float, ...]]]] = {
    "cusum": ("false_alerts", (1, 2, 3, 5, 8, 13)),
    "risk": ("risk_line", (0.1, 0.15, 0.2, 0.25, 0.275, 0.3, 0.325, 0.35, 0.4, 0.5)),
    "slow_average": ("risk_line", (0.1, 0.15, 0.2, 0.25, 0.275, 0.3, 0.325, 0.35, 0.4, 0.5)),
    "level": ("fall_level", (0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)),
    "own_level": ("fall_margin", (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)),
    "rate": ("rate_threshold", (0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3)),
}


@dataclass(frozen=True)
class Scores:
    """What everybody's devices compute: p (K, P, C) of the steps before and p (K, S, C) of consecutive `steps` (S,); phi
    (None: not learned), `watched` and the chance of a take-off (None: not learned; NaN where an interest is not quiet), and both
    chances by the rule of counters (None: nobody taught it), all (K, S, C); from the counters of `history`, which ends with the last
    step."""

    history: History

    steps: Ints
    past: Floats
    p: Floats
    risk: Floats | None
    watched: Bools
    takeoff: Floats | None = None
    ruled_lapse: Floats | None = None
    ruled_takeoff: Floats | None = None

    def __post_init__(self) -> None:
        hold_declared(self)

    @as_declared
    def of_users(self, users: Ints) -> Scores:
        """The scores of some users (n,)."""
        cubes = self.risk, self.takeoff, self.ruled_lapse, self.ruled_takeoff
        risk, *others = (None if cube is None else cube[users] for cube in cubes)
        return Scores(
            self.history[users], self.steps, self.past[users], self.p[users], risk, self.watched[users], *others
        )

    def allow(self, settings: Detection, detector: str) -> bool:
        """Whether a detector has what it needs in them."""
        return can_run(settings, detector, learned_phi=self.risk is not None, taught_rule=self.ruled_lapse is not None)


@as_declared
def scores_at(
    history: History,
    setup: Setup,
    theta: Floats,
    weights: Floats,
    steps: Ints,
    heads: Heads | None = None,
    rule: RulePlan | None = None,
) -> Scores:
    """p and phi of consecutive `steps` under theta (P,) and phi's weights (R,; empty: none) or the heads (None: none), and of the past
    before them that any detector warms up on; some users at a time. `rule`: another one than the plan's, or where that has none."""
    plan, rule, known = setup.plan, rule or setup.plan.rule, history.until(int(steps[-1]))
    longest = max(past_steps(plan, kind) for kind in SETTINGS)
    before = np.arange(max(0, int(steps[0]) - longest), int(steps[0]))
    at = np.concatenate([before, steps])
    p_parts, risk_parts, takeoff_parts = [], [], []

    def score(under: Floats, x: Floats) -> Floats:
        return forward(plan.network, under, x)

    for first in range(0, len(known.active), SCORE_USERS):
        part = users_of(known, first)
        x = extract(part, plan.read_features, at)
        own = x[..., : plan.features.n_features]
        p = np.where(seen(part, at), forward(plan.network, theta, own), np.float32(np.nan))
        p_parts.append(p)
        if plan.risk and weights.size:
            now = np.arange(len(before), len(at))
            earlier = np.maximum(now - plan.risk.rate_steps, 0)
            risk_parts.append(phi(weights, readings(plan.features, x[:, now], p[:, now], p[:, earlier])))
        if heads is not None:
            lived = slice(len(before), None)
            lapse, takeoff = of_heads(plan.read_features, heads, score, x[:, lived], ~np.isnan(p[:, lived]))
            risk_parts.append(lapse)
            takeoff_parts.append(takeoff)
    ruled = slow_average.chances(rule, plan.features, known, steps) if rule is not None else (None, None)
    p = np.concatenate(p_parts)
    return Scores(
        known,
        steps,
        p[:, : len(before)],
        p[:, len(before) :],
        np.concatenate(risk_parts) if risk_parts else None,
        watched(known, steps, setup.protocol, plan.detection.min_active_steps),
        np.concatenate(takeoff_parts) if takeoff_parts else None,
        *ruled,
    )


def alerts_of(plan: Plan, settings: Detection, scores: Scores) -> Bools:
    """Alerts (K, S, 2, C) that devices raise under `settings`, falls first."""
    plan, first = replace(plan, detection=settings, rule=plan.rule or RulePlan()), int(scores.steps[0])
    lapse, takeoff = scores.risk, scores.takeoff
    if settings.detector == "slow_average":
        lapse, takeoff = scores.ruled_lapse, scores.ruled_takeoff
    before = np.arange(first - scores.past.shape[1], first)
    watch = Watch.start(plan, observed(plan, scores.history.until(first - 1), before, scores.past), first - 1)
    p, out = observed(plan, scores.history, scores.steps, scores.p), []
    for i, step in enumerate(scores.steps.tolist()):
        said = (None if cube is None else cube[:, i] for cube in (lapse, takeoff))
        out.append(watch.judge(settings, step, Chances.of_p(p[:, i], *said), scores.watched[:, i]))
    return np.stack(out, axis=1)


@as_declared
def change_rate(p: NDArray[Any], window_steps: int) -> NDArray[Any]:
    """The article's r_t = (p_t - p_{t - w}) / w along the steps of p (..., S, C); NaN where either is not known."""
    past = np.full((window_steps, *p.shape[:-2], p.shape[-1]), np.nan, p.dtype)
    return np.stack([shift(past, p[..., i, :]) for i in range(p.shape[-2])], axis=-2)


def with_setting(settings: Detection, detector: str, value: float, *, falls_only: bool = False) -> Detection:
    """A plan's settings with another detector, set to fire as `value` says.

    A level's line for rises makes room for one for falls that lies as high. With `falls_only` no line for rises is ever
    reached, so that rises of p and of phi take nothing from the budget.
    """
    key, _ = SETTINGS[detector]
    high = detector == "level" and value >= settings.rise_level
    room = {"rise_level": 1.0} if high or (falls_only and detector in ("level", "risk", "slow_average")) else {}
    if falls_only and settings.takeoff_line is not None:
        room |= {"takeoff_line": 1.0}
    changes: dict[str, Any] = {key: int(value) if key == "false_alerts" else value, **room}
    return replace(settings, detector=detector, **changes)


def tried(settings: Detection, detector: str) -> list[float]:
    """The values of a detector's setting that are tried: those of SETTINGS, and the plan's own."""
    key, values = SETTINGS[detector]
    return sorted({*map(float, values), float(getattr(settings, key))})


def can_run(settings: Detection, detector: str, *, learned_phi: bool, taught_rule: bool) -> bool:
    """Whether a detector has what it needs: phi its weights, the rule of counters its coefficients, the CUSUM a budget."""
    needed = {"risk": learned_phi, "slow_average": taught_rule, "cusum": settings.false_alerts > 0}
    return needed.get(detector, True)
