"""Bursts: spikes of activity that are neither falls nor rises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.detection.bursts import LEAST, RATIO, burst_at, held_by_burst
from client.detection.watch import observed
from shared.events import EventKind
from shared.features import FeatureSpec, History
from tests.world.basics import N_CATEGORIES, examples, make_plan, random_history, ready, view

FEATURES = FeatureSpec(12, (1, 2, 4, 8))
GAP, WINDOW = 8, 12


def of(count: np.ndarray) -> History:
    """A history of counters (..., T) of one category, without money."""
    count = np.asarray(count, np.float32)[..., None, :]
    return History(count > 0, count, np.zeros_like(count))


def usual(n_steps: int = 60, each: float = 2.0) -> np.ndarray:
    """Active every other step."""
    return np.where(np.arange(n_steps) % 2 == 0, each, 0.0)


def slow_bursts(history: History) -> np.ndarray:
    """(C, T) from the definition, in plain Python."""
    n_categories, n_steps = history.active.shape
    out = np.zeros((n_categories, n_steps), bool)
    for t in range(n_steps):
        before = range(max(0, t - GAP - WINDOW), max(0, t - GAP))
        logs = [
            [float(np.log(history.count[c, s])) for s in before if history.active[c, s]] for c in range(n_categories)
        ]
        for c in range(n_categories):
            known = logs[c] or [v for some in logs for v in some]
            line = max(RATIO * np.exp(np.mean(known)) if known else 0.0, LEAST)
            out[c, t] = bool(history.active[c, t]) and history.count[c, t] >= line
    return out


@examples(30)
@given(st.integers(0, 2**32))
def test_a_burst_is_what_the_definition_says_for_one_user_and_for_many(seed):
    random = np.random.default_rng(seed)
    history = random_history(random, (3, 2, 40), 0.4)
    count = np.where(random.random((3, 2, 40)) < 0.1, history.count * random.integers(1, 90, (3, 2, 40)), history.count)
    history = History(count > 0, count.astype(np.float32), history.amount)
    steps = np.arange(40)
    together, held = burst_at(history, FEATURES, steps), held_by_burst(history, FEATURES, steps)
    assert together.shape == held.shape == (3, 40, 2)
    for k in range(3):
        alone = history[k]
        expected = slow_bursts(alone)
        np.testing.assert_array_equal(together[k].T, expected)
        np.testing.assert_array_equal(burst_at(alone, FEATURES, [7, 23, 39]), expected.T[[7, 23, 39]])
        for t in range(40):
            np.testing.assert_array_equal(held[k, t], expected[:, max(0, t - WINDOW + 1) : t + 1].any(axis=1))
            last = held_by_burst(alone.until(t), FEATURES, [t])
            np.testing.assert_array_equal(last[0], held[k, t], err_msg="the future changes nothing")


def test_a_spike_holds_the_stream_for_as_long_as_the_window_holds_it():
    count = usual()
    count[40] = 60.0
    found = burst_at(of(count), FEATURES, np.arange(60))[:, 0]
    held = held_by_burst(of(count), FEATURES, np.arange(60))[:, 0]
    assert np.flatnonzero(found).tolist() == [40] and np.flatnonzero(held).tolist() == list(range(40, 40 + WINDOW))


@pytest.mark.parametrize("length", [1, 3, 8])
def test_a_burst_up_to_the_gap_does_not_become_usual_and_a_longer_stay_does(length):
    count = usual(100)
    count[40 : 40 + length] = 40.0
    assert np.flatnonzero(burst_at(of(count), FEATURES, np.arange(100))).tolist() == list(range(40, 40 + length))
    count[40:] = 40.0
    assert not burst_at(of(count), FEATURES, [70, 99]).any(), "what lasts is the new usual"


def test_a_lively_day_of_a_lively_user_and_few_events_are_none():
    lively = usual(each=6.0)
    lively[40] = 30.0
    assert not burst_at(of(lively), FEATURES, np.arange(60)).any()
    quiet = usual(each=0.2)
    quiet[40] = LEAST - 0.5
    assert not burst_at(of(quiet), FEATURES, np.arange(60)).any()
    quiet[40] = LEAST
    assert burst_at(of(quiet), FEATURES, [40]).all()


def test_in_a_new_category_the_others_say_what_is_usual():
    count = np.stack([usual(each=6.0), np.zeros(60)])
    count[1, 40] = 30.0
    history = History(count > 0, count.astype(np.float32), np.zeros_like(count, np.float32))
    assert not burst_at(history, FEATURES, [40]).any()
    count[1, 40] = 60.0
    history = History(count > 0, count.astype(np.float32), np.zeros_like(count, np.float32))
    assert burst_at(history, FEATURES, [40]).tolist() == [[False, True]]
    assert (
        burst_at(History.empty(2), FEATURES, []).shape == held_by_burst(History.empty(2), FEATURES, []).shape == (0, 2)
    )


@pytest.mark.parametrize(("detector", "unseen"), [("cusum", True), ("level", False), ("risk", False)])
def test_the_cusum_does_not_observe_a_stream_that_a_burst_moves(detector, unseen):
    count = usual()
    count[40] = 60.0
    plan, steps = make_plan(detection={"detector": detector}), np.arange(30, 60)
    seen = observed(plan, of(count), steps, np.full((30, 1), 0.5, np.float32))
    assert np.isnan(seen[10 : 10 + WINDOW]).all() == unseen
    assert (np.isnan(seen).sum() == WINDOW) == unseen and (unseen or not np.isnan(seen).any())


def test_a_device_tells_a_bot_as_a_burst_and_never_as_a_turn(new_device):
    """A bot of three days after a calm half year; the same user is told of a rise that is real."""
    settings = {"detector": "cusum", "warm_steps": 20, "false_alerts": 5, "budget_steps": 60, "min_active_steps": 1}
    alerts = {}
    for life in ("bot", "rise"):
        device = ready(new_device(), make_plan(detection=settings))
        for step in range(0, 80, 5):
            device.record(view(step, 0))
        device.close_until(80)
        assert not device.bursts().any() and not device.alerts()
        for step in range(80, 83 if life == "bot" else 130):
            for _ in range(60 if life == "bot" else 1):
                device.record(view(step, 0))
            device.close_until(step + 1)
            assert device.bursts().tolist() == [life == "bot"] + [False] * (N_CATEGORIES - 1)
        for step in range(85, 140, 5):
            device.record(view(step, 0)) if life == "bot" else None
        device.close_until(140)
        assert not device.bursts().any() and not device.problems
        alerts[life] = device.alerts()
    assert not alerts["bot"] and alerts["rise"]


def test_a_device_without_a_model_knows_no_burst(new_device):
    device = new_device()
    for _ in range(60):
        device.record(view(0, 0, EventKind.PURCHASE))
    device.close_until(2)
    assert device.bursts().tolist() == [False] * N_CATEGORIES
