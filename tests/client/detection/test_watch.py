"""Watching streams: quiet time, levels, and the same answers for one device and for many at once."""

import numpy as np
import pytest

from client.detection.chances import Chances
from client.detection.detector_table import detector_for
from client.detection.risk_levels import Direction, RiskLevel
from client.detection.watch import Watch, past_steps
from shared.features import History
from shared.plan import DETECTORS, Plan
from shared.register.rule_plan import RulePlan
from tests.world.basics import make_plan, random_history

DETECTIONS = [
    {"detector": "level", "fall_level": 0.3, "rise_level": 0.7},
    {"detector": "rate", "rate_window_steps": 2, "rate_threshold": 0.2},
    {"detector": "own_level", "own_span_steps": 4, "fall_margin": 0.6, "rise_margin": 0.6},
    {"detector": "cusum", "warm_steps": 8, "false_alerts": 5, "budget_steps": 10},
    {"detector": "risk", "risk_line": 0.6, "rise_level": 0.7},
]


def cut(history: History, n_steps: int) -> History:
    return History(*(a[..., :n_steps] for a in (history.active, history.count, history.amount)))


def alone(history: History, k: int) -> History:
    return History(*(a[k] for a in (history.active, history.count, history.amount)))


@pytest.mark.parametrize("detection", DETECTIONS, ids=lambda d: d["detector"])
def test_many_devices_at_once_are_each_device_alone(detection):
    plan = make_plan(detection={**detection, "quiet_steps": 2, "min_active_steps": 2})
    random = np.random.default_rng(2)
    history = random_history(random, (3, 4, 120), 0.4)
    logits = np.repeat(random.normal(size=(20, 3, 4)) * 2, 6, axis=0) + 0.3 * random.normal(size=(120, 3, 4))
    stream = (1 / (1 + np.exp(-logits))).astype(np.float32)
    past = np.moveaxis(stream[:6], 0, 1)
    together = Watch.start(plan, past, 5)
    each = [Watch.start(plan, past[k], 5) for k in range(3)]
    n_raised = 0
    for step in range(6, 120):
        chances = Chances.of_p(stream[step], 1 - stream[step])
        raised, levels, began = together.see(plan, cut(history, step + 1), step, chances)
        assert raised.shape == levels.shape == (3, 2, 4)
        n_raised += int(raised.sum())
        for k, watch in enumerate(each):
            own = Chances(*(each[k] for each in chances))
            one, one_level, one_began = watch.see(plan, cut(alone(history, k), step + 1), step, own)
            np.testing.assert_array_equal(raised[k], one)
            np.testing.assert_array_equal(levels[k], one_level)
            np.testing.assert_array_equal(began[k], one_began)
    assert n_raised > 10


@pytest.mark.parametrize("quiet_steps", [0, 1, 3])
def test_after_an_alert_a_stream_is_quiet_in_that_direction_for_that_many_steps(quiet_steps):
    detection = {"detector": "rate", "rate_threshold": 0.05, "quiet_steps": quiet_steps}
    plan = make_plan(detection=detection)
    history = random_history(np.random.default_rng(0), (1, 12), 0.5)
    watch = Watch.start(plan, np.empty((0, 1), np.float32), -1)
    rises = []
    for step, p in enumerate(np.linspace(0, 0.99, 12, dtype=np.float32)):  # a rise at every step
        raised = watch.see(plan, cut(history, step + 1), step, Chances.of_p(np.array([p]))).fired
        assert not raised[Direction.FALL].any()
        rises += [step] if raised[Direction.RISE, 0] else []
    assert rises == list(range(1, 12, quiet_steps + 1))


def test_falls_come_first_and_have_their_own_level():
    plan = make_plan(detection={"detector": "rate", "rate_threshold": 0.3})
    history = random_history(np.random.default_rng(0), (2, 1), 1.0)
    watch = Watch.start(plan, np.array([[0.9, 0.1]], np.float32), -1)
    raised, levels, _ = watch.see(plan, history, 0, Chances.of_p(np.array([0.05, 0.95], np.float32)))
    assert raised.tolist() == [[True, False], [False, True]]
    assert levels[Direction.FALL, 0] == levels[Direction.RISE, 1] == RiskLevel.HIGH


CUSUM = {"detector": "cusum", "false_alerts": 2, "budget_steps": 60, "warm_steps": 20, "quiet_steps": 5}
EVERYBODY = np.ones((3, 4), bool)


def daily(n_steps: int, shape: tuple[int, ...], drop_at: int, seed: int = 0) -> np.ndarray:
    """p (T, ..., C) around own levels; every stream falls for good at `drop_at`."""
    random = np.random.default_rng(seed)
    logits = random.normal(0.3, 0.3, shape) + 0.3 * random.normal(size=(n_steps, *shape))
    logits[drop_at:] -= 1.6
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def of(p: np.ndarray) -> Chances:
    """p, and 1 - p as the chance of a lapse."""
    return Chances.of_p(p, 1 - p)


def played(watch: Watch, plan: Plan, p: np.ndarray, first: int) -> np.ndarray:
    """Alerts (T, ..., 2, C) of steps from `first` on; everything is established, and phi is 1 - p."""
    watched = np.ones(p.shape[1:], bool)
    return np.array([watch.judge(plan.detection, first + t, of(now), watched) for t, now in enumerate(p)])


def begun(plan: Plan, p: np.ndarray) -> Watch:
    """A watch on the past p (T, ..., C), whose first step is 0."""
    return Watch.start(plan, np.moveaxis(p, 0, -2), len(p) - 1)


def test_under_the_cusum_no_user_sees_more_than_the_budget_and_the_strongest_streams_speak():
    plan, p = make_plan(detection=CUSUM), daily(120, (3, 4), 80)
    alerts = played(begun(plan, p[:60]), plan, p[60:], 60)
    assert alerts.sum(axis=(0, 2, 3)).tolist() == [2, 2, 2] and not alerts[:, :, Direction.RISE].any()
    generous = make_plan(detection={**CUSUM, "false_alerts": 50})
    assert played(begun(generous, p[:60]), generous, p[60:], 60)[:, :, Direction.FALL].any(axis=0).all()


@pytest.mark.parametrize("detector", ["cusum", "own_level", "level", "rate", "risk"])
def test_a_watch_remembers_what_its_own_detector_does_and_no_more(detector):
    plan, p = make_plan(detection={**CUSUM, "detector": detector}), daily(60, (3, 4), 80)
    watch = begun(plan, p)
    np.testing.assert_equal(watch.memory.shape, detector_for(plan.detection).start((3, 4)).shape)
    kept = sum(array.nbytes for name, array in watch.arrays().items() if name not in ("spent", "risen", "moved"))
    assert kept == watch.memory.nbytes + watch.quiet_until.nbytes + watch.last_step.nbytes + watch.began.nbytes, (
        "many devices have no marks"
    )


def bytes_per_stream(watch: Watch, n_streams: int) -> float:
    return sum(array.nbytes for array in watch.arrays().values()) / n_streams


@pytest.mark.parametrize(
    ("detector", "alone", "hosted"), [("cusum", 300, 100), ("risk", 40, 30), ("level", 140, 50), ("rate", 140, 50)]
)
def test_a_watch_keeps_few_bytes_of_a_stream(detector, alone, hosted):
    """Everything that is kept, the budget's tokens (64 bytes a user here) spread over 12 streams."""
    weekly = {"season_steps": 7, "rate_window_steps": 7, "false_alerts": 3}
    plan = make_plan(detection={**CUSUM, **weekly, "detector": detector})
    past = daily(60, (5, 12), 10_000)
    many, one = begun(plan, past), begun(plan, past[:, 0])
    assert bytes_per_stream(one, 12) <= alone and bytes_per_stream(many, 60) <= hosted


def test_only_the_cusum_asks_for_more_past_than_the_features_window():
    window = make_plan().features.window_steps
    for detector in DETECTORS:
        plan = make_plan(detection={"detector": detector, "warm_steps": 50}, rule=RulePlan())
        assert past_steps(plan) == (100 if detector == "cusum" else window)
        assert past_steps(plan, "cusum") == 100 and past_steps(plan, "risk") == window


@pytest.mark.parametrize("detector", ["cusum", "own_level", "risk"])
def test_a_step_that_is_not_later_changes_nothing_and_raises_nothing(detector):
    plan, p = make_plan(detection={**CUSUM, "detector": detector}), daily(120, (3, 4), 80)
    straight, disturbed = begun(plan, p[:60]), begun(plan, p[:60])
    for t in range(60, 120):
        expected = straight.judge(plan.detection, t, of(p[t]), EVERYBODY)
        np.testing.assert_array_equal(disturbed.judge(plan.detection, t, of(p[t]), EVERYBODY), expected)
        for again in (t, t - 1, t - 40, -5):
            assert not disturbed.judge(plan.detection, again, of(1 - p[t]), EVERYBODY).any()
    for name, array in straight.arrays().items():
        assert disturbed.arrays()[name].tobytes() == array.tobytes(), name


def test_missing_steps_and_a_jump_of_the_clock_raise_nothing_by_themselves():
    plan, p = make_plan(detection={**CUSUM, "season_steps": 7}), daily(300, (3, 4), 10_000)
    watch = begun(plan, p[:60])
    kept = np.random.default_rng(0).random(240) < 0.6
    steps = 60 + np.arange(240)[kept]
    n_raised = sum(int(watch.judge(plan.detection, t, of(p[t]), EVERYBODY).sum()) for t in steps.tolist())
    assert n_raised / (12 * len(steps)) < 1 / 200
    jumped = [watch.judge(plan.detection, 5000 + t, of(p[t]), EVERYBODY) for t in range(20)]
    assert not np.any(jumped)


def test_a_new_model_forgets_neither_quiet_time_nor_tokens_nor_thresholds():
    plan, p = make_plan(detection=CUSUM), daily(120, (3, 4), 80)
    watch = begun(plan, p[:60])
    played(watch, plan, p[60:100], 60)
    past = np.moveaxis(p[50:100], 0, -2)
    after = watch.restart(plan, past, 99)
    np.testing.assert_array_equal(after.quiet_until, watch.quiet_until)
    np.testing.assert_array_equal(after.spending.spent, watch.spending.spent)
    np.testing.assert_array_equal(after.spending.moved, watch.spending.moved)
    assert watch.spending.moved.any() and watch.quiet_until.any()
    again = daily(30, (3, 4), 5, seed=1)
    assert not played(after, plan, again, 100).any(), "the bucket is empty"
    assert played(Watch.start(plan, past, 99), plan, again, 100).any(), "a watch that begins anew has a full one"


@pytest.mark.parametrize("detector", ["cusum", "own_level", "risk"])
@pytest.mark.parametrize("at", [60, 83, 101])
def test_a_watch_restored_at_any_step_goes_on_bit_for_bit(detector, at):
    plan, p = make_plan(detection={**CUSUM, "detector": detector}), daily(120, (3, 4), 80)
    straight, stopped = begun(plan, p[:60]), begun(plan, p[:60])
    expected = played(straight, plan, p[60:], 60)
    played(stopped, plan, p[60:at], 60)
    restored = Watch.of({name: array.copy() for name, array in stopped.arrays().items()})
    np.testing.assert_array_equal(played(restored, plan, p[at:], at), expected[at - 60 :])
    assert expected.any()
    for name, array in straight.arrays().items():
        assert restored.arrays()[name].tobytes() == array.tobytes(), name
