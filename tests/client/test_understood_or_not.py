"""What an owner or an app says is understood as it was meant, or not at all: nothing is half-understood."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from client.answers import answer
from client.profile import Profile
from client.vault.consent import Consent
from shared.codec import decode
from shared.errors import InputError
from shared.events import Step
from shared.messages import REGISTER
from tests.client.test_device import raise_alerts
from tests.client.test_only_forward import T, query
from tests.world.basics import make_plan, view

PLAN = make_plan(detection={"detector": "rate", "rate_threshold": 0.3, "quiet_steps": 1})


@pytest.mark.parametrize("choice", [Consent.IDENTIFIED, "identified"])
def test_consent_tells_from_now_on_however_it_is_spelled(new_device, choice):
    device = new_device()
    assert raise_alerts(device, PLAN)
    assert device.consent(choice) is Consent.IDENTIFIED
    out = answer(query(T, 50), "alerts_query", lambda: nullcontext(device))
    assert decode(REGISTER, out)[1]["alerts"] == [], "not those of before"
    assert device.consent("local") is Consent.LOCAL


@pytest.mark.parametrize("choice", ["IDENTIFIED", "everything", "", True, 2, b"identified", [Consent.IDENTIFIED]])
def test_what_is_no_choice_changes_nothing(new_device, choice):
    with new_device(Consent.RANDOMISED) as device:
        before = device._vault.decisions.all()
        assert device.consent(choice) is Consent.RANDOMISED
        assert device._vault.decisions.all() == before and sum(device.problems.values()) == 1


@pytest.mark.parametrize("paused", ["yes", "no", "", 1, 0, None, np.bool_(True)])
def test_what_is_neither_true_nor_false_pauses_nobody_and_wakes_nobody(new_device, paused):
    with new_device() as device:
        for now in (False, True):
            assert device.pause(now) is now
            assert device.pause(paused) is now
        assert device.problems == {"InputError": 2}


@pytest.mark.parametrize("step", ["5", 5.0, 5.7, True, None, float("nan"), [5]])
def test_what_is_no_step_closes_nothing(new_device, step):
    with new_device() as device:
        device.record(view(0))
        assert device.close_until(step) is False and device.catch_up([view(1)], step) is False
        assert device.n_closed_steps == 0 and device.problems == {"InputError": 2}
        assert device.close_until(np.int64(2)) and device.n_closed_steps == 2


def test_an_alert_that_is_only_nearly_one_is_not_explained_as_another(new_device):
    device = new_device()
    alert = raise_alerts(device, PLAN)[-1]
    told = device.explain(alert)
    assert told is not None and device.explain(replace(alert, direction=int(alert.direction))) == told
    for wrong in ({"direction": "fall"}, {"direction": 7}, {"category": -1}, {"category": "0"}, {"step": 1.5}):
        assert device.explain(replace(alert, **wrong)) is None
    assert device.explain("the last one") is None
    assert sum(device.problems.values()) == 6


GOOD = {"step": Step.DAY, "n_categories": 4, "catalogue_sha256": bytes(32), "server_key": bytes(32)}


def test_a_profile_s_words_become_what_they_mean():
    spelled = Profile(**{**GOOD, "step": "day", "consent": "randomised"})
    assert spelled == Profile(**GOOD, consent=Consent.RANDOMISED) and spelled.consent is Consent.RANDOMISED
    assert spelled.step is Step.DAY


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": "hour"},
        {"consent": "all"},
        {"n_categories": "4"},
        {"n_categories": 4.0},
        {"n_categories": True},
        {"n_categories": 0},
        {"catalogue_sha256": "x" * 32},
        {"catalogue_sha256": bytes(31)},
        {"server_key": "x" * 32},
        {"origin_s": float("nan")},
        {"origin_s": "0"},
        {"audience": b"north"},
        {"audience": None},
        {"audience": "x" * 65},
        {"audience": "é" * 33},
        {"audience": "\ud800"},
        {"number": "7"},
        {"number": 2**64},
    ],
)
def test_a_profile_that_is_only_nearly_one_is_refused(wrong):
    with pytest.raises(InputError):
        Profile(**{**GOOD, **wrong})
