"""How good phi is in one run: on the lapse rows of its test steps, beside every rule, and beside pooled models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.features import History
from shared.network import forward
from shared.plan import Plan
from shared.risk import phi, readings

from .baselines import OURS
from .config import ProtocolSection
from .lapse import Score, TurnRows, judged_lapses, with_features
from .quality import tenths
from .rivals import lapse_table, pooled_levels

Floats = NDArray[np.float32]

PHI: Final = "Ebbtide's phi, on the devices"
LEVEL: Final = "level of p, Ebbtide"


def risk_of(history: History, plan: Plan, theta: Floats, weights: Floats, rows: TurnRows) -> tuple[Floats, Floats]:
    """p and phi (n,) of turn rows, by the numpy network: what the devices computed at the close of these steps."""
    assert plan.risk is not None, "a plan that learns phi"
    earlier = replace(rows, step=np.maximum(rows.step - plan.risk.rate_steps, 0))
    x, x_before = (with_features(history, plan.features, these).x for these in (rows, earlier))
    p, p_before = (forward(plan.network, theta, some) for some in (x, x_before))
    return p, phi(weights, readings(plan.features, x, p, p_before))


def lapse_quality(
    history: History,
    protocol: ProtocolSection,
    plan: Plan,
    theta: Floats,
    weights: Floats,
    *,
    with_models: bool,
    seed: int,
) -> dict[str, Any] | None:
    """The lapse table of a run whose final weights are theta (P,) and phi's `weights` (R,; empty: the plan learns none, and
    the level of p alone stands for us); None without a lapse row."""
    rows = judged_lapses(history, protocol, protocol.lapse_test_steps)
    if not rows.y.any() or rows.y.all():
        return None
    ours: dict[str, Score] = {}
    if weights.size:
        p, risk = risk_of(history, plan, theta, weights, rows)
        ours[PHI] = Score(risk.astype(np.float64), OURS, True)
    else:
        p, risk = forward(plan.network, theta, with_features(history, plan.features, rows).x), None
    ours[LEVEL] = Score(-p.astype(np.float64), OURS)
    levels = pooled_levels(history, protocol, plan, seed) if with_models else None
    found = lapse_table(history, protocol, plan, extra=ours, references=[next(iter(ours))], levels=levels, seed=seed)
    early = {row["name"]: row["auc"] for row in found.pop("early")}
    for row in found["table"]:
        row["early_auc"] = early[row["name"]]
    return {**found, "calibration": None if risk is None else tenths(rows.y, risk)}
