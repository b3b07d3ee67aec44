"""Alerts on the device: what the app is told of a turn, and which query has taken each.

An alert carries the user's segment at that moment and the intervention that the app's policy chose (`client/detection/policy.py`).
Both are for the app alone: no message has a field for either.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.features import History
from shared.plan import Plan
from shared.register.bounds import KEEP_ALERTS_STEPS, MAX_ALERTS

from .policy import Intervention, Policy, Segment, segments
from .risk_levels import Direction, RiskLevel
from .watch import NOT_KNOWN, Raised

#: In place of the step of the query that took an alert: none did; an earlier one did, and nobody is told again.
NOT_TAKEN, SENT = -1, -2


@dataclass(frozen=True)
class Alert:
    """One turn of interest, as the app on the device is told. Hosts keep no `segment` and `intervention`: None there.

    `began`: the step at which the change began that the alert is about, as its detector estimates it; None where it does not, as any
    but the CUSUM. It is for the app alone too, and which alert it is does not hang on it.
    """

    direction: Direction
    category: int
    level: RiskLevel
    step: int
    model_round: int
    segment: Segment | None = None
    intervention: Intervention | None = None
    began: int | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        return "Alert(<raw>)"


#: Alerts, the oldest first, each with the step of the query that took it.
AlertLog = list[tuple[Alert, int]]


def raised_alerts(
    raised: Raised,
    history: History,
    plan: Plan,
    policy: Policy,
    model_round: int,
) -> list[Alert]:
    """The alerts of one device that were `raised`, (2, C), at the close of the history's last step."""
    if not raised.fired.any():
        return []
    segment = int(segments(history, plan.features.window_steps))
    at = np.nonzero(raised.fired)
    return [
        Alert(
            Direction(d),
            c,
            RiskLevel(level),
            history.n_steps - 1,
            model_round,
            Segment(segment),
            Intervention(int(policy.choose(segment, d, level))),
            began if began != NOT_KNOWN else None,
        )
        for d, c, level, began in zip(
            *(one.tolist() for one in (*at, raised.levels[at], raised.began[at])), strict=True
        )
    ]


def with_raised(alerts: AlertLog, raised: list[Alert], step: int) -> AlertLog:
    """What a device keeps once `raised` came at `step`: the same list if nothing changes."""
    here = [(alert, taken) for alert, taken in alerts if alert.step > step - KEEP_ALERTS_STEPS]
    if not raised and len(here) == len(alerts):
        return alerts
    return [*here, *((alert, NOT_TAKEN) for alert in raised)][-MAX_ALERTS:]


def mark_sent(alerts: AlertLog, step: int, rounds: int) -> AlertLog:
    """The alerts once the query of `step` has come, under a plan of so many rounds: it takes what none took, of steps up to
    its own and of models that this plan can have; what earlier ones took is old."""
    return [(alert, _taken(alert, taken, step, rounds)) for alert, taken in alerts]


def _taken(alert: Alert, taken: int, step: int, rounds: int) -> int:
    """The query that has taken an alert once that of `step` has come, if `taken` was so before."""
    if taken != NOT_TAKEN:
        return taken if taken >= step else SENT
    due = step - KEEP_ALERTS_STEPS < alert.step <= step and alert.model_round <= rounds
    return step if due else NOT_TAKEN


def alert_fields(step: int, alerts: list[Alert]) -> dict[str, Any]:
    """The fields of an alerts reply: what consent may let out of alerts, and no more."""
    found = [
        {
            "direction": int(alert.direction),
            "category": alert.category,
            "level": int(alert.level),
            "step": alert.step,
            "model_round": alert.model_round,
        }
        for alert in alerts
    ]
    return {"step": step, "alerts": found}
