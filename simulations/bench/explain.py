"""What one explanation of an alert costs: Shapley values, reasons and the replayed counterfactual, through TFLite; under phi on top of
p, and under both heads with features of version 2."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from client.detection.chances import Chances, Weights, chances_of, recent_rows
from client.detection.explain import Explanation, explain
from client.detection.risk_levels import Direction
from client.detection.watch import Watch, observed, past_steps
from client.model.installed import Installed
from client.model.runtime import Model, pinned_model
from client.model.scorer import Scorer
from shared.events import Step
from shared.features import History, extract, seen

from ..attacks.hostile_behaviour import START, World
from ..people.setup import Crowd, Setup
from ..people.teaching import planted_history
from .federation import bench_scenario
from .measurements import Measurement
from .warning import CATALOGUE, CATEGORIES, warned_plan

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
        _under_heads(repeats),
    ]


def _under_heads(repeats: int) -> Measurement:
    """The same under heads that nobody taught, whose chances differ all the same: the first alerts of devices of 30 categories."""
    plan, start = warned_plan(heads=True)
    assert start is not None and plan.heads is not None
    setup = Setup.of(bench_scenario(10_000, 1), Crowd(10_000, CATALOGUE))
    everybody = planted_history(setup.protocol, Step.WEEK, CATEGORIES, repeats, 0, with_kinds=True)
    weights = np.random.default_rng(0).normal(0, 0.3, start.weights.shape).astype(np.float32)
    model = Installed(plan, pinned_model(plan.features.version), plan.network.initial_theta(0), NO_RISK, 0)
    model = model.with_heads(start.to_bytes(), np.zeros(CATEGORIES, np.float32), weights)
    read = Weights(model.theta, model.risk, model.heads)
    times = []
    for alert in (_first_alert(model, read, everybody[k]) for k in range(repeats)):
        at = alert.category, alert.step, alert.direction, Step.WEEK
        explain(plan, read, model.score, alert.history, alert.watch, *at)
        began_s = time.perf_counter()
        for _ in range(CALLS):
            explain(plan, read, model.score, alert.history, alert.watch, *at)
        times.append((time.perf_counter() - began_s) / CALLS * 1e3)
    return Measurement.of(
        "explain.heads_ms",
        f"  under heads, version 2, {repeats} devices of {CATEGORIES} categories",
        times,
        "ms",
        at_most=5.0,
    )


def _first_alert(model: Installed, weights: Weights, history: History) -> Raised:
    """The first alert of one device after its watch began, with all its marks, at twice the features' window."""
    plan, begun = model.plan, 2 * model.plan.features.window_steps

    def read(step: int) -> Chances:
        return chances_of(plan, weights, model.score, *recent_rows(history.until(step), plan, step))

    past = np.stack([read(step).p for step in range(begun - past_steps(plan), begun)])
    watch = Watch.start(plan, past, begun - 1)
    for step in range(begun, history.n_steps):
        known = history.until(step)
        if (fired := watch.see(plan, known, step, read(step)).fired).any():
            direction, category = np.argwhere(fired)[0].tolist()
            return Raised(known, watch, category, step, Direction(direction))
    raise AssertionError("expected an alert of untaught heads in every planted life")


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
