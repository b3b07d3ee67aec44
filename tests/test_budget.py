"""The false-alarm budget: a bucket that nothing overruns, thresholds that come back to it, and the table behind them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.budget import HIGHEST, LEAST, LOWEST, Budget, Spending, false_alarm_rate, from_table
from client.cusum import CLIP, DRIFT, MOST, immune_steps
from client.threshold_table import FALSE_ALERTS, RATE_THRESHOLDS, RATES, STEPS, STREAMS, THRESHOLDS
from shared.errors import ConfigError

from .conftest import examples


@examples(60)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 30), st.floats(0.01, 0.6))
def test_no_stretch_of_n_steps_ever_shows_more_than_f_alerts(seed, most, steps, often):
    random = np.random.default_rng(seed)
    budget = Budget(most, steps, 4)
    spending, shown = budget.start((3,)), np.zeros((120, 3), int)
    for step in range(120):
        raised = random.random((3, 2, 4)) < often
        allowed = budget.allow(spending, raised, random.random((3, 2, 4)).astype(np.float32), step)
        assert not (allowed & ~raised).any()
        shown[step] = allowed.sum(axis=(1, 2))
        lost = raised.sum(axis=(1, 2)) > shown[step]
        window = shown[max(0, step - steps + 1) : step + 1].sum(axis=0)
        assert (window <= most).all()
        assert (window[lost] == most).all(), "an alarm is lost only where the bucket is empty"


def test_a_token_comes_back_n_steps_after_it_was_spent():
    budget = Budget(2, 10, 1)
    spending, fires = budget.start(()), np.array([[True], [False]])
    shown = [t for t in range(30) if budget.allow(spending, fires, np.zeros((2, 1), np.float32), t).any()]
    assert shown == [0, 1, 10, 11, 20, 21]


def test_the_strongest_alarms_go_first():
    budget = Budget(2, 10, 3)
    spending = budget.start((1,))
    raised = np.array([[[True, True, False], [True, False, True]]])
    strength = np.array([[[1, 5, 9], [7, 9, 2]]], np.float32)
    allowed = budget.allow(spending, raised, strength, 0)
    assert allowed.tolist() == [[[False, True, False], [True, False, False]]]


def test_users_together_are_each_user_alone():
    random = np.random.default_rng(0)
    budget = Budget(3, 20, 4)
    together, alone = budget.start((5,)), [budget.start(()) for _ in range(5)]
    for step in range(100):
        raised, strength = random.random((5, 2, 4)) < 0.05, random.random((5, 2, 4)).astype(np.float32)
        judged = random.integers(0, 5, 5)
        allowed = budget.allow(together, raised, strength, step)
        budget.adapt(together, raised.sum(axis=(1, 2)), judged)
        for k, one in enumerate(alone):
            np.testing.assert_array_equal(budget.allow(one, raised[k], strength[k], step), allowed[k])
            budget.adapt(one, raised[k].sum(), judged[k])
    np.testing.assert_array_equal(together.moved, [one.moved for one in alone])
    np.testing.assert_array_equal(together.spent, np.stack([one.spent for one in alone], axis=1))


def test_thresholds_rise_with_every_alarm_fall_slowly_without_and_stay_in_bounds():
    budget = Budget(3, 182, 10)
    spending = budget.start((3,))
    start = budget.start_threshold
    np.testing.assert_allclose(budget.thresholds(spending), start, rtol=1e-6)
    budget.adapt(spending, np.array([0, 1, 2]), np.full(3, 10))
    low, middle, high = budget.thresholds(spending).tolist()
    assert low < start < middle < high and start - low < 0.01
    for _ in range(50_000):
        budget.adapt(spending, np.array([0, 0, 1]), np.full(3, 10))
    low, middle, high = budget.thresholds(spending).tolist()
    assert low == middle == pytest.approx(max(LOWEST * start, LEAST), abs=1e-4)
    assert high == pytest.approx(min(HIGHEST * start, MOST), abs=1e-4)


def test_a_threshold_settles_where_alarms_come_at_the_expected_rate():
    """A livelier user than any simulated one: alarms come by exp(3 - h) per step and stream."""
    budget, random = Budget(3, 182, 10), np.random.default_rng(3)
    spending, n_alarms = budget.start((200,)), 0
    for step in range(4000):
        rate = np.exp(3 - budget.thresholds(spending).astype(float))
        alarms = random.binomial(10, np.minimum(rate, 1))
        budget.adapt(spending, alarms, np.full(200, 10))
        n_alarms += int(alarms.sum()) if step >= 1000 else 0
    assert n_alarms / (3000 * 200) == pytest.approx(budget.per_user_rate, rel=0.15)


def test_another_plan_s_budget_keeps_what_was_spent():
    old, spending = Budget(3, 100, 2), Spending(np.array([0.7], np.float32), np.array([[5], [60], [90]]))
    assert (free(old, spending, 99), free(old, spending, 105)) == (0, 1)
    more, fewer = Budget(5, 100, 2).carried(spending), Budget(1, 100, 2).carried(spending)
    assert free(Budget(5, 100, 2), more, 99) == 2 and free(Budget(1, 100, 2), fewer, 99) == 0
    assert more.moved == fewer.moved == np.float32(0.7)


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


def test_rates_per_stream_and_per_user_agree():
    budget = Budget(3, 182, 16)
    assert budget.per_user_rate == pytest.approx(16 * budget.per_stream_rate)
    assert budget.per_user_rate * budget.steps < budget.false_alerts


@pytest.mark.parametrize("numbers", [(0, 10, 1), (1, 0, 1), (1, 10, 0)])
def test_budgets_that_allow_nothing_are_refused(numbers):
    with pytest.raises(ConfigError):
        Budget(*numbers)
