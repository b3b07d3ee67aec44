"""Alerts by phi: at or above a line on a watched interest, and a device's memory of it."""

import numpy as np
import pytest

from client.detection.chances import Chances
from client.detection.detector_table import detector_for
from client.detection.detectors import RiskDetector
from client.detection.risk_levels import Direction, RiskLevel
from client.detection.watch import Watch
from shared.errors import ConfigError
from shared.features import History
from tests.world.basics import make_plan

LINE = 0.25


def run(risk, p=None, watched=True, detector: RiskDetector | None = None) -> tuple[list[int], list[int]]:
    """Steps of falls and of rises on one stream."""
    detector = detector or RiskDetector(LINE, 0.85)
    memory = detector.start((1,))
    p = [0.5] * len(risk) if p is None else p
    watched = np.broadcast_to(watched, len(risk))
    falls, rises = [], []
    for step, values in enumerate(zip(risk, p, watched, strict=True)):
        phi, now, on = (np.array([v]) for v in values)
        alarms = detector.update(memory, Chances.of_p(now.astype(np.float32), phi.astype(np.float32)), on, step)
        falls += [step] * bool(alarms.fall[0])
        rises += [step] * bool(alarms.rise[0])
    return falls, rises


def test_a_fall_is_called_wherever_phi_is_at_or_above_the_line():
    assert run([0.1, 0.2, 0.3, 0.6, 0.3, 0.2, 0.25, 0.2499, 0.5]) == ([2, 3, 4, 6, 8], [])


def test_where_phi_is_not_known_no_fall_is_called():
    nan = np.nan
    assert run([nan, nan, 0.7, 0.1, nan, 0.7]) == ([2, 5], [])


def test_a_fall_needs_a_watched_interest_and_a_rise_one_that_is_not():
    phi, p = [0.1, 0.4, 0.1, 0.4], [0.5, 0.9, 0.5, 0.9]
    assert run(phi, p, watched=True) == ([1, 3], [])
    assert run(phi, p, watched=False) == ([], [1, 3])
    assert run(phi, p, watched=[True, True, False, False]) == ([1], [3])


def test_phi_calls_no_rise_and_p_no_fall():
    assert run([0.2, 0.1, 0.01, 0.9])[1] == []
    assert run([0.1] * 4, p=[0.9, 0.5, 0.1, 0.01]) == ([], [])


def test_without_phi_no_fall_is_called_and_rises_are():
    detector = RiskDetector(LINE, 0.85)
    memory = detector.start((2,))
    no = np.zeros(2, bool)
    assert not detector.update(memory, Chances.of_p(np.float32([0.9, 0.2])), no).rise.any(), (
        "the first p is no crossing"
    )
    alarms = detector.update(memory, Chances.of_p(np.float32([0.9, 0.9])), no)
    assert alarms.rise.tolist() == [False, True] and not alarms.fall.any()
    np.testing.assert_allclose(alarms.rate, [0, 0.7], atol=1e-6)


def test_many_streams_at_once_are_each_stream_alone():
    random = np.random.default_rng(0)
    risk, p = random.random((2, 30, 3, 4))
    watched = random.random((30, 3, 4)) < 0.6
    detector = RiskDetector(LINE, 0.85)
    memory, found = detector.start((3, 4)), []
    for step in range(30):
        now = Chances.of_p(*(a[step].astype(np.float32) for a in (p, risk)))
        alarms = detector.update(memory, now, watched[step], step)
        found.append((alarms.fall, alarms.rise))
    for k in range(3):
        for c in range(4):
            falls, rises = run(risk[:, k, c], p[:, k, c], watched[:, k, c])
            assert [s for s in range(30) if found[s][0][k, c]] == falls
            assert [s for s in range(30) if found[s][1][k, c]] == rises
            assert falls


@pytest.mark.parametrize(("line", "rise_level"), [(0, 0.8), (1, 0.8), (-0.1, 0.8), (0.3, 0), (0.3, 1.1)])
def test_lines_that_could_never_or_always_be_reached_are_refused(line, rise_level):
    with pytest.raises(ConfigError, match="expected line in"):
        RiskDetector(line, rise_level)


# ---- in a watch


def always_active(n_steps: int) -> History:
    shape = (1, n_steps)
    return History(np.ones(shape, bool), np.ones(shape, np.float32), np.zeros(shape, np.float32))


def falls_of(phis, quiet_steps: int = 0) -> tuple[list[int], list[int]]:
    """Steps at which a watch under a plan with the detector alerts, and the levels of these alerts."""
    plan = make_plan(detection={"detector": "risk", "risk_line": LINE, "quiet_steps": quiet_steps})
    assert isinstance(detector_for(plan.detection), RiskDetector)
    history = always_active(20 + len(phis))
    watch = Watch.start(plan, np.full((20, 1), 0.6, np.float32), 19)
    steps, levels = [], []
    for step, phi in enumerate(phis, start=20):
        risk = None if phi is None else np.float32([phi])
        raised, level, _ = watch.see(plan, history.until(step), step, Chances.of_p(np.float32([0.6]), risk))
        assert not raised[Direction.RISE].any()
        if raised[Direction.FALL, 0]:
            steps.append(step - 20)
            levels.append(int(level[Direction.FALL, 0]))
        watch = Watch.of({name: array.copy() for name, array in watch.arrays().items()})
    return steps, levels


def test_a_watch_alerts_by_phi_with_phi_s_levels_and_keeps_what_it_needs():
    assert falls_of([0.1, 0.3, 0.1, 0.6, 0.1, 0.25]) == (
        [1, 3, 5],
        [RiskLevel.MEDIUM, RiskLevel.HIGH, RiskLevel.MEDIUM],
    )
    assert falls_of([0.1, 0.3, 0.1, 0.6, 0.1, 0.25], quiet_steps=3)[0] == [1, 5]
    assert falls_of([0.9] * 8, quiet_steps=3)[0] == [0, 4], "and again after its quiet time, if it is still there"
    assert falls_of([None, None, 0.9, None]) == ([2], [RiskLevel.HIGH])


def test_a_rise_is_called_wherever_the_chance_of_a_take_off_is_at_or_above_its_line():
    detector = RiskDetector(LINE, 0.85, takeoff_line=0.4)
    memory, rises = detector.start((1,)), []
    chances = [0.1, 0.4, 0.7, np.nan, 0.39, 0.9]
    for step, chance in enumerate(chances):
        takeoff = np.float32([chance])
        now = Chances.of_p(np.float32([0.9]), takeoff=takeoff)
        alarms = detector.update(memory, now, np.array([False]), step)
        rises += [step] * bool(alarms.rise[0])
        np.testing.assert_array_equal(alarms.strength[1], takeoff)
    assert rises == [1, 2, 5], "p, which is above its own line, has no say"
    alone = Chances.of_p(np.float32([0.9]))
    assert not detector.update(memory, alone, np.array([False])).rise.any(), "no chance, no rise"


@pytest.mark.parametrize("line", [0.0, -1.0, 1.01, np.nan])
def test_a_line_of_take_offs_that_is_no_probability_is_refused(line):
    with pytest.raises(ConfigError, match="takeoff_line in"):
        RiskDetector(LINE, 0.85, takeoff_line=line)


@pytest.mark.parametrize("detector", ["rate", "level", "own_level", "cusum"])
def test_where_no_rises_are_shown_falls_are_as_they_were(detector):
    """Whatever the detector: rises take nothing from the budget of falls either."""
    random = np.random.default_rng(4)
    p = np.clip(0.5 + np.cumsum(random.normal(0, 0.08, (160, 6)), axis=0), 0.02, 0.98).astype(np.float32)
    raised = []
    for line in (None, 1.0):
        settings = {"detector": detector, "takeoff_line": line, "false_alerts": 100, "budget_steps": 200}
        plan = make_plan(detection={**settings, "quiet_steps": 0, "fall_level": 0.3, "rise_level": 0.7})
        watch = Watch.start(plan, p[:60], 59)
        watched = np.ones(6, bool)
        judged = (watch.judge(plan.detection, 60 + i, Chances.of_p(now), watched) for i, now in enumerate(p[60:]))
        raised.append(np.array(list(judged)))
    shown, without = raised
    assert not without[:, Direction.RISE].any() and without[:, Direction.FALL].any()
    assert (without[:, Direction.FALL] | ~shown[:, Direction.FALL]).all()
