"""The device: counts, closes steps, scores, detects, trains; survives bad events, jumps, late events and being killed."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.detection.policy import Intervention, Segment
from client.detection.risk_levels import Direction, RiskLevel
from client.device import Alert, Device
from client.model.runtime import pinned_model
from client.model.scorer import Scorer
from client.model.training_rows import labelled_rows
from client.vault.consent import Consent
from shared.errors import Refusal, RefusalCode
from shared.events import ENGAGEMENT, MAX_AMOUNT, BehaviourEvent, EventKind, Step
from shared.features import History
from shared.network import NetworkSpec, forward
from shared.register.bounds import MAX_ALERTS
from tests.world.basics import (
    FEATURES,
    N_CATEGORIES,
    NETWORK,
    NO_RISK,
    Diary,
    activity_theta,
    event_stream,
    examples,
    expected_interest,
    full,
    make_plan,
    make_profile,
    open_device,
    ready,
    replayed_entropy,
    view,
)

DAY_S = Step.DAY.seconds

# ---- the article's worked example, through a whole device


def test_the_article_s_worked_example_on_a_device(new_device, monkeypatch):
    """Scores replaced by the article's .3 .4 .6 .5 / .2 .3 .5 .4 / .1 .2 .4 .5, everything else is real: a rate that
    reaches .2 is an alert on A, B and C at observation 3, a rise, and at no other."""
    observations = np.array([[0.3, 0.2, 0.1, 0.5], [0.4, 0.3, 0.2, 0.5], [0.6, 0.5, 0.4, 0.5], [0.5, 0.4, 0.5, 0.5]])
    rows = iter(observations.astype(np.float32))
    monkeypatch.setattr(Scorer, "score", lambda self, x: next(rows)[None])
    diary = Diary()
    detection = {"detector": "rate", "rate_window_steps": 1, "rate_threshold": 0.2, "quiet_steps": 0}
    device = ready(new_device(on_step=diary.write), make_plan(detection=detection), round_number=5)
    for category in range(N_CATEGORIES):
        device.record(view(0, category))
    device.close_until(4)
    assert diary.steps == [0, 1, 2, 3]
    assert diary.alerts == [
        Alert(Direction.RISE, 0, RiskLevel.LOW, 2, 5, Segment.LOW, Intervention.NOTHING),
        Alert(Direction.RISE, 1, RiskLevel.LOW, 2, 5, Segment.LOW, Intervention.NOTHING),
        Alert(Direction.RISE, 2, RiskLevel.LOW, 2, 5, Segment.LOW, Intervention.NOTHING),
    ]
    assert not device.problems


# ---- events in


def slow_counters(events: list[BehaviourEvent], n_steps: int) -> History:
    count = np.zeros((N_CATEGORIES, n_steps))
    amount = np.zeros((N_CATEGORIES, n_steps))
    kinds = np.zeros((len(EventKind), N_CATEGORIES, n_steps), np.uint8)
    for event in events:
        step = int(event.time_s // DAY_S)
        if step < n_steps:
            count[event.category, step] += ENGAGEMENT[event.kind]
            amount[event.category, step] += event.amount
            kinds[event.kind, event.category, step] += 1
    return History(count > 0, count.astype(np.float32), amount.astype(np.float32), kinds)


@examples(25)
@given(st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_counters_hold_every_event_in_its_own_step_even_if_it_comes_late(tmp_path_factory, seed, shuffled):
    events = event_stream(np.random.default_rng(seed), 9)
    late = list(events)
    shuffled.shuffle(late)
    for order in (events, late):
        device = open_device(tmp_path_factory.mktemp("device"), make_profile())
        assert all(device.record(event) for event in order)
        device.close_until(9)
        expected = slow_counters(events, 9)
        np.testing.assert_array_equal(device._state.history.active, expected.active)
        np.testing.assert_allclose(device._state.history.count, expected.count, rtol=1e-5)
        np.testing.assert_allclose(device._state.history.amount, expected.amount, rtol=1e-5)
        np.testing.assert_array_equal(device._state.history.kinds, expected.kinds)
        assert set(device.problems) <= {"late_event"}


def test_an_event_closes_the_steps_behind_it_in_the_same_call(new_device, plan):
    diary = Diary()
    device = ready(new_device(on_step=diary.write), plan)
    device.record(view(0))
    assert diary.steps == [] and device.n_closed_steps == 0
    device.record(view(3))
    assert diary.steps == [0, 1, 2] and device.n_closed_steps == 3


def test_a_late_event_detects_nothing_again_and_counts_from_the_next_step_on(new_device, plan):
    diary = Diary()
    device = ready(new_device(on_step=diary.write), plan)
    device.record(view(2, category=1))
    before = list(diary.steps)
    assert device.record(view(0, category=3)), "taken"
    assert diary.steps == before and device.n_closed_steps == 2
    device.close_until(3)
    assert diary.steps == [0, 1, 2]
    assert not math.isnan(diary.p[2][3]) and math.isnan(diary.p[1][3])


BAD_EVENTS = [
    BehaviourEvent(EventKind.VIEW, -1, 0.0),
    BehaviourEvent(EventKind.VIEW, N_CATEGORIES, 0.0),
    BehaviourEvent(EventKind.VIEW, 0, -1.0),
    BehaviourEvent(EventKind.VIEW, 0, math.nan),
    BehaviourEvent(EventKind.VIEW, 0, math.inf),
    BehaviourEvent(EventKind.PURCHASE, 0, 0.0, math.nan),
    BehaviourEvent(EventKind.PURCHASE, 0, 0.0, -5.0),
    BehaviourEvent(EventKind.PURCHASE, 0, 0.0, MAX_AMOUNT * 2),
    BehaviourEvent(9, 0, 0.0),
    BehaviourEvent(-1, 0, 0.0),
    BehaviourEvent(None, 0, 0.0),
    BehaviourEvent(EventKind.VIEW, "tea", 0.0),
    BehaviourEvent(EventKind.VIEW, 1.5, 0.0),
    BehaviourEvent(EventKind.VIEW, None, 0.0),
    BehaviourEvent(EventKind.VIEW, 0, "yesterday"),
    BehaviourEvent(EventKind.VIEW, 0, None),
    BehaviourEvent(EventKind.VIEW, 0, 10**400),
    BehaviourEvent(EventKind.PURCHASE, 0, 0.0, "12.50"),
    BehaviourEvent(EventKind.PURCHASE, 0, 0.0, None),
]


def test_a_bad_event_is_counted_and_never_raises_into_the_host(new_device, plan):
    device = ready(new_device(), plan)
    device.record(view(2))
    before = [a.copy() for a in (device._state.history.count, device._state.open_count, device._state.open_amount)]
    for event in BAD_EVENTS:
        assert device.record(event) is False
    assert device.problems == {"event_out_of_range": len(BAD_EVENTS)}
    for was, now in zip(
        before, (device._state.history.count, device._state.open_count, device._state.open_amount), strict=True
    ):
        np.testing.assert_array_equal(was, now)


values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.just([])
    | st.sampled_from(EventKind)
)


@examples(150)
@given(st.lists(st.builds(BehaviourEvent, values, values, values, values), max_size=5))
def test_no_event_whatever_its_types_raises_into_the_host(tmp_path_factory, events):
    device = open_device(tmp_path_factory.mktemp("device"), make_profile())
    for event in events:
        assert device.record(event) in (True, False)
    assert np.isfinite(device._state.open_count).all() and np.isfinite(device._state.open_amount).all()


def test_a_clock_that_goes_back_loses_no_event_and_reopens_no_step(new_device):
    device = new_device()
    device.record(view(5))
    assert device.record(view(1)) and device.record(view(5, category=1))
    assert device.n_closed_steps == 5
    device.close_until(3)
    assert device.n_closed_steps == 5


def test_a_callback_that_fails_is_counted_and_the_device_goes_on(new_device, plan):
    def broken(step, p, alerts):
        raise RuntimeError("the app's own bug")

    device = ready(new_device(on_step=broken), plan)
    device.record(view(0))
    device.close_until(3)
    assert device.problems == {"callback": 3}
    assert device.n_closed_steps == 3 and not math.isnan(device.interests()[0])


# ---- interest, detection, alerts


def test_interest_is_scored_at_every_close_and_never_for_a_category_not_touched_yet(new_device, plan):
    diary = Diary()
    device = ready(new_device(on_step=diary.write), plan)
    for event in event_stream(np.random.default_rng(4), 20, rate=0.25):
        device.record(event)
    device.close_until(20)
    assert diary.steps == list(range(20))
    for step, p in enumerate(diary.p):
        np.testing.assert_allclose(p, expected_interest(device._state.history, step), atol=1e-5)
    np.testing.assert_array_equal(device.interests(), diary.p[-1])


def test_without_a_model_a_device_counts_and_says_nothing(new_device):
    diary = Diary()
    device = new_device(on_step=diary.write)
    device.record(view(0))
    device.close_until(4)
    assert diary.steps == [] and np.isnan(device.interests()).all() and device.take_alerts(4) == []


def test_a_lapse_and_a_rise_are_alerts_when_they_happen(new_device, plan):
    """Interest 0 begins (p .5, then .95 at step 1) and stops after step 7: p goes down to .05 at step 11. Interest 1, hardly
    known by then, is picked up at steps 9 and 10."""
    diary = Diary()
    device = ready(new_device(on_step=diary.write), plan, round_number=3)
    for step in range(8):
        device.record(view(step, 0, EventKind.CART))
    device.record(view(9, 1))
    device.record(view(10, 1))
    device.close_until(20)
    assert diary.alerts == [
        Alert(Direction.RISE, 0, RiskLevel.HIGH, 1, 3, Segment.MIDDLE, Intervention.SUGGEST),
        Alert(Direction.RISE, 1, RiskLevel.HIGH, 10, 3, Segment.MIDDLE, Intervention.SUGGEST),
        Alert(Direction.FALL, 0, RiskLevel.HIGH, 11, 3, Segment.MIDDLE, Intervention.SMALL_OFFER),
    ]


def test_an_interest_is_quiet_for_a_while_after_an_alert_in_one_direction_only(new_device):
    def alert_steps(quiet_steps: int) -> list[tuple[Direction, int]]:
        diary = Diary()
        detection = {"detector": "rate", "rate_threshold": 0.3, "quiet_steps": quiet_steps}
        device = ready(new_device(on_step=diary.write), make_plan(detection=detection))
        for step in range(0, 24, 6):  # p: .05 -> .5, three more steps at .5, then back to .05
            device.record(view(step))
        device.close_until(24)
        return [(alert.direction, alert.step) for alert in diary.alerts]

    rises, falls = [6, 12, 18], [4, 10, 16, 22]
    assert sorted(s for d, s in alert_steps(0) if d is Direction.RISE) == rises
    assert sorted(s for d, s in alert_steps(0) if d is Direction.FALL) == falls
    assert sorted(s for d, s in alert_steps(5) if d is Direction.FALL) == falls
    assert sorted(s for d, s in alert_steps(6) if d is Direction.FALL) == [4, 16]
    assert sorted(s for d, s in alert_steps(6) if d is Direction.RISE) == [6, 18]


def test_new_weights_are_not_a_turn_of_interest(new_device, plan):
    """Two models a world apart: detectors start again on the past as the new one scores it."""
    opposite = activity_theta()
    for part in NETWORK.split(opposite)[-2:]:
        part *= -1  # p becomes 1 - p
    diary = Diary()
    device = ready(new_device(on_step=diary.write), plan, opposite)
    for step in range(8):
        device.record(view(step))
    device.close_until(8)
    assert diary.p[-1][0] < 0.2
    device.install(plan, b"", activity_theta(), NO_RISK, 9)
    assert device.interests()[0] > 0.9, "the past is scored again"
    device.record(view(8))
    device.close_until(9)
    assert diary.p[-1][0] > 0.9 and diary.alerts == []
    device.close_until(14)
    assert [(a.direction, a.model_round) for a in diary.alerts] == [(Direction.FALL, 9)]


def raise_alerts(device: Device, plan) -> list[Alert]:
    """Two rises and, later, two falls."""
    ready(device, plan)
    for step in range(4):
        device.record(view(step, 0))
        device.record(view(step, 1))
    device.close_until(5)
    return device.alerts()


def test_alerts_asked_twice_for_the_same_step_are_the_same_also_after_a_restart(tmp_path, plan):
    device = open_device(tmp_path, make_profile(Consent.IDENTIFIED))
    first = raise_alerts(device, plan)
    assert len(first) == 2
    assert device.take_alerts(4) == first == device.take_alerts(4)
    device.close()
    device = open_device(tmp_path)
    assert device.take_alerts(4) == first
    device.close_until(12)
    second = device.take_alerts(11)
    assert len(second) == 2 and {a.direction for a in second} == {Direction.FALL}
    assert device.take_alerts(11) == second, "and the old ones are not told again"
    assert device.take_alerts(12) == [] == device.take_alerts(11), "what the next query made old is not kept"


def test_alerts_that_nobody_fetches_do_not_grow_without_bound(new_device, plan):
    device = new_device(Consent.IDENTIFIED)
    first = raise_alerts(device, plan)
    device._state = replace(device._state, alerts=[(first[0], -1)] * (MAX_ALERTS + 50))
    device.close_until(12)
    found = device.take_alerts(12)
    assert len(found) == MAX_ALERTS and found[-1].direction is Direction.FALL, "the newest are kept"


# ---- install and update


def test_a_model_for_another_shop_or_another_network_or_of_another_hash_is_refused_and_nothing_changes(
    new_device, plan
):
    device = ready(new_device(), plan)
    device.record(view(0))
    device.close_until(3)
    small = NetworkSpec(27, (8,))
    tampered = bytes([pinned_model()[0] ^ 1]) + pinned_model()[1:]
    theta = activity_theta()
    refusals = [
        (make_plan(catalogue_sha256=bytes(32)), pinned_model(), theta, RefusalCode.PLAN_REFUSED),
        (plan, pinned_model(), theta[:-1], RefusalCode.PLAN_REFUSED),
        (make_plan(network=small), pinned_model(), small.initial_theta(0), RefusalCode.PLAN_REFUSED),
        (make_plan(network=small), b"", small.initial_theta(0), RefusalCode.PLAN_REFUSED),
        (plan, tampered, theta, RefusalCode.MODEL_REFUSED),
    ]
    before = device.interests()
    for other_plan, model, weights, code in refusals:
        with pytest.raises(Refusal) as refused:
            device.install(other_plan, model, weights, NO_RISK, 1)
        assert refused.value.code is code
    np.testing.assert_array_equal(device.interests(), before)
    assert device.work(plan.sha256, theta).update(theta, 1).shape == (NETWORK.n_parameters,)


def test_a_plan_that_was_never_installed_is_refused(new_device, plan):
    device = new_device()
    theta = NETWORK.initial_theta(0)
    for prepare in (lambda: None, lambda: ready(device, make_plan(training={"rows": 17}))):
        prepare()
        with pytest.raises(Refusal) as refused:
            device.work(plan.sha256, theta).update(theta, 1)
        assert refused.value.code is RefusalCode.PLAN_MISMATCH
    ready(device, plan)
    with pytest.raises(Refusal):
        device.work(plan.sha256, theta[:-1]).update(theta[:-1], 1)


def lived(device: Device, plan, seed: int = 0, n_steps: int = 16) -> Device:
    ready(device, plan)
    for event in event_stream(np.random.default_rng(seed), n_steps):
        device.record(event)
    device.close_until(n_steps)
    return device


def test_an_update_moves_the_model_towards_the_device_s_own_labels(new_device):
    """Without noise, the clipped delta is a descent step on the device's own rows."""
    plan = make_plan(privacy={"noise_multiplier": 0.0, "clip_norm": 5.0}, training={"rows": 64, "learning_rate": 0.5})
    device = lived(new_device(), plan)
    theta = NETWORK.initial_theta(1)
    words = device.work(plan.sha256, theta).update(theta, 1)
    delta = words.view(np.int32) * plan.privacy.grid_step
    x, y = labelled_rows(device._state.history, FEATURES, plan.horizon_steps, plan.training.history_steps)

    def cross_entropy(weights: np.ndarray) -> float:
        p = forward(NETWORK, weights.astype(np.float32), x)
        return float(-np.log(np.where(y > 0, p, 1 - p)).mean())

    assert 0.01 < np.linalg.norm(delta) <= 5
    assert cross_entropy(theta + delta) < cross_entropy(theta)


def test_an_update_is_noise_around_the_same_contribution(new_device):
    """The mean over many noise draws is the noiseless contribution; two answers to one request differ."""
    quiet, noisy = (make_plan(privacy={"noise_multiplier": n, "steps_per_clip": 256}) for n in (0.0, 1.0))
    device = lived(new_device(entropy=replayed_entropy("noise")), quiet)
    theta = NETWORK.initial_theta(1)
    exact = device.work(quiet.sha256, theta).update(theta, 1).view(np.int32)
    ready(device, noisy)
    n = full(50)
    draws = np.stack([device.work(noisy.sha256, theta).update(theta, 1).view(np.int32) for _ in range(n)]).astype(
        np.int64
    )
    assert (draws[0] != draws[1]).mean() > 0.9
    noise = draws - exact
    sigma = noisy.privacy.share_sigma
    assert abs(noise.mean()) < 5 * sigma / math.sqrt(noise.size)
    assert abs(noise.var() / sigma**2 - 1) < 5 * math.sqrt(2 / noise.size)
