"""How a run's alerts did: against other detectors on the same p, within the budget or not, and at louder and quieter settings.

What counts as a turn is planted, where people are planted, and otherwise what happened next (`ground_truth`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from client.detection.policy import Intervention, Segment
from client.detection.risk_levels import Direction
from shared.arrays import Bools, Ints, as_declared
from shared.features import History, seen
from shared.plan import Detection, Plan

from ..baselines.counter_rules import silence
from ..federation.alert_table import Alerts, ShownAlerts
from ..people.population import Population
from ..people.setup import Setup
from ..scenarios.config import ProtocolSection
from .ground_truth import Turns, in_time, judge, lapse_mask, planted_turns, takeoff_mask, watched
from .replay import SETTINGS, Scores, alerts_of, tried, with_setting
from .result_tables import (
    AlertQuality,
    AlertsByStep,
    BudgetQuality,
    CurvePoint,
    DetectorCurve,
    DetectorCurves,
    DirectionQuality,
    InterventionCount,
)

DETECTOR_NAMES: Final[Mapping[str, str]] = {
    "rate": "change rate (the article's)",
    "level": "level of p, fixed line",
    "own_level": "level of p against one's own",
    "cusum": "lasting shift of p (CUSUM)",
    "risk": "phi reaches a line",
    "slow_average": "slow average of activity (a rule)",
}
#: Louder and quieter settings are run on at most so many users, drawn by a fixed seed.
CURVE_USERS: Final = 1000


def turns_of(population: Population, history: History, setup: Setup, direction: Direction) -> tuple[Turns, Turns]:
    """(turns that count for recall, turns that make an alert true) in the protocol's alert steps."""
    protocol, min_active = setup.protocol, setup.plan.detection.min_active_steps
    if population.truth is not None:
        first, last = protocol.alert_steps
        return (
            planted_turns(population.truth, direction, (first, last)),
            planted_turns(population.truth, direction, (0, population.n_steps + last)),
        )
    steps = alert_steps(protocol)
    if direction is Direction.FALL:
        mask = lapse_mask(history, steps, protocol, min_active)
    else:
        mask = takeoff_mask(history, steps, protocol)
    turns = Turns.of_runs(mask, steps)
    return turns, turns


def intervention_counts(alerts: ShownAlerts, steps: tuple[int, int]) -> list[InterventionCount]:
    """How many alerts of steps first..last the policy table answered with each intervention, by direction and by the
    segment of the user."""
    shown = {direction: alerts.of(direction, steps) for direction in Direction}
    rows = []
    for one in Intervention:
        named = {direction: these.where(these.intervention == one) for direction, these in shown.items()}
        by_way = {direction.name.lower(): len(these) for direction, these in named.items()}
        by_segment = {
            f"segment_{segment.name.lower()}": int(sum((these.segment == segment).sum() for these in named.values()))
            for segment in Segment
        }
        rows.append(InterventionCount(intervention=one.name.lower(), **by_way, **by_segment))
    return rows


def alert_steps(protocol: ProtocolSection) -> Ints:
    """The steps that alerts are judged on: (S,)."""
    return np.arange(protocol.alert_steps[0], protocol.alert_steps[1] + 1)


def lived_steps(protocol: ProtocolSection) -> Ints:
    """The steps that devices watch with the trained model, up to the last that alerts are judged on: (S,)."""
    return np.arange(protocol.train_at + 1, protocol.alert_steps[1] + 1)


def alert_quality(
    population: Population,
    history: History,
    setup: Setup,
    scores: Scores,
    alerts: ShownAlerts,
    shown_to_all: ShownAlerts,
) -> AlertQuality:
    """The devices' alerts, and as baselines the other detectors on the same p and rules of counters, per direction; who
    went over the budget; and what every detector would have done at other settings. `scores` are what the devices
    computed at the `lived_steps`. What is a count of alerts by step or intervention is one of those `shown_to_all` devices."""
    protocol, plan = setup.protocol, setup.plan
    steps, settings, n_users = alert_steps(protocol), plan.detection, population.n_users
    rules = rule_alerts(history, setup, scores)
    mine: list[Alerts] = []
    false: dict[str, list[Alerts]] = {}
    judged: dict[Direction, DirectionQuality] = {}
    by_step: dict[Direction, list[int]] = {}
    sought = {d: turns_of(population, history, setup, d) for d in Direction}
    for direction, (turns, truths) in sought.items():
        ours = alerts.of(direction, protocol.alert_steps)
        mine.append(ours.where(~in_time(ours, truths)))
        baselines = {}
        for rule, by in rules.items():
            if (raised := by[direction]) is not None:
                baselines[rule] = judge(raised, turns, n_users, truths=truths)
                false.setdefault(rule, []).append(raised.where(~in_time(raised, truths)))
        judged[direction] = DirectionQuality(**vars(judge(ours, turns, n_users, truths=truths)), beside=baselines)
        everybodys = shown_to_all.of(direction, protocol.alert_steps).step
        by_step[direction] = np.bincount(everybodys - steps[0], minlength=len(steps)).tolist()
    return AlertQuality(
        detector=DETECTOR_NAMES[settings.detector],
        steps=len(steps),
        first_step=int(steps[0]),
        by_step=AlertsByStep(fall=by_step[Direction.FALL], rise=by_step[Direction.RISE]),
        fall=judged[Direction.FALL],
        rise=judged[Direction.RISE],
        interventions=intervention_counts(shown_to_all, protocol.alert_steps),
        budget=BudgetQuality(
            false_alerts=settings.false_alerts,
            steps=settings.budget_steps,
            over=over_budget(mine, n_users, settings),
            beside={rule: over_budget(found, n_users, settings) for rule, found in false.items()},
        )
        if settings.false_alerts
        else None,
        curves=curves(plan, scores, steps, *sought[Direction.FALL]),
    )


def rule_alerts(history: History, setup: Setup, scores: Scores) -> dict[str, dict[Direction, Alerts | None]]:
    """What each rule calls in the alert steps, per direction (None: it cannot): the other detectors, run as a device runs
    them, and rules that look at the counters alone."""
    protocol, plan, steps = setup.protocol, setup.plan, alert_steps(setup.protocol)
    fired: dict[str, dict[Direction, Bools]] = {}
    for kind, name in DETECTOR_NAMES.items():
        if kind != plan.detection.detector and scores.allow(plan.detection, kind):
            raised = alerts_of(plan, replace(plan.detection, detector=kind), scores)[:, -len(steps) :]
            fired[name] = {d: raised[:, :, d] for d in Direction}
    watching = watched(history, steps, protocol, plan.detection.min_active_steps)
    silent_steps = max(1, protocol.lapse_steps // 2)
    silent = silence(history, steps) >= silent_steps
    known = seen(history, steps)
    fired[f"silence of {silent_steps} steps"] = {Direction.FALL: silent & watching}
    fired["always"] = {Direction.FALL: watching, Direction.RISE: known & ~watching}
    fired["never"] = {d: np.zeros_like(known) for d in Direction}
    return {
        name: {d: Alerts.of_mask(by[d], steps, d, plan.detection.quiet_steps) if d in by else None for d in Direction}
        for name, by in fired.items()
    }


def over_budget(false: list[Alerts], n_users: int, settings: Detection) -> float:
    """The share of users who had more than the plan's `false_alerts` false alerts (falls and rises together) within any
    `budget_steps` steps."""
    user, step = (np.concatenate([getattr(part, key) for part in false]) for key in ("user", "step"))
    order = np.lexsort((step, user))
    user, step, over = user[order], step[order], np.zeros(n_users, bool)
    most = settings.false_alerts
    same = (user[most:] == user[:-most]) & (step[most:] - step[:-most] < settings.budget_steps)
    over[user[most:][same]] = True
    return float(over.mean())


@as_declared
def curves(plan: Plan, scores: Scores, steps: Ints, turns: Turns, truths: Turns) -> DetectorCurves:
    """Falls of every detector at each of its settings, over the alert steps: a curve for each, from the loudest point to the
    quietest; `planned` marks the plan's own setting. On all users, or CURVE_USERS of them."""
    n_users = len(scores.p)
    if n_users > CURVE_USERS:
        chosen = np.sort(np.random.Generator(np.random.Philox(0)).permutation(n_users)[:CURVE_USERS])
        scores = scores.of_users(chosen)
        turns, truths, n_users = turns.of_users(chosen), truths.of_users(chosen), len(chosen)
    drawn = []
    for kind, name in DETECTOR_NAMES.items():
        if not scores.allow(plan.detection, kind):
            continue
        planned, points = float(getattr(plan.detection, SETTINGS[kind][0])), []
        for value in tried(plan.detection, kind):
            raised = alerts_of(plan, with_setting(plan.detection, kind, value), scores)
            falls = raised[:, -len(steps) :, Direction.FALL]
            found = Alerts.of_mask(falls, steps, Direction.FALL, plan.detection.quiet_steps)
            point = judge(found, turns, n_users, truths=truths)
            points.append(CurvePoint(**vars(point), setting=value, planned=value == planned))
        points.sort(key=lambda point: -point.false_per_user)
        drawn.append(DetectorCurve(detector=kind, name=name, key=SETTINGS[kind][0], points=points))
    return DetectorCurves(users=n_users, detectors=drawn)
