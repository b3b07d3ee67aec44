"""What the server asks of every device once training is over: alerts, randomised bits and sums, step by step; and which
alerts it believes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.clock import Clock
from shared.register.bounds import KEEP_ALERTS_STEPS

from .bits import BitInbox
from .federation import Federation
from .inbox import Inbox
from .insights.sum_queries import SumQueries
from .run_log.log import RunLog
from .settings import RunSettings
from .state import ServerFolder


def ask_for_alerts(
    federation: Federation,
    settings: RunSettings,
    folder: ServerFolder,
    inbox: Inbox,
    clock: Clock,
    log: RunLog | None = None,
) -> None:
    """Query every device at every scheduled step; what identified devices tell goes to the inbox, and so do randomised
    bits; these, and sums, are asked for at the steps at which they are due."""
    schedule, bits = settings.schedule, BitInbox(folder.inbox_file)
    sums = SumQueries.of(federation, settings, folder, log)
    steps = sorted({*schedule.query_steps, *schedule.bit_steps, *sums.steps})
    for i, step in enumerate(steps, start=1):
        schedule.wait_for(step, clock)
        if step in schedule.query_steps:
            inbox.add_all(_believed(federation, settings, step))
        if schedule.bits and step in schedule.bit_steps:
            asked = {"audience": settings.audience, "step": step, **vars(schedule.bits)}
            answers = federation.ask("bits_query", asked)
            bits.add_all(step, schedule.bits.epsilon_micro, ((device, reply["bit"]) for device, reply in answers))
        sums.ask(step)
        folder.keep_traffic(federation.traffic.to_map())
        folder.report("queries", i, len(steps))


def _believed(federation: Federation, settings: RunSettings, step: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """(device, alerts) of every device that is asked for alerts at a step and tells what it can have seen."""
    for device, reply in federation.ask("alerts_query", {"audience": settings.audience, "step": step}):
        if are_possible(reply["alerts"], step, settings):
            yield device, reply["alerts"]
        else:
            federation.traffic.dropped["alert_fields"] += 1


def are_possible(alerts: Sequence[Mapping[str, int]], step: int, settings: RunSettings) -> bool:
    """Whether a device as shipped can have told these alerts when it was asked at a step: of categories of the catalogue, at
    steps up to the one that was asked for and no older than devices keep, of models that this plan can have, and none twice.
    That is all that a device under this plan takes for a query (`client/detection/alerts.py`).

    How many they are is no rule: a budget of alerts is kept across plans, and what an earlier plan allowed may still have to
    be told (`client/detection/alert_budget.py`).
    """
    turns = {(alert["direction"], alert["category"], alert["step"]) for alert in alerts}
    return len(turns) == len(alerts) and all(
        alert["category"] < settings.n_categories
        and step - KEEP_ALERTS_STEPS < alert["step"] <= step
        and alert["model_round"] <= settings.plan.privacy.rounds
        for alert in alerts
    )
