"""Segments by one's own recency, frequency and amount; a table with an answer to every case."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client import state
from client.detection.alerts import Alert, alert_fields
from client.detection.policy import POLICY, Intervention, Policy, Segment, segments
from client.detection.risk_levels import Direction, RiskLevel
from client.device import Device
from client.vault.consent import Consent
from shared.errors import ConfigError, InputError
from shared.events import EventKind
from shared.features import History
from shared.messages import REGISTER
from shared.register.kinds import ListOf
from tests.world.basics import (
    Diary,
    examples,
    make_plan,
    make_profile,
    open_device,
    random_history,
    ready,
    replayed_entropy,
    view,
)
from tests.world.spellings import spelled, value_of

WINDOW = 20


def one(active_steps: list[int], amount: float, n_steps: int = 40) -> History:
    """A user with one category, active at those steps, spending `amount` at each."""
    active = np.zeros((1, n_steps), bool)
    active[0, active_steps] = True
    return History(active, active.astype(np.float32), active * np.float32(amount))


@pytest.mark.parametrize(
    ("steps", "amount", "expected"),
    [
        ([], 0.0, Segment.LOW),
        ([0, 1, 2, 3, 19], 500.0, Segment.LOW),  # all of it before the window
        ([25], 0.0, Segment.LOW),
        ([31], 25.0, Segment.MIDDLE),
        ([39, 38], 0.0, Segment.MIDDLE),  # recent (2), active in a tenth of the window (1)
        ([30, 28, 26, 24, 22, 21], 25.0, Segment.HIGH),  # silent for 9 of 20 (1), often (2), much (2)
        ([39, 37, 35, 33, 31, 29], 5.0, Segment.HIGH),
        ([39, 37, 35, 33, 31, 29], 4.9, Segment.MIDDLE),
    ],
)
def test_segments_follow_from_fixed_bounds(steps, amount, expected):
    assert segments(one(steps, amount), WINDOW) == expected


@examples(40)
@given(st.integers(0, 2**32), st.floats(0.02, 0.9), st.integers(1, 60))
def test_many_users_at_once_are_each_alone_and_more_spending_is_never_worth_less(seed, rate, window):
    history = random_history(np.random.default_rng(seed), (6, 3, 50), rate)
    together = segments(history, window)
    assert together.shape == (6,)
    richer = segments(History(history.active, history.count, history.amount * 3), window)
    assert (richer >= together).all()
    for k in range(6):
        alone = history[k]
        assert segments(alone, window) == together[k]


def test_every_segment_occurs_among_different_users():
    random = np.random.default_rng(0)
    histories = [random_history(random, (50, 3, 50), rate) for rate in (0.005, 0.05, 0.5)]
    assert {int(s) for h in histories for s in segments(h, WINDOW)} == set(Segment)


def test_a_device_without_a_closed_step_is_low_and_a_window_must_hold_a_step():
    assert segments(History.empty(3), WINDOW) == Segment.LOW
    with pytest.raises(InputError, match="expected window_steps >= 1, got 0"):
        segments(History.empty(3), 0)


def test_the_policy_answers_every_case_and_spends_on_likely_falls_of_good_users_only():
    every = POLICY.choose(*np.ix_(list(Segment), list(Direction), list(RiskLevel)))
    assert every.shape == (3, 2, 3)
    assert (every[:, Direction.RISE] < Intervention.SMALL_OFFER).all()
    for axis in (0, 2):  # a better user, a higher risk: never less
        assert (np.diff(every, axis=axis) >= 0).all()
    assert POLICY.choose(Segment.HIGH, Direction.FALL, RiskLevel.HIGH) == Intervention.LARGE_OFFER
    assert POLICY.choose(Segment.LOW, Direction.FALL, RiskLevel.LOW) == Intervention.NOTHING


@pytest.mark.parametrize("table", [(), ((0, 1),), np.zeros((3, 2, 2), int), np.full((3, 2, 3), 5), ((0,), (1, 2))])
def test_a_table_with_a_gap_or_an_unknown_intervention_is_refused(table):
    with pytest.raises(ConfigError, match=r"expected a table of \(3, 2, 3\) interventions"):
        Policy(table)


# ---- on the device: alerts carry the segment and the intervention of their moment

HANDS_OFF = Policy(np.full((len(Segment), len(Direction), len(RiskLevel)), Intervention.NOTHING).tolist())


def lived(device: Device) -> Device:
    """Two interests that begin and stop, with money in the first."""
    for step in range(8):
        device.record(view(step, 0, EventKind.PURCHASE, 30.0))
    for step in (9, 10, 11, 25, 26, 27, 28):
        device.record(view(step, 1))
    device.close_until(45)
    return device


def test_each_alert_carries_the_segment_of_its_moment_and_what_the_table_chose(new_device):
    diary, plan = Diary(), make_plan()
    device = lived(ready(new_device(on_step=diary.write), plan))
    assert len(device.alerts()) > 3 and device.alerts() == diary.alerts and not device.problems
    for alert in device.alerts():
        now = segments(device._state.history.until(alert.step), plan.features.window_steps)
        assert alert.segment == now and alert.intervention == POLICY.choose(now, alert.direction, alert.level)
    assert len({alert.segment for alert in device.alerts()}) > 1
    assert {type(alert.segment) for alert in device.alerts()} == {Segment}


def test_an_app_s_own_policy_chooses_from_then_on_and_what_was_said_stays_said(tmp_path):
    with open_device(tmp_path, make_profile()) as device:
        lived(ready(device, make_plan()))
        said = device.alerts()
    with open_device(tmp_path, policy=HANDS_OFF) as device:
        assert device.alerts() == said
        for step in range(46, 50):
            device.record(view(step, 2))
        device.close_until(50)
        later = device.alerts()[len(said) :]
    assert later and {alert.intervention for alert in later} == {Intervention.NOTHING}
    assert Intervention.NOTHING not in {alert.intervention for alert in said}


@pytest.mark.parametrize("consent", [Consent.IDENTIFIED, Consent.LOCAL])
def test_what_leaves_is_the_same_to_the_byte_whatever_the_policy(new_device, consent):
    replies = []
    for policy in (POLICY, HANDS_OFF):
        device = lived(ready(new_device(consent, policy=policy, entropy=replayed_entropy(1)), make_plan()))
        fields = alert_fields(45, device.take_alerts(45))
        assert len(fields["alerts"]) > 3
        replies.append(device.gate.release(b"asked", "alerts", fields))
        left = device.what_left()[-1].content
        assert len(left["alerts"]) == (len(fields["alerts"]) if consent is Consent.IDENTIFIED else 0)
    assert replies[0] == replies[1]


def test_no_message_has_a_field_for_a_segment_or_an_intervention():
    def names(fields):
        for name, field in fields.items():
            yield name
            yield from names(field.type.fields) if isinstance(field.type, ListOf) else ()

    found = {name for kind in REGISTER.values() for name in names(kind.fields)}
    assert {"direction", "level"} <= found and not {"segment", "intervention", "policy", "began"} & found


def test_alerts_are_kept_as_they_were_with_the_query_that_took_each():
    alerts = [
        (Alert(Direction.FALL, 3, RiskLevel.HIGH, 11, 61, Segment.LOW, Intervention.NOTHING, 7), -1),
        (Alert(Direction.RISE, 1, RiskLevel.LOW, 13, 61, Segment.HIGH, Intervention.REMIND), 13),
    ]
    stored = value_of(spelled(state.plain_alerts(alerts)))
    assert [alert.began for alert, _ in state.alerts(stored)] == [7, None]
    assert state.alerts(stored) == alerts and state.alerts(state.plain_alerts([])) == []
