"""The false-alarm budget: a bucket that nothing overruns, thresholds that come back to it, and the table behind them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.detection.alert_budget import (
    ETA,
    HIGHEST,
    LEAST,
    LOWEST,
    NEVER,
    PUSH,
    Budget,
    Spending,
    false_alarm_rate,
    from_table,
    most_rises,
    strongest,
)
from client.detection.chances import Chances
from client.detection.cusum import CLIP, DRIFT, MOST, immune_steps
from client.detection.risk_levels import Direction
from client.detection.threshold_table import FALSE_ALERTS, RATE_THRESHOLDS, RATES, STEPS, STREAMS, THRESHOLDS
from client.detection.watch import Watch
from shared.errors import ConfigError
from shared.plan import Detection
from tests.world.basics import examples, make_plan

ALWAYS = np.ones((1, 1), bool)


@examples(60)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 30), st.floats(0.01, 0.6))
def test_no_stretch_of_n_steps_ever_shows_more_than_f_alerts(seed, most, steps, often):
    random = np.random.default_rng(seed)
    budget = Budget(most, steps, 4)
    spending, shown = budget.start((3,)), np.zeros((120, 3, 2), int)
    for step in range(120):
        raised = random.random((3, 2, 4)) < often
        allowed = budget.allow(spending, raised, random.random((3, 2, 4)).astype(np.float32), step)
        assert not (allowed & ~raised).any()
        shown[step] = allowed.sum(axis=2)
        lost = raised.sum(axis=2) > shown[step]
        window = shown[max(0, step - steps + 1) : step + 1].sum(axis=0)
        full = window.sum(axis=1) == most
        assert (window.sum(axis=1) <= most).all() and (window[:, Direction.RISE] <= most_rises(most)).all()
        assert full[lost[:, Direction.FALL]].all(), "a fall is lost only where the bucket is empty"
        half = window[:, Direction.RISE] == most_rises(most)
        assert (full | half)[lost[:, Direction.RISE]].all(), "a rise also where rises hold their half"


@examples(60)
@given(
    st.integers(0, 2**32),
    st.lists(
        st.tuples(st.sampled_from(["go on", "store", "new model"]), st.integers(1, 25)),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 4),
    st.sampled_from(["cusum", "risk", "level", "own_level", "rate"]),
)
def test_the_budget_holds_for_every_detector_through_restores_and_new_models(seed, parts, most, detector):
    """Alerts in any N steps, whatever p does and whatever happened between two steps."""
    steps, random = 20, np.random.default_rng(seed)
    wild = {"rate_threshold": 0.05, "fall_level": 0.4, "rise_level": 0.6, "fall_margin": 0.3, "rise_margin": 0.3}
    settings = {"detector": detector, "false_alerts": most, "budget_steps": steps, "quiet_steps": 0, "warm_steps": 8}
    plan = make_plan(detection={**wild, **settings})
    watch, shown, past = Watch.start(plan, np.full((3, 30, 2), 0.5, np.float32), 29), [], []
    level, step = np.full((3, 2), 0.5), 30
    for what, n_steps in parts:
        if what == "new model":
            watch = watch.restart(plan, random.random((3, 30, 2)).astype(np.float32), step - 1)
        elif what != "go on":
            arrays = {name: array.copy() for name, array in watch.arrays().items()}
            watch = Watch.of(arrays)
        for _ in range(n_steps):
            level = np.where(random.random((3, 2)) < 0.2, random.random((3, 2)), level)
            p = np.clip(level + random.normal(0, 0.03, (3, 2)), 0, 1).astype(np.float32)
            watched, phi = random.random((3, 2)) < 0.5, random.random((3, 2)).astype(np.float32)
            shown.append(watch.judge(plan.detection, step, Chances.of_p(p, phi), watched).sum(axis=-1))
            past.append(p)
            step += 1
        window = np.array(shown)[-steps:].sum(axis=0)
        totals = np.array([np.array(shown)[max(0, i - steps + 1) : i + 1].sum(axis=0) for i in range(len(shown))])
        assert (totals.sum(axis=-1) <= most).all() and (totals[..., Direction.RISE] <= most_rises(most)).all()
        assert (window <= most).all()


def test_falls_go_before_stronger_rises_and_rises_hold_half_the_tokens_at_most():
    budget = Budget(3, 10, 3)
    spending = budget.start(())
    three = np.array([[False, False, True], [True, True, True]])
    strength = np.array([[0, 0, 1], [9, 7, 8]], np.float32)
    assert budget.allow(spending, three, strength, 0).tolist() == [[False, False, True], [True, False, True]]
    spending = budget.start(())
    rises = np.array([[False] * 3, [True] * 3])
    assert budget.allow(spending, rises, strength, 0).sum() == 2
    assert not budget.allow(spending, rises, strength, 5).any(), "the third token is for a fall"
    assert budget.allow(spending, three, strength, 6).tolist() == [[False, False, True], [False] * 3]
    assert not budget.allow(spending, three, strength, 7).any()
    assert budget.allow(spending, rises, strength, 10).sum() == 2
    assert [most_rises(f) for f in (1, 2, 3, 4, 5, 100)] == [1, 1, 2, 2, 3, 50]


def test_rises_push_the_threshold_of_falls_up_by_little_and_falls_push_both():
    budget = Budget(3, 182, 10)
    start, judged = budget.start_threshold, np.zeros(2, int)
    spending = budget.start((2,))
    for _ in range(2):
        budget.own.adapt(spending.moved, np.array([[0, 1], [1, 0]]), judged)
    falls, rises = budget.own.now(spending.moved) - start
    np.testing.assert_allclose(falls, [PUSH, 2 * ETA], atol=1e-5)
    np.testing.assert_allclose(rises, [2 * ETA, 2 * ETA], atol=1e-5)


def test_a_plan_may_have_no_budget_except_with_the_cusum():
    plan = make_plan(detection={"detector": "rate", "rate_threshold": 0.05, "false_alerts": 0, "quiet_steps": 0})
    watch = Watch.start(plan, np.full((1, 5, 1), 0.5, np.float32), 4)
    up_and_down = [
        watch.judge(plan.detection, 5 + t, Chances.of_p(np.full((1, 1), t % 2, np.float32)), ALWAYS) for t in range(30)
    ]
    assert np.sum(up_and_down) == 30
    budget = make_plan(detection={"detector": "rate", "false_alerts": 2})
    assert watch.restart(budget, np.full((1, 5, 1), 0.5, np.float32), 34).spending.spent.shape == (2, 1)
    again = watch.restart(budget, np.full((1, 5, 1), 0.5, np.float32), 34).restart(
        plan, np.zeros((1, 5, 1), np.float32), 34
    )
    assert again.spending.spent.shape == (2, 1), "what was spent is kept for the next plan that has a budget"
    with pytest.raises(ConfigError, match=r"expected false_alerts in 1\.\.100, got 0"):
        Detection(detector="cusum", false_alerts=0)


def test_a_token_comes_back_n_steps_after_it_was_spent():
    budget = Budget(2, 10, 1)
    spending, fires = budget.start(()), np.array([[True], [False]])
    shown = [t for t in range(30) if budget.allow(spending, fires, np.zeros((2, 1), np.float32), t).any()]
    assert shown == [0, 1, 10, 11, 20, 21]


def test_falls_go_first_and_of_one_direction_the_strongest():
    budget = Budget(2, 10, 3)
    spending = budget.start((1,))
    raised = np.array([[[True, True, False], [True, False, True]]])
    strength = np.array([[[1, 5, 9], [7, 9, 2]]], np.float32)
    allowed = budget.allow(spending, raised, strength, 0)
    assert allowed.tolist() == [[[True, True, False], [False, False, False]]]
    spending = Budget(3, 10, 3).start((1,))
    assert Budget(3, 10, 3).allow(spending, raised, strength, 0).tolist() == [
        [[True, True, False], [True, False, False]]
    ]


def test_strengths_that_differ_by_rounding_are_told_apart_by_order():
    raised, one = np.ones(3, bool), np.array(1)
    for apart in (-3e-6, 0, 3e-6):
        strength = np.array([0.2, 1.25004, 1.25004 + apart], np.float32)
        assert strongest(raised, strength, one).tolist() == [False, True, False]
    assert strongest(raised, np.array([0.2, 1.25, 1.2502]), one).tolist() == [False, False, True]


def test_users_together_are_each_user_alone():
    random = np.random.default_rng(0)
    budget = Budget(3, 20, 4)
    together, alone = budget.start((5,)), [budget.start(()) for _ in range(5)]
    for step in range(100):
        raised, strength = random.random((5, 2, 4)) < 0.05, random.random((5, 2, 4)).astype(np.float32)
        judged = random.integers(0, 5, 5)
        allowed = budget.allow(together, raised, strength, step)
        budget.own.adapt(together.moved, raised.sum(axis=2).T, judged)
        for k, one in enumerate(alone):
            np.testing.assert_array_equal(budget.allow(one, raised[k], strength[k], step), allowed[k])
            budget.own.adapt(one.moved, raised[k].sum(axis=1), judged[k])
    np.testing.assert_array_equal(together.moved, np.stack([one.moved for one in alone], axis=1))
    np.testing.assert_array_equal(together.spent, np.stack([one.spent for one in alone], axis=1))


def test_thresholds_rise_with_every_alarm_fall_slowly_without_and_stay_in_bounds():
    budget = Budget(3, 182, 10)
    spending = budget.start((3,))
    start = budget.start_threshold
    np.testing.assert_allclose(budget.own.now(spending.moved), start, rtol=1e-6)
    budget.own.adapt(spending.moved, np.array([[0, 1, 2], [0, 0, 0]]), np.full(3, 10))
    low, middle, high = budget.own.now(spending.moved)[Direction.FALL].tolist()
    assert low < start < middle < high and start - low < 0.01
    for _ in range(50_000):
        budget.own.adapt(spending.moved, np.array([[0, 0, 1], [0, 0, 0]]), np.full(3, 10))
    low, middle, high = budget.own.now(spending.moved)[Direction.RISE].tolist()
    assert low == middle == pytest.approx(max(LOWEST * start, LEAST), abs=1e-4)
    assert high == pytest.approx(min(HIGHEST * start, MOST), abs=1e-4)


def test_a_threshold_settles_where_alarms_come_at_the_expected_rate():
    """A livelier user than any simulated one: alarms come by exp(3 - h) per step and stream."""
    budget, random = Budget(3, 182, 10), np.random.default_rng(3)
    spending, n_alarms = budget.start((200,)), 0
    for step in range(4000):
        rate = np.exp(3 - budget.own.now(spending.moved).astype(float)) / 2
        alarms = random.binomial(10, np.minimum(rate, 1))
        budget.own.adapt(spending.moved, alarms, np.full(200, 10))
        n_alarms += int(alarms.sum()) if step >= 1000 else 0
    assert n_alarms / (3000 * 200) == pytest.approx(10 * budget.per_stream_rate, rel=0.15)


def test_another_plan_s_budget_keeps_what_was_spent():
    old, spent, risen = Budget(3, 100, 2), np.array([[5], [60], [90]]), np.array([[NEVER], [60]])
    spending = Spending(np.full((2, 1), 0.7, np.float32), spent, risen)
    assert (free(old, spending, 99), free(old, spending, 105)) == (0, 1)
    more, fewer = Budget(5, 100, 2).carried(spending), Budget(1, 100, 2).carried(spending)
    assert free(Budget(5, 100, 2), more, 99) == 2 and free(Budget(1, 100, 2), fewer, 99) == 0
    assert (more.moved == fewer.moved).all() and (more.moved == np.float32(0.7)).all()


def free(budget: Budget, spending: Spending, step: int) -> int:
    return int((spending.spent <= step - budget.steps).sum())


def test_the_table_is_stricter_for_more_streams_longer_times_and_fewer_alerts():
    table = np.array(THRESHOLDS)
    assert table.shape == (len(STREAMS), len(STEPS), len(FALSE_ALERTS))
    assert (np.diff(table, axis=0) >= 0).all() and (np.diff(table, axis=1) >= 0).all()
    assert (np.diff(table, axis=2) <= 0).all() and table.min() >= LEAST - 0.01 and table.max() < MOST
    assert (np.diff(RATES) < 0).all()


def test_between_the_table_s_points_thresholds_lie_between_theirs():
    at = from_table(FALSE_ALERTS[2], STEPS[2], STREAMS[2])
    assert at == pytest.approx(THRESHOLDS[2][2][2])
    assert at < from_table(FALSE_ALERTS[2], STEPS[2], 20) < THRESHOLDS[3][2][2]
    assert from_table(1, 1000, 200) > THRESHOLDS[-1][-1][0], "beyond its ends it goes on"
    assert false_alarm_rate(RATE_THRESHOLDS[4]) == pytest.approx(RATES[4])
    assert RATES[5] < false_alarm_rate((RATE_THRESHOLDS[4] + RATE_THRESHOLDS[5]) / 2) < RATES[4]
    assert Budget(100, 1, 1).start_threshold == pytest.approx(LEAST, abs=0.01)
    assert Budget(1, 10_000, 10_000).start_threshold <= MOST


def test_no_threshold_is_within_reach_of_three_steps_of_any_p():
    assert immune_steps(LEAST) >= 3 and 3 * DRIFT * (CLIP - DRIFT / 2) < LEAST


def test_false_alarms_of_all_of_a_user_s_streams_stay_below_the_budget():
    budget = Budget(3, 182, 16)
    assert 16 * budget.per_stream_rate * budget.steps < budget.false_alerts


@pytest.mark.parametrize("numbers", [(0, 10, 1), (1, 0, 1), (1, 10, 0)])
def test_budgets_that_allow_nothing_are_refused(numbers):
    with pytest.raises(ConfigError):
        Budget(*numbers)
