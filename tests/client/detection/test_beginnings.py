"""Since when: the step at which a CUSUM's sum last left 0 is told with its alert, by phones and hosts, through restarts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.detection.beginnings import Since
from client.detection.chances import Chances
from client.detection.cusum import FALL, RISE, immune_steps
from client.detection.risk_levels import Direction
from client.detection.watch import NOT_KNOWN, Watch
from shared.events import Step
from shared.plan import Plan
from tests.world.basics import activity_theta, event_stream, examples, make_plan, make_profile, open_device, ready

WARM = 70


def plan_of(**more: object) -> Plan:
    return make_plan(
        detection={
            "detector": "cusum",
            "season_steps": 7,
            "false_alerts": 5,
            "budget_steps": 182,
            "quiet_steps": 0,
            **more,
        }
    )


def shifting(at: int, size: float, n: int = 300, n_steps: int = 130, seed: int = 0) -> np.ndarray:
    """p (T, N) around own levels, which shift by `size` logits at `at`."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 0.5, n) + 0.3 * random.normal(size=(n_steps, n))
    logits[at:] += size
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def firsts(p: np.ndarray, direction: Direction, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Of each stream of p (T, N), a user of its own: the step of its first alert after the warm-up, and when that says the change
    began; -1 for both where there is none."""
    everybody = np.ones((p.shape[1], 1), bool)
    watch = Watch.start(plan, np.moveaxis(p[:WARM, :, None], 0, 1), WARM - 1)
    step, began = np.full((2, p.shape[1]), -1)
    for t in range(WARM, len(p)):
        raised = watch.judge(plan.detection, t, Chances.of_p(p[t][:, None]), everybody)[:, direction, 0]
        now = raised & (step < 0)
        step[now], began[now] = t, watch.began[now, direction, 0]
    return step, began


@pytest.mark.parametrize(("size", "direction"), [(-1.2, Direction.FALL), (1.2, Direction.RISE)])
@pytest.mark.parametrize("at", [85, 100])
def test_on_a_planted_shift_the_start_is_told_within_few_steps(at, size, direction):
    step, began = firsts(shifting(at, size), direction, plan_of())
    found = step >= at
    assert found.mean() > 0.8
    off = began[found] - at
    assert abs(np.median(off)) <= 1 and np.quantile(np.abs(off), 0.9) <= 8, "about then"
    late = step[found] - at
    assert np.median(late) >= 3 > np.median(np.abs(off)), "nearer than the alert itself"


@examples(40)
@given(st.integers(0, 2**32), st.lists(st.sampled_from([0.0, -1.0, 1.5]), min_size=3, max_size=5))
def test_it_is_the_step_at_which_the_sum_that_fired_last_left_0(seed, levels):
    """Told from the statistics alone, whatever p does; and a sum that fires has been away from 0 for longer than it is immune."""
    random, plan = np.random.default_rng(seed), plan_of()
    logits = np.repeat(levels, 30)[:, None] + 0.4 * random.normal(size=(30 * len(levels), 4))
    p = (1 / (1 + np.exp(-logits))).astype(np.float32)
    p[random.random(p.shape) < 0.1] = np.nan
    watch, left = Watch.start(plan, np.empty((0, 4), np.float32), -1), np.full((2, 4), NOT_KNOWN)
    for t, now in enumerate(p):
        before = watch.memory[FALL : RISE + 1].copy()
        raised = watch.judge(plan.detection, t, Chances.of_p(now), np.ones(4, bool))
        left[before == 0] = t
        np.testing.assert_array_equal(watch.began[raised], left[raised])
        assert (t - watch.began[raised] >= immune_steps(2.94)).all() and (watch.began[raised] >= 0).all()


def test_a_new_model_s_watch_knows_it_from_the_past_that_it_is_warmed_up_on():
    """A change that began before the model came is dated there, not to the day of the model."""
    plan, at = plan_of(), 80
    p = shifting(at, -0.9, n=200)
    watch = Watch.start(plan, np.moveaxis(p[:WARM, :, None], 0, 1), WARM - 1)
    after = watch.restart(plan, np.moveaxis(p[: at + 2, :, None], 0, 1), at + 1)
    everybody, off = np.ones((200, 1), bool), []
    for t in range(at + 2, at + 15):
        raised = after.judge(plan.detection, t, Chances.of_p(p[t][:, None]), everybody)[:, Direction.FALL, 0]
        off += (after.began[raised, Direction.FALL, 0] - at).tolist()
    assert len(off) > 100 and abs(np.median(off)) <= 1


def test_of_a_sum_that_an_earlier_app_began_it_is_not_known_until_it_was_0_again():
    plan, p = plan_of(), shifting(80, -1.2, n=200)
    watch = Watch.start(plan, np.moveaxis(p[:82, :, None], 0, 1), 81)
    resting = watch.memory[FALL, :, 0] == 0
    watch.began[...] = NOT_KNOWN  # as a vault of format 8 opens
    everybody, said = np.ones((200, 1), bool), {True: 0, False: 0}
    for t in range(82, 100):
        resting |= watch.memory[FALL, :, 0] == 0
        raised = watch.judge(plan.detection, t, Chances.of_p(p[t][:, None]), everybody)[:, Direction.FALL, 0]
        known = watch.began[:, Direction.FALL, 0] != NOT_KNOWN
        np.testing.assert_array_equal(known, resting)
        for one in known[raised].tolist():
            said[one] += 1
    assert said[False] > 50 and said[True] > 5


@pytest.mark.parametrize("detector", ["risk", "level", "own_level", "rate"])
def test_other_detectors_do_not_say(detector):
    plan = make_plan(detection={"detector": detector, "risk_line": 0.1, "rate_threshold": 0.01})
    watch = Watch.start(plan, np.full((3, 20, 2), 0.9, np.float32), 19)
    assert watch.began.size == 0


def test_the_app_is_told_with_the_alert_and_keeps_it_when_the_device_opens_again(tmp_path):
    plan = make_plan(
        detection={"detector": "cusum", "warm_steps": 8, "false_alerts": 5, "budget_steps": 10, "min_active_steps": 1}
    )
    told = []
    device = open_device(tmp_path, make_profile(), on_step=lambda step, p, alerts: told.extend(alerts))
    ready(device, plan, activity_theta())
    for event in event_stream(np.random.default_rng(5), 60, 0.5):
        if event.category or event.time_s < 20 * Step.DAY.seconds:  # interest in the first category ends
            device.record(event)
    device.close_until(60)
    known = [alert for alert in told if alert.began is not None]
    assert known and all(alert.began is not None and 0 <= alert.began < alert.step for alert in known)
    began = [alert.began for alert in device.alerts()]
    watch = device._state.watch
    assert watch is not None
    device.close()
    with open_device(tmp_path) as again:
        assert [alert.began for alert in again.alerts()] == began == [alert.began for alert in told]
        assert again._state.watch is not None
        np.testing.assert_array_equal(again._state.watch.began, watch.began)
        for alert in again.alerts():
            said = again.explain(alert)
            assert said is not None and said.since is not None and said.since.step == alert.began
            assert said.since.text() in said.texts and repr(said.since) == "Since(<raw>)"


def test_it_is_said_in_two_languages():
    assert Since(31, 1, Step.WEEK).text() == "since about week 31, 1 week before this alert"
    assert Since(31, 5, Step.DAY).text() == "since about day 31, 5 days before this alert"
    assert Since(31, 5, Step.WEEK).text("zh") == "大约从第 31 周开始，即这次提醒之前 5 周"
