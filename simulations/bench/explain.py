"""What one explanation of an alert costs: Shapley values, reasons and the replayed counterfactual, through TFLite."""

from __future__ import annotations

import time

import numpy as np

from client.explain import explain
from client.risk import Direction
from client.runtime import PINNED_SHA256, Model, pinned_model
from client.scorer import Scorer
from client.watch import Watch, past_steps
from shared.features import History, extract

from ..config import PLANTED_PROTOCOL, load_scenario, step_of
from ..counted import history_of
from ..planted import plant
from .figures import Figure

CALLS = 20


def explain_figures(repeats: int) -> list[Figure]:
    """The mean of some calls on one device of 12 categories after half a year, `repeats` times over, and what the
    reasons would cost without the replay. The CUSUM is replayed as far back as a device ever does."""
    people, protocol = plant(1, PLANTED_PROTOCOL.n_steps, seed=1), PLANTED_PROTOCOL
    scenario = load_scenario("demo", ["detection.detector=cusum", "detection.season_steps=7"])
    plan = scenario.plan(protocol, people.catalogue, 300, bytes.fromhex(PINNED_SHA256))
    everybody = history_of(people)
    history = History(everybody.active[0], everybody.count[0], everybody.amount[0])
    scorer = Scorer(Model(pinned_model()), plan.network.initial_theta(0))
    step = protocol.n_steps - 1
    step -= (step + 1) % 7  # the marks are then 14 steps and six more behind
    steps = np.arange(step + 1 - past_steps(plan), step + 1)
    p = scorer.score(extract(history, plan.features, steps))
    watch = Watch.start(plan, p, step)
    bare = Watch.start(plan, p[:0], step)
    category, no_risk, unit = int(history.count.sum(axis=-1).argmax()), np.empty(0, np.float32), step_of(scenario)

    def milliseconds(watch: Watch) -> list[float]:
        out = []
        for _ in range(repeats):
            began_s = time.perf_counter()
            for _ in range(CALLS):
                explain(plan, scorer, no_risk, history, watch, category, step, Direction.FALL, unit)
            out.append((time.perf_counter() - began_s) / CALLS * 1e3)
        return out

    milliseconds(watch)
    what = "one explanation of an alert, 12 categories, 26 weeks, TFLite"
    return [
        Figure.of("explain.ms", what, milliseconds(watch), "ms", at_most=5.0),
        Figure.of("explain.reasons_ms", "  its reasons alone", milliseconds(bare), "ms"),
    ]
