"""A rule of counters as a detector: its scores, its chances, a plan with it, and that phones and hosts read the same."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.detection.chances import Chances, as_ruled
from shared import slow_average
from shared.errors import ConfigError
from shared.features import quiet, seen
from shared.features.windows import ewma
from shared.plan import Plan
from shared.register.rule_plan import RulePlan
from tests.world.basics import FEATURES, examples, make_plan, random_history
from tests.world.plan_leaves import changed, leaves, other_than
from tests.world.spellings import value_of

RULE = RulePlan(1.5, -2.0, 1.25, 2.5)
LAST = np.array([3649])
RULED = {"detector": "slow_average", "risk_line": 0.3, "takeoff_line": 0.3}


@examples(40)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 12))
def test_the_average_is_what_features_say_of_it_and_looks_at_no_later_step(seed, n_steps, span):
    random = np.random.default_rng(seed)
    active = random.random((3, n_steps)) < random.random()
    steps = np.arange(n_steps)
    found = slow_average.average(active, steps, span)
    np.testing.assert_allclose(found, ewma(active, steps, span), atol=2e-6)
    at = int(random.integers(n_steps))
    alone = slow_average.average(active[:, : at + 1], np.array([at]), span)[:, 0]
    np.testing.assert_allclose(alone, found[:, at], rtol=0, atol=1e-12)


def test_a_step_costs_the_same_after_ten_years_and_says_the_same():
    active = np.random.default_rng(0).random((4, 3650)) < 0.4
    level = np.zeros(4)
    for now in active.T:
        level += 2 / 57 * (now - level)
    np.testing.assert_allclose(slow_average.average(active, LAST, 56)[:, 0], level, atol=1e-12)
    late = active.copy()
    late[:, : 3649 - slow_average.SPANS * 56] = True
    np.testing.assert_array_equal(slow_average.average(late, LAST, 56), slow_average.average(active, LAST, 56))


@examples(30)
@given(st.integers(0, 2**32))
def test_a_chance_is_where_it_can_be_asked_for_and_rises_as_the_rule_s_score_does(seed):
    random = np.random.default_rng(seed)
    history, steps = random_history(random, (3, 4, 50), random.uniform(0.02, 0.5)), np.arange(10, 50)
    lapse, takeoff = slow_average.chances(RULE, FEATURES, history, steps)
    assert lapse.dtype == takeoff.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(lapse), ~seen(history, steps))
    np.testing.assert_array_equal(np.isnan(takeoff), ~quiet(history, steps, FEATURES.window_steps))
    known = lapse[~np.isnan(lapse)]
    assert ((known > 0) & (known < 1)).all()
    level = np.moveaxis(slow_average.average(history.active, steps, 24), -1, -2)[~np.isnan(lapse)]
    order = np.argsort(level, kind="stable")
    assert (np.diff(known[order]) <= 1e-6).all(), "the lower the average, the likelier a lapse"


@examples(20)
@given(st.integers(0, 2**32))
def test_a_device_reads_what_its_row_of_a_host_reads(seed):
    plan = make_plan(detection=RULED, rule=RULE)
    history = random_history(np.random.default_rng(seed), (5, 4, 60), 0.2)
    p = np.full((5, 4), 0.5, np.float32)
    together = as_ruled(plan, Chances.of_p(p), history)
    for k in range(5):
        alone = as_ruled(plan, Chances.of_p(p[k]), history[k])
        for one, row in zip(alone, together, strict=True):
            assert one.tobytes() == np.ascontiguousarray(row[k]).tobytes()
    other = make_plan(detection={"detector": "risk"}, rule=RULE)
    assert np.isnan(as_ruled(other, Chances.of_p(p), history).lapse).all(), "only where it is the detector"


def test_a_plan_with_the_rule_as_detector_carries_its_chances_and_changes_with_each_number():
    plan = make_plan(detection=RULED, rule=RULE)
    assert Plan.from_bytes(plan.canonical) == plan and plan.updates == make_plan().updates, "it costs no epsilon"
    assert "rule" not in value_of(make_plan().canonical)
    for path, value in leaves(plan):
        if path[0] == "rule":
            again = changed(plan, path, other_than(path, value))
            assert again.sha256 != plan.sha256 and Plan.from_bytes(again.canonical) == again
    with pytest.raises(ConfigError, match="a rule for slow_average"):
        dataclasses.replace(plan, rule=None)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"fall_slope": 0.0}, "fall_slope > 0"),
        ({"rise_slope": -1.0}, "rise_slope > 0"),
        ({"fall_intercept": math.nan}, "fall_intercept in"),
        ({"rise_intercept": math.inf}, "rise_intercept in"),
        ({"fall_slope": 101.0}, "fall_slope in"),
    ],
)
def test_coefficients_that_make_no_chance_are_refused(wrong, said):
    with pytest.raises(ConfigError, match=said):
        RulePlan(**wrong)
