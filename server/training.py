"""The rounds, p's and then phi's: each charged before its cohort is sampled, checkpointed after it, never run twice."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Doubles, Floats
from shared.codec import pack_floats
from shared.errors import BudgetError, ConfigError
from shared.plan import Plan, PrivacyPlan

from .accounting import RoundAccountant
from .federation import Federation
from .optimizer import ServerOptimizer
from .risk_start import RiskStart
from .rounds import INTEREST, RISK, UpdateKind, open_sum
from .settings import RunSettings
from .state import RISK as RISK_FILE
from .state import Charges, ServerFolder


def train(federation: Federation, settings: RunSettings, folder: ServerFolder) -> RoundAccountant:
    """Run the plan's rounds, p's and then phi's, or as many of p's as its epsilon allows; goes on where an earlier
    process stopped. Then every device gets the weights.

    A round is charged durably before its cohort is sampled. One that was interrupted stays charged: it is never run
    again, so no device ever makes noise twice for one sum, and epsilon is at least that of an uninterrupted run.
    """
    plan, n_rounds = settings.plan, settings.plan.privacy.rounds
    charges = folder.charges(plan.sha256)
    accountant = RoundAccountant(*plan.charged)
    accountant.charge(charges.count(until=n_rounds))
    if plan.risk:
        accountant.charge(charges.count(after=n_rounds), 1)
    optimizer = ServerOptimizer(settings.theta, settings.server)
    models = folder.load_checkpoint(optimizer) or [optimizer.published]
    for round_number in range(accountant.rounds + 1, n_rounds + 1):
        if not accountant.affords_another():
            break
        charges.add(round_number)
        accountant.charge()
        request = _request(settings, round_number, optimizer.theta)
        mean_delta = run_round(federation, plan, plan.privacy, request, INTEREST)
        if mean_delta is not None:
            optimizer.step(mean_delta)
        models.append(optimizer.published)
        folder.keep_traffic(federation.traffic.to_map())
        folder.save_checkpoint(optimizer, models)
        folder.report("rounds", round_number, n_rounds, epsilon=_finite(accountant.epsilon))
    if not accountant.rounds:
        raise BudgetError(f"expected max_epsilon to allow one round, got {plan.privacy.max_epsilon}")
    theta = optimizer.published
    risk = train_risk(federation, settings, folder, charges, accountant, theta) if plan.risk else None
    offer(federation, settings, theta, accountant.rounds, risk=risk)
    return accountant


def train_risk(
    federation: Federation,
    settings: RunSettings,
    folder: ServerFolder,
    charges: Charges,
    accountant: RoundAccountant,
    theta: Floats,
) -> Floats:
    """phi's weights (R,), learned on top of p in rounds that are numbered after p's."""
    plan = settings.plan
    assert plan.risk is not None
    if settings.public_rows is None:
        raise ConfigError("expected server.public-rows, a file of public lapse rows, for a plan that learns phi")
    privacy = plan.risk.privacy
    # Weights that public people taught read public people as the trained ones read the devices' users.
    start = RiskStart.learn(settings.public_rows, plan, settings.theta if settings.warm else theta)
    optimizer = ServerOptimizer(start.coefficients, settings.risk_server)
    models = folder.load_checkpoint(optimizer, RISK_FILE) or [start.weights(optimizer.published)]
    for i in range(accountant.also[0][1] + 1, privacy.rounds + 1):
        charges.add(plan.privacy.rounds + i)
        accountant.charge(part=1)
        request = {
            **_request(settings, plan.privacy.rounds + i, theta),
            "basis": pack_floats(start.basis),
            "coefficients": pack_floats(optimizer.theta.astype(np.float32)),
        }
        mean_delta = run_round(federation, plan, privacy, request, RISK)
        if mean_delta is not None:
            optimizer.step(start.newton @ mean_delta)
        models.append(start.weights(optimizer.published))
        folder.keep_traffic(federation.traffic.to_map())
        folder.save_checkpoint(optimizer, models, RISK_FILE)
        folder.report("risk_rounds", i, privacy.rounds, epsilon=_finite(accountant.epsilon))
    return models[-1]


def _request(settings: RunSettings, round_number: int, theta: NDArray[np.floating]) -> dict[str, Any]:
    """What every request for an update says."""
    return {
        "step": settings.schedule.train_step,
        "round": round_number,
        "plan_sha256": settings.plan.sha256,
        "theta": pack_floats(theta.astype(np.float32)),
    }


def run_round(
    federation: Federation, plan: Plan, privacy: PrivacyPlan, request: dict[str, Any], part: UpdateKind
) -> Doubles | None:
    """The mean update of one round that is charged already, float64 (part's length,); None if its sum may not be
    opened."""
    cohort = federation.sample(privacy.sampling_rate)
    if len(cohort) < privacy.min_survivors:
        federation.traffic.dropped["round_small_cohort"] += 1
        return None
    total, survivors = federation.collect(cohort, plan, request, part)
    return open_sum(total, survivors, privacy, federation.traffic)


def offer(
    federation: Federation,
    settings: RunSettings,
    theta: Floats,
    round_number: int,
    *,
    with_file: bool = False,
    risk: Floats | None = None,
) -> None:
    """Give every device the plan, weights and, the first time, the model file."""
    federation.offer(
        {
            "step": settings.schedule.train_step,
            "round": round_number,
            "plan": settings.plan.canonical,
            "model": settings.model if with_file else b"",
            "theta": pack_floats(theta),
            "risk": b"" if risk is None else pack_floats(risk),
        }
    )


def _finite(value: float) -> float | None:
    """JSON knows no infinity."""
    return value if math.isfinite(value) else None
