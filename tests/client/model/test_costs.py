"""No plan that a device takes makes one request cost more than is stated: rows counted, bytes measured."""

import tracemalloc
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from client.model import costs, updates
from client.model.costs import MOST, MOST_STEPS, Cost, _noise_bytes, cost_of, expect_affordable
from client.model.installed import Installed
from client.model.runtime import Model, open_model, pinned_model
from client.model.training_rows import draw_words, smallest
from client.model.updates import Work
from client.state import DeviceState, parted
from shared import mechanisms
from shared.errors import ConfigError, Refusal, RefusalCode
from shared.features import N_COUNTERS, FeatureSpec, History, Richer
from shared.heads import Heads
from shared.lapse_risk import N_COEFFICIENTS, READINGS
from shared.network import NetworkSpec
from shared.plan import DETECTORS, Plan
from shared.register.heads_plan import HeadPlan, HeadsPlan
from tests.world.basics import NO_RISK, activity_theta, examples, make_plan, make_risk
from tests.world.heads import heads_plan, make_heads, make_start


def refused(plan: Plan, n_categories: int = 4) -> bool:
    try:
        expect_affordable(plan, n_categories)
    except Refusal as refusal:
        assert refusal.code is RefusalCode.COSTLY
        return True
    return False


START = make_start(NetworkSpec(27))


def with_head(rows: int, history_steps: int) -> HeadsPlan:
    head = HeadPlan(rows, 64.0, history_steps, 1.0, 1.0, 0.5)
    return make_heads(START, lapse=head, takeoff=head)


HUGE = 10**6
#: One number too many, each of which alone multiplies something.
TOO_MUCH = {
    "row-steps": {"training": {"local_steps": 1000, "rows": 4096}},
    "history": {"training": {"history_steps": HUGE}},
    "draws": {"training": {"local_steps": 1000, "history_steps": 3000}},
    "window": {"features": FeatureSpec(HUGE)},
    "average": {"features": FeatureSpec(12, ewma_steps=(2, HUGE))},
    "horizon": {"horizon_steps": HUGE},
    "rate": {"detection": {"rate_window_steps": HUGE}},
    "span": {"detection": {"own_span_steps": HUGE}},
    "active": {"detection": {"min_active_steps": HUGE}},
    "phi's history": {"risk": make_risk(history_steps=HUGE)},
    "phi's rate": {"risk": make_risk(rate_steps=HUGE)},
    "heads' history": {"heads": with_head(8, HUGE)},
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_each_number_that_multiplies_has_an_end(what):
    assert refused(make_plan(**TOO_MUCH[what])) and not refused(make_plan(risk=make_risk()))


@pytest.mark.parametrize("what", ["history", "rate", "phi's history"])
def test_the_same_number_of_steps_is_more_for_more_categories(what):
    changes = {
        "history": {"training": {"history_steps": 400}},
        "rate": {"detection": {"rate_window_steps": 400}},
        "phi's history": {"risk": make_risk(history_steps=300)},
    }
    assert not refused(make_plan(**changes[what]), 4) and refused(make_plan(**changes[what]), 512)


class Counted:
    """Counts the rows that a model is given."""

    def __init__(self) -> None:
        self.rows, self._run = 0, Model.run

    def __call__(self, model, signature, **inputs):
        self.rows += len(inputs["rows"].ravel()) if signature == "fit" else len(inputs["x"])
        return self._run(model, signature, **inputs)


def lived(n_categories: int, n_steps: int) -> History:
    active = np.random.default_rng(1).random((n_categories, n_steps)) < 0.5
    kinds = np.broadcast_to(active, (5, *active.shape)).astype(np.uint8)
    return History(active, active * np.float32(1), active * np.float32(9), kinds)


def measured(plan: Plan, history: History) -> Cost:
    """What an offer and a round of each part take on a device with this history: rows through the network, and the most
    bytes that numpy and Python hold at one time beyond what was there before."""
    n_categories, most, rows = history.n_categories, 0, 0
    zero = np.zeros(n_categories, np.float32)
    state = DeviceState(history, *parted(np.zeros((N_COUNTERS, n_categories), np.float32)), None, zero)
    version, coefficients = plan.features.version, np.ones(N_COEFFICIENTS, np.float32)
    theta = activity_theta() if version == 1 else plan.network.initial_theta(1)
    basis = np.ones(len(READINGS) * N_COEFFICIENTS, np.float32)
    installed = Installed(plan, pinned_model(version), theta, NO_RISK, 0)
    work = Work(installed, history, 7, lambda n: bytes(n), {})  # type: ignore[arg-type]
    open_model(pinned_model(version))
    requests = [lambda: state.with_model(installed), lambda: work.update(theta, 1)]
    if plan.risk:
        requests.append(lambda: work.risk_update(theta, basis, coefficients, 1))
    if plan.heads:
        heads = Heads(START, np.zeros(n_categories, np.float32), START.weights)
        with_heads = replace(work, installed=replace(installed, heads=heads))
        at = np.zeros((2, 28, 28), np.float32), np.zeros((2, 28), np.float32)
        requests += [
            with_heads.crowd_share,
            lambda: with_heads.curvature_share(1),
            lambda: with_heads.head_update(*at, 1),
        ]
    for request in requests:
        mechanisms._draw_table.cache_clear()
        counted = Counted()
        with patch.object(Model, "run", lambda model, name, counted=counted, **inputs: counted(model, name, **inputs)):
            tracemalloc.start()
            request()
            most = max(most, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        rows = max(rows, counted.rows)
    return Cost(rows, most)


def version(number: int, window_steps: int) -> dict[str, object]:
    """Features of a version, and their network."""
    more = Richer(5, 0.5, 2.0, 1.0, 3.0) if number == 2 else None
    spec = FeatureSpec(window_steps, more=more)
    return {"features": spec, "network": NetworkSpec(spec.n_features)}


@st.composite
def plans(draw) -> Plan:
    """Plans of all sizes; half of them as large in one number as others leave room for."""
    steps = st.integers(1, 1500)
    try:
        plan = make_plan(
            training={
                "local_steps": draw(st.sampled_from([1, 3, 40, 1000])),
                "rows": draw(st.sampled_from([1, 64, 4096])),
                "history_steps": draw(steps),
                "dropout": draw(st.sampled_from([0.0, 0.5])),
            },
            **version(draw(st.sampled_from([1, 2])), draw(st.integers(9, 1500))),
            privacy={
                "noise_multiplier": draw(st.sampled_from([1.0, 30.0])),
                "steps_per_clip": draw(st.sampled_from([64, 4096, 1 << 19])),
                "population": 1000,
                "min_survivors": 1000,
            },
            detection={"detector": draw(st.sampled_from(DETECTORS)), "rate_window_steps": draw(steps)},
            risk=draw(st.none() | st.builds(make_risk, rows=st.sampled_from([1, 4096]), history_steps=steps)),
        )
        if plan.features.version == 1 and plan.risk is None and draw(st.booleans()):
            head = HeadPlan(draw(st.sampled_from([1, 128, 4096])), 64.0, draw(steps), 1.0, 1.0, 0.5)
            categories = draw(st.sampled_from([4, 300]))
            features = replace(plan.features, more=Richer(5, 0.5, 2.0, 1.0, 3.0))
            heads = make_heads(START, lapse=head, takeoff=head, n_categories=categories, features=features)
            plan = replace(plan, heads=heads)
        return plan
    except ConfigError:
        assume(False)
        raise


@examples(25)
@given(plans(), st.sampled_from([4, 40, 200]), st.sampled_from([60, 1200]))
def test_no_plan_that_is_taken_costs_more_than_it_was_said_to(plan, n_categories, n_steps):
    assume(not refused(plan, n_categories))
    history, said = lived(n_categories, n_steps), cost_of(plan, n_categories)
    own_bytes = (
        (80 if plan.read_features.version == 1 else 240) * n_categories * n_steps
    )  # the sums over its history that a device makes whatever the plan says
    found = measured(plan, history)
    assert found.row_steps <= said.row_steps <= MOST.row_steps
    assert found.size_bytes - own_bytes <= said.size_bytes <= MOST.size_bytes


def test_the_largest_plans_that_are_taken_are_measured_too():
    """Each number as large as it may be, alone."""
    largest = {
        "row-steps": make_plan(training={"local_steps": 1000, "rows": 56, "history_steps": 100}),
        "history": make_plan(training={"history_steps": 700}),
        "draws": make_plan(training={"local_steps": 1000, "rows": 1, "history_steps": 300}),
        "window": make_plan(features=FeatureSpec(700)),
        "window of version 2": make_plan(**version(2, 290)),
        "history of version 2": make_plan(**version(2, 12), training={"history_steps": 290}),
        "rows of heads": heads_plan(heads=with_head(rows=4096, history_steps=100)),
        "history of heads": heads_plan(heads=with_head(rows=128, history_steps=220)),
        "crowd of heads": heads_plan(heads=make_heads(START, n_categories=512)),
        "noise": make_plan(privacy={"steps_per_clip": 22_000}),
    }
    for what, plan in largest.items():
        assert not refused(plan), what
        said, found = cost_of(plan, 4), measured(plan, lived(4, 1500))
        assert found.row_steps <= said.row_steps and found.size_bytes <= said.size_bytes, what


def test_rows_are_drawn_one_step_at_a_time_as_they_were_all_at_once():
    random, same = (updates.generator(1, 2, 3) for _ in range(2))
    all_at_once = smallest(draw_words(50, 7, same), 9)
    np.testing.assert_array_equal(updates.draw(50, 7, 9, random), all_at_once)


def test_numbers_of_steps_are_found_in_every_part_of_a_plan():
    plan = replace(make_plan(risk=make_risk()), horizon_steps=3)
    found = costs._steps_in(plan)
    assert len(found) > 15 and max(found) <= MOST_STEPS and plan.features.window_steps in found


@pytest.mark.parametrize("sigma", [2.0, 100.0, 1000.0, 2.0**14])
def test_a_noise_table_takes_no_more_than_is_counted_while_it_is_made_and_afterwards(sigma):
    mechanisms._draw_table.cache_clear()
    kept, making = _noise_bytes(sigma)
    tracemalloc.start()
    try:
        mechanisms.DiscreteGaussian(sigma)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now <= kept and peak <= making + kept
