"""Users who live one step after the other are shown what arrays of whole histories say: the same alerts, and chances to rounding."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.detection.chances import Weights, chances_of, recent_rows
from client.detection.watch import Watch, past_steps
from shared.events import EventKind
from shared.features import History
from shared.heads import Heads
from shared.network import forward
from shared.plan import DETECTORS, Plan, RiskPlan
from shared.register.rule_plan import RulePlan
from simulations.federation.hosted.living import (
    back_by_arrays,
    back_one_after_the_other,
    by_arrays,
    close_steps,
    look_back,
    one_after_the_other,
)
from simulations.life.living import can_live, live
from tests.world.basics import FEATURES, N_CATEGORIES, NETWORK, examples, make_plan, version_2
from tests.world.heads import heads_plan, make_start
from tests.world.lively import lively, make_lively

USERS, TAUGHT = 6, np.array([-1.5, -0.8, 0.2, 0.4, 0.3, 0.2], np.float32)
PRIVACY = make_plan().privacy
EAGER: dict[str, Any] = {
    "min_active_steps": 1,
    "false_alerts": 2,
    "budget_steps": 20,
    "warm_steps": 8,
    "risk_line": 0.2,
}


def plan_of(detector: str, learns: str) -> Plan:
    """A plan whose detector speaks soon, of people of whom it learns phi, heads, nothing of lapses, or p of version 2, of all
    that they do or where purchases alone are interest."""
    detection = {**EAGER, "detector": detector, "season_steps": 7 if detector == "cusum" else 1}
    detection |= {"fall_level": 0.45, "rise_level": 0.5, "rate_threshold": 0.05, "fall_margin": 0.3, "rise_margin": 0.3}
    if learns == "heads":
        return heads_plan(detection={**detection, "takeoff_line": 0.4})
    risk = RiskPlan(8, 10, 3, PRIVACY) if learns == "phi" else None
    features = {"version 2": FEATURES, "purchases": replace(FEATURES, interest=(EventKind.PURCHASE,))}
    return make_plan(detection=detection, risk=risk, **(version_2(features[learns]) if learns in features else {}))


def weights_of(plan: Plan, seed: int) -> Weights:
    theta = plan.network.initial_theta(seed)
    if plan.heads is None:
        return Weights(theta, TAUGHT if plan.risk else np.zeros(0, np.float32))
    start = make_start(NETWORK, seed)
    return Weights(theta, np.zeros(0, np.float32), Heads(start, np.linspace(-1, 1, N_CATEGORIES), start.weights))


def watch_of(history: History, plan: Plan, weights: Weights, step: int) -> Watch:
    """As a host starts it when a model arrives at the close of a step."""
    past = range(max(0, step + 1 - past_steps(plan)), step + 1)
    p = back_by_arrays(history, plan, weights.theta, past)
    return Watch.start(plan, p, step)


def compare(history: History, plan: Plan, weights: Weights, arrived: int) -> list[np.ndarray]:
    """Both ways through all steps from a model's arrival on, which are held against each other; the alerts."""
    watch, steps = watch_of(history, plan, weights, arrived), range(arrived + 1, history.n_steps)
    other, found = watch.copy(), []
    ways = by_arrays(history, plan, weights, watch, steps), one_after_the_other(history, plan, weights, other, steps)
    for (step, p, shown), (step_too, p_too, shown_too) in zip(*ways, strict=True):
        assert step == step_too
        np.testing.assert_allclose(p_too, p, rtol=0, atol=1e-6)
        for name, column in vars(shown).items():
            np.testing.assert_array_equal(getattr(shown_too, name), column, err_msg=name)
        found.append(np.stack([shown.user, shown.step, shown.direction], axis=1))
    kept, kept_too = watch.arrays(), other.arrays()
    for name in ("quiet_until", "spent", "risen", "last_step", "began"):
        np.testing.assert_array_equal(kept_too[name], kept[name], err_msg=name)
    np.testing.assert_allclose(kept_too["memory"], kept["memory"], rtol=0, atol=1e-3)
    return found


LEARNS = ("nothing", "phi", "heads", "version 2", "purchases")
#: Those under which users live one step after the other.
LIVED = [name for name in DETECTORS if name != "slow_average"]


@pytest.mark.parametrize("learns", LEARNS)
@examples(40, derandomize=True)
@given(st.data())
def test_the_same_alerts_are_shown(learns, data):
    plan = plan_of(data.draw(st.sampled_from(LIVED)), learns)
    history = data.draw(lively(USERS, N_CATEGORIES, most_steps=40))
    arrived = data.draw(st.integers(0, history.n_steps - 1))
    compare(history, plan, weights_of(plan, data.draw(st.integers(0, 99))), arrived)


@pytest.mark.parametrize("detector", LIVED)
def test_every_detector_has_something_to_show(detector):
    """So that the property above speaks of something."""
    history = make_lively(5, (40, N_CATEGORIES, 70), 0.15)
    plans = [plan_of(detector, learns) for learns in LEARNS]
    found = np.concatenate([told for plan in plans for told in compare(history, plan, weights_of(plan, 3), 30)])
    assert set(found[:, 2].tolist()) == {0, 1}, "falls and rises"
    assert len(set(found[:, 1].tolist())) > 10, "at many steps"


def test_who_lives_in_one_piece_and_who_in_several_see_the_same():
    """A host closes steps whenever it is asked, not all at once."""
    history, plan = make_lively(8, (20, N_CATEGORIES, 60), 0.3), plan_of("risk", "phi")
    weights = weights_of(plan, 1)
    whole, parts = (watch_of(history, plan, weights, 20) for _ in range(2))
    at_once = live(history, plan, weights, whole, range(21, 60))
    first = live(history.until(37), plan, weights, parts, range(21, 38))
    rest = live(history, plan, weights, parts, range(38, 60))
    for name, column in vars(at_once).items():
        np.testing.assert_allclose(np.concatenate([getattr(first, name), getattr(rest, name)]), column, atol=1e-6)
    assert len(first.user) and len(rest.user)
    for name, column in whole.arrays().items():
        np.testing.assert_allclose(parts.arrays()[name], column, atol=1e-6, err_msg=name)


def test_phi_is_what_arrays_say_of_it():
    history, plan = make_lively(8, (20, N_CATEGORIES, 60), 0.3), plan_of("risk", "phi")
    weights = weights_of(plan, 1)
    lived = live(history, plan, weights, watch_of(history, plan, weights, 20), range(21, 60))
    for at, step in enumerate(range(21, 60)):
        x, known = recent_rows(history.until(step), plan, step)
        said = chances_of(plan, weights, lambda theta, rows: forward(plan.network, theta, rows), x, known)
        np.testing.assert_allclose(lived.lapse[at], said.lapse, rtol=0, atol=1e-6)
        np.testing.assert_allclose(lived.p[at], said.p, rtol=0, atol=1e-6)


@pytest.mark.parametrize("learns", LEARNS)
def test_a_model_that_arrives_looks_back_at_the_same(learns):
    history, n_seen = make_lively(7, (20, N_CATEGORIES, 50), 0.2), []
    for detector in ("cusum", "level"):
        plan = plan_of(detector, learns)
        theta, steps = weights_of(plan, 2).theta, range(15, 48)
        by_all = back_by_arrays(history, plan, theta, steps)
        np.testing.assert_allclose(back_one_after_the_other(history, plan, theta, steps), by_all, rtol=0, atol=1e-6)
        assert look_back(history, plan, theta, steps).shape == by_all.shape == (20, 33, N_CATEGORIES)
        n_seen.append(int((~np.isnan(by_all)).sum()))
    assert n_seen[0] > 0
    assert n_seen[0] < n_seen[1] or learns == "purchases", (
        "bursts hold some, though none of views where these are no interest"
    )


def test_no_step_is_nobodys_matter():
    history, plan = make_lively(2, (3, N_CATEGORIES, 9), 0.3), plan_of("level", "nothing")
    weights = weights_of(plan, 1)
    assert compare(history, plan, weights, 8) == []


def test_a_rule_that_reads_counters_is_asked_by_arrays():
    risk = plan_of("risk", "nothing")
    rule = RulePlan(fall_slope=1.0, fall_intercept=0.0, rise_slope=1.0, rise_intercept=0.0)
    ruled = replace(risk, detection=replace(risk.detection, detector="slow_average"), rule=rule)
    assert can_live(risk) and not can_live(ruled)
    history, weights = make_lively(5, (20, N_CATEGORIES, 40), 0.15), weights_of(ruled, 3)
    watch, other = (watch_of(history, ruled, weights, 20) for _ in range(2))
    closed = list(close_steps(history, ruled, weights, watch, range(21, 40)))
    for (_, _, shown), (_, _, again) in zip(
        closed, by_arrays(history, ruled, weights, other, range(21, 40)), strict=True
    ):
        np.testing.assert_array_equal(shown.user, again.user)
    assert sum(len(shown) for _, _, shown in closed)


def test_without_numba_steps_are_closed_by_arrays():
    code = """
import sys
sys.modules["numba"] = None
from simulations.federation.hosted import living
from simulations.life.compiled import IS_COMPILED
from tests.simulations.life.test_living import plan_of
assert not IS_COMPILED
assert living.close_steps(None, plan_of("risk", "phi"), None, None, range(0)).gi_code is living.by_arrays.__code__
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
