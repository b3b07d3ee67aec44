"""What one explanation of an alert costs: Shapley values, reasons and the replayed counterfactual, through TFLite."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from client.detection.chances import Chances, Weights
from client.detection.explain import Explanation, explain
from client.detection.risk_levels import Direction
from client.detection.watch import Watch, observed
from client.model.runtime import Model, pinned_model
from client.model.scorer import Scorer
from shared.events import Step
from shared.features import History, extract, seen

from ..attacks.hostile_behaviour import START, World
from .measurements import Measurement

CALLS, USERS = 20, 200
NO_RISK = np.empty(0, np.float32)


@dataclass(frozen=True)
class Raised:
    """An alert as a device has it at the close of its step: the history and the watch of then."""

    history: History
    watch: Watch
    category: int
    step: int
    direction: Direction


def explain_numbers(repeats: int) -> list[Measurement]:
    """The first alerts of `repeats` planted devices of 12 categories, each explained some times over when it is raised,
    the mean of each; and what the reasons would cost without the replay, which a watch without marks does not make."""
    world = World.make(USERS, 0)
    scorer = Scorer(Model(pinned_model()), world.theta)
    alerts = list(islice(first_alerts(world, scorer), repeats))
    bare = [replace(alert, watch=replace(alert.watch, marked=np.full_like(alert.watch.marked, -1))) for alert in alerts]

    def milliseconds(alert: Raised) -> float:
        began_s = time.perf_counter()
        for _ in range(CALLS):
            explained(world, scorer, alert)
        return (time.perf_counter() - began_s) / CALLS * 1e3

    milliseconds(alerts[0])
    what = f"one explanation of a raised alert, {len(alerts)} devices of 12 categories, TFLite"
    return [
        Measurement.of("explain.ms", what, [milliseconds(alert) for alert in alerts], "ms", at_most=5.0),
        Measurement.of("explain.reasons_ms", "  its reasons alone", [milliseconds(alert) for alert in bare], "ms"),
    ]


def explained(world: World, scorer: Scorer, alert: Raised) -> Explanation:
    """What the device would tell of it."""
    at = alert.category, alert.step, alert.direction
    weights = Weights(world.theta, NO_RISK)
    return explain(world.plan, weights, lambda _, x: scorer.score(x), alert.history, alert.watch, *at, Step.DAY)


def first_alerts(world: World, scorer: Scorer) -> Iterator[Raised]:
    """The first alert after `START` of each user who has one, as a device of its own raises it."""
    plan, everybody = world.plan, world.history
    for k in range(len(everybody.active)):
        history = everybody[k]
        steps = world.steps
        p = np.where(seen(history, steps), scorer.score(extract(history, plan.features, steps)), np.float32(np.nan))
        n = START + 1 - int(steps[0])
        watch = Watch.start(plan, observed(plan, history, steps[:n], p[:n]), START)
        for step, now in zip(steps[n:].tolist(), p[n:], strict=True):
            raised = watch.see(plan, history.until(step), step, Chances.of_p(now)).fired
            if raised.any():
                direction, category = np.argwhere(raised)[0].tolist()
                yield Raised(history.until(step), watch, category, step, Direction(direction))
                break
