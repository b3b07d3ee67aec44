"""Whose decision lets counts into sums: the rule, its order, and what is written down of it."""

from itertools import product

import pytest

from client.gate import allows
from client.vault.consent import CHOICES, Consent, Decision, stricter
from shared.messages import REGISTER
from tests.world.basics import make_profile, open_device

LOCAL, SUMMED, RANDOMISED, IDENTIFIED = Consent.LOCAL, Consent.SUMMED, Consent.RANDOMISED, Consent.IDENTIFIED


def may_leave(consent: Consent) -> set[str]:
    return {name for name, kind in REGISTER.items() if kind.consent and allows(consent, kind)}


def test_each_decision_lets_out_just_this():
    sums = {"evaluation", "alert_counts"}
    assert may_leave(LOCAL) == set()
    assert may_leave(SUMMED) == sums
    assert may_leave(RANDOMISED) == sums | {"alert_bit"}
    assert may_leave(IDENTIFIED) == sums | {"alerts"}


@pytest.mark.parametrize(("a", "b"), [*product(Consent, Consent)])
def test_what_two_decisions_both_allow_is_what_the_stricter_one_does(a, b):
    both = stricter(Decision(1.0, a), Decision(2.0, b, paused=True))
    assert may_leave(both.consent) == may_leave(a) & may_leave(b) and both.paused and both.time_s == 2.0


def test_numbers_of_earlier_rows_mean_what_they_meant():
    assert CHOICES[:3] == (LOCAL, RANDOMISED, IDENTIFIED) and set(CHOICES) == set(Consent)


def test_nobody_decided_is_local_unless_the_app_says_otherwise_and_a_decision_stands(tmp_path):
    with open_device(tmp_path / "silent", make_profile()) as device:
        assert device.consent() is LOCAL
    with open_device(tmp_path / "app", make_profile(SUMMED)) as device:
        assert device.consent() is SUMMED
        assert device.consent(LOCAL) is LOCAL
    with open_device(tmp_path / "app", make_profile(SUMMED)) as device:
        assert device.consent() is LOCAL, "the user decided, whatever default an app has"
        assert device.consent("summed") is SUMMED
    with open_device(tmp_path / "app") as device:
        assert device.consent() is SUMMED
