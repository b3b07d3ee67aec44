"""What a user may ask of their device: what left, consent, pause; dated, written down, and never raising."""

import pytest

from client.privacy.caps import Caps
from client.vault.consent import Consent, Decision
from client.vault.store import Store
from client.vault.vault import Limits
from shared.clock import ReplayClock
from shared.codec import decode
from shared.errors import RefusalCode, VaultError
from shared.messages import REGISTER
from shared.rdp import coin
from tests.client.test_gate import ALERT
from tests.world.basics import Diary, make_plan, make_profile, open_device, ready, view

ASKED = bytes(32)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "phone"


def test_consent_is_dated_revocable_journalled_and_survives_a_restart(home):
    clock = ReplayClock(100.0)
    with open_device(home, make_profile(), clock=clock) as device:
        assert device.consent() is Consent.LOCAL, "the default"
        for time_s, choice in ((200.0, Consent.IDENTIFIED), (300.0, Consent.RANDOMISED), (400.0, Consent.LOCAL)):
            clock.wait_until(time_s)
            assert device.consent(choice) is choice is device.consent()
        device.consent(Consent.LOCAL)
        decided = device._vault.journal.entries()
    with open_device(home) as device:
        assert device._vault.decisions.all() == [
            Decision(100.0, Consent.LOCAL),
            Decision(200.0, Consent.IDENTIFIED),
            Decision(300.0, Consent.RANDOMISED),
            Decision(400.0, Consent.LOCAL),
        ]
        assert device._vault.journal.entries() == decided
        assert [(e.time_s, e.content["consent"]) for e in decided if "consent" in e.content] == [
            (200.0, "identified"),
            (300.0, "randomised"),
            (400.0, "local"),
        ]
        assert device.what_left() == [], "a decision does not leave"


def test_a_choice_that_cannot_be_written_down_does_not_hold(home, monkeypatch):
    def broken(*_, **__):
        raise VaultError("no")

    with open_device(home, make_profile()) as device:
        with monkeypatch.context() as patch:
            patch.setattr(Store, "append", broken)
            assert device.consent(Consent.IDENTIFIED) is Consent.LOCAL
            assert device.consent("everything") is Consent.LOCAL
            assert device.pause() is False, "it is not written down"
        assert device.problems == {"VaultError": 2, "InputError": 1}
        assert device.consent() is Consent.LOCAL


@pytest.mark.parametrize("before", [Consent.IDENTIFIED, Consent.RANDOMISED])
def test_a_restriction_that_cannot_be_written_down_holds_all_the_same_and_says_so(home, monkeypatch, before):
    def broken(*_, **__):
        raise VaultError("no")

    def asked(name: str, fields: dict) -> tuple[str, dict]:
        return decode(REGISTER, device.gate.answer(ASKED, lambda: device.gate.release(ASKED, name, fields, coin(1.0))))

    answers = {
        Consent.IDENTIFIED: ("alerts", {"step": 1, "alerts": [ALERT]}),
        Consent.RANDOMISED: ("alert_bit", {"step": 1, "epsilon_micro": 1_000_000, "bit": 1}),
    }
    nothing = {
        Consent.IDENTIFIED: ("alerts", {"step": 1, "alerts": []}),
        Consent.RANDOMISED: ("refusal", {"code": int(RefusalCode.CONSENT)}),
    }
    with open_device(home, make_profile(before), caps=Caps()) as device:
        assert asked(*answers[before]) == answers[before]
        with monkeypatch.context() as patch:
            patch.setattr(Store, "append", broken)
            assert device.consent(Consent.LOCAL) is before, "what is written down is said"
            assert asked(*answers[before]) == nothing[before], "and what was sent before is not sent again"
            assert device.pause() is False
            assert asked(*answers[before]) == ("refusal", {"code": int(RefusalCode.PAUSED)})
        assert asked(*answers[before]) == ("refusal", {"code": int(RefusalCode.PAUSED)}), "still"
        assert device.pause(False) is False and device.consent() is Consent.LOCAL, "one write brings both"
        assert asked(*answers[before]) == nothing[before]
        assert device.consent(before) is before


def test_a_bit_or_alerts_that_wait_in_the_outbox_go_when_consent_does(home):
    bit = {"step": 1, "epsilon_micro": 1_000_000, "bit": 1}
    with open_device(home, make_profile(Consent.RANDOMISED), caps=Caps()) as device:
        device.gate.release(ASKED, "alert_bit", bit, coin(1.0))
        device.consent(Consent.LOCAL)
        answer = device.gate.answer(ASKED, lambda: device.gate.release(ASKED, "alert_bit", bit, coin(1.0)))
        assert decode(REGISTER, answer) == ("refusal", {"code": int(RefusalCode.CONSENT)})
        device.consent(Consent.RANDOMISED)
        answer = device.gate.answer(ASKED, lambda: device.gate.release(ASKED, "alert_bit", bit, coin(1.0)))
        assert decode(REGISTER, answer) == ("refusal", {"code": int(RefusalCode.STALE)}), "one bit a step"


def test_identified_alerts_that_were_folded_away_are_still_told_apart(home):
    with open_device(home, make_profile(Consent.IDENTIFIED), limits=Limits(journal_entries=2)) as device:
        device.gate.release(ASKED, "alerts", {"step": 1, "alerts": [ALERT]})
        for code in list(RefusalCode)[:9]:
            device.gate.refuse(code)
        assert "alerts" not in {entry.kind for entry in device.what_left()}
        assert device.what_left_before().totals["alerts"].n_outside == 1


def test_a_paused_device_answers_no_round_and_goes_on_counting(home):
    with open_device(home, make_profile()) as device:
        assert device.pause() and device.pause()
        assert device.record(view(0)) and device.record(view(2)) and device.n_closed_steps == 2
    with open_device(home) as device:
        answer = device.gate.answer(ASKED, lambda: pytest.fail("answered"))
        assert decode(REGISTER, answer) == ("refusal", {"code": int(RefusalCode.PAUSED)})
        assert device.pause(False) is False
        assert device.gate.answer(ASKED, lambda: b"answered") == b"answered"
        assert device.consent() is Consent.LOCAL


def test_the_host_app_never_sees_an_exception(home, monkeypatch):
    """Whatever the vault does, every method of an open device returns."""
    diary = Diary()
    plan = make_plan(privacy={"noise_multiplier": 4.0, "min_survivors": 8})
    device = ready(open_device(home, make_profile(), on_step=diary.write, caps=Caps()), plan)

    def broken(*_, **__):
        raise VaultError("canary")

    device.record(view(0))
    for name in ("put", "append", "row", "rows", "transaction", "clear"):
        with monkeypatch.context() as patch:
            patch.setattr(Store, name, broken)
            device.record(view(3)), device.close_until(9), device.what_left(), device.alerts()
            (
                device.consent(Consent.IDENTIFIED),
                device.consent(),
                device.pause(),
                device.interests(),
                device.bursts(),
                device.what_left_before(),
                device.close_until(2),
            )
    for strange in (None, "alert", 3):
        assert device.explain(strange) is None and device.record(strange) is False
    assert device.problems["VaultError"] > 10
    device.pause(False)
    before = device.n_closed_steps
    assert device.record(view(before + 1)) and device.n_closed_steps == before + 1


@pytest.mark.parametrize("choice", list(Consent))
def test_what_a_device_cannot_write_it_never_says_is_written(new_device, choice):
    """Closed, or forked: another answer than what was asked for."""
    device = new_device()
    device.close()
    assert device.consent(choice) is not choice
    assert device.pause() is False and device.pause(False) is True
