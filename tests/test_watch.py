"""Watching streams: quiet time, levels, and the same answers for one device and for many at once."""

import numpy as np
import pytest

from client.risk import Direction, RiskLevel
from client.watch import Watch
from shared.features import History

from .conftest import make_plan, random_history

DETECTIONS = [
    {"detector": "level", "fall_level": 0.3, "rise_level": 0.7},
    {"detector": "rate", "rate_window_steps": 2, "rate_threshold": 0.2},
    {"detector": "own_level", "own_span_steps": 4, "fall_margin": 0.6, "rise_margin": 0.6},
]


def cut(history: History, n_steps: int) -> History:
    return History(*(a[..., :n_steps] for a in (history.active, history.count, history.amount)))


def alone(history: History, k: int) -> History:
    return History(*(a[k] for a in (history.active, history.count, history.amount)))


@pytest.mark.parametrize("detection", DETECTIONS, ids=lambda d: d["detector"])
def test_many_devices_at_once_are_each_device_alone(detection):
    plan = make_plan(detection={**detection, "quiet_steps": 2, "min_active_steps": 2})
    random = np.random.default_rng(2)
    history = random_history(random, (3, 4, 30), 0.4)
    stream = random.random((30, 3, 4)).astype(np.float32)
    past = np.moveaxis(stream[:6], 0, 1)
    together = Watch.start(plan, past, 5)
    each = [Watch.start(plan, past[k], 5) for k in range(3)]
    n_raised = 0
    for step in range(6, 30):
        raised, levels = together.see(plan, cut(history, step + 1), step, stream[step])
        assert raised.shape == levels.shape == (3, 2, 4)
        n_raised += int(raised.sum())
        for k, watch in enumerate(each):
            one, one_level = watch.see(plan, cut(alone(history, k), step + 1), step, stream[step, k])
            np.testing.assert_array_equal(raised[k], one)
            np.testing.assert_array_equal(levels[k], one_level)
    assert n_raised > 10


@pytest.mark.parametrize("quiet_steps", [0, 1, 3])
def test_after_an_alert_a_stream_is_quiet_in_that_direction_for_that_many_steps(quiet_steps):
    detection = {"detector": "rate", "rate_threshold": 0.05, "quiet_steps": quiet_steps}
    plan = make_plan(detection=detection)
    history = random_history(np.random.default_rng(0), (1, 12), 0.5)
    watch = Watch.start(plan, np.empty((0, 1), np.float32), -1)
    rises = []
    for step, p in enumerate(np.linspace(0, 0.99, 12, dtype=np.float32)):  # a rise at every step
        raised, _ = watch.see(plan, cut(history, step + 1), step, np.array([p]))
        assert not raised[Direction.FALL].any()
        rises += [step] if raised[Direction.RISE, 0] else []
    assert rises == list(range(1, 12, quiet_steps + 1))


def test_falls_come_first_and_have_their_own_level():
    plan = make_plan(detection={"detector": "rate", "rate_threshold": 0.3})
    history = random_history(np.random.default_rng(0), (2, 1), 1.0)
    watch = Watch.start(plan, np.array([[0.9, 0.1]], np.float32), -1)
    raised, levels = watch.see(plan, history, 0, np.array([0.05, 0.95], np.float32))
    assert raised.tolist() == [[True, False], [False, True]]
    assert levels[Direction.FALL, 0] == levels[Direction.RISE, 1] == RiskLevel.HIGH
