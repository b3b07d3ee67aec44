"""What a user may ask of their device: what left, consent, pause, forget; dated, written down, and never raising."""

import shutil

import numpy as np
import pytest

from client.caps import Caps
from client.consent import Consent, Decision
from client.farewell import MARKER, last_words
from client.keys import FileKeys
from client.store import Store
from shared.clock import ReplayClock
from shared.codec import decode
from shared.errors import Forgotten, KeyMissing, RefusalCode, VaultError
from shared.messages import REGISTER

from .conftest import Diary, cheap_keys, event_stream, make_plan, make_profile, open_device, ready, view

ASKED = bytes(32)
FORGOTTEN = ("refusal", {"code": int(RefusalCode.FORGOTTEN)})


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
        assert [(e.time_s, e.content["consent"]) for e in decided] == [
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
            assert device.pause() is True, "on doubt, send nothing"
        assert device.problems == {"VaultError": 2, "ValueError": 1}
        assert device.consent() is Consent.LOCAL and not device._vault.decisions.now.paused


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


def lived(home, consent: Consent = Consent.IDENTIFIED):
    device = ready(open_device(home, make_profile(consent)), make_plan())
    for event in event_stream(np.random.default_rng(0), 15):
        assert device.record(event)
    return device


def test_after_forget_nothing_is_there_nothing_decrypts_and_nothing_raises(home, tmp_path):
    device = lived(home)
    assert device.alerts() and not np.isnan(device.interests()).all()
    device.close()
    shutil.copytree(home, tmp_path / "old copy")
    device = open_device(home)
    assert device.forget()
    assert [file.name for file in home.iterdir()] == [MARKER]
    assert device.record(view(20)) is False and device.close_until(30) is False
    assert device.alerts() == [] and device.what_left() == [] and np.isnan(device.interests()).all()
    assert device.consent() is Consent.LOCAL and device.consent(Consent.IDENTIFIED) is Consent.LOCAL
    assert device.pause() is True and device.forget()
    device.close()
    assert device.problems["Forgotten"] == 1
    with pytest.raises(Forgotten):
        open_device(home, make_profile())
    old = tmp_path / "old copy"
    (old / FileKeys.KEY_FILE).unlink()  # the key file was not kept
    with pytest.raises(KeyMissing):
        open_device(old)
    (old / FileKeys.ANCHOR_FILE).unlink()
    cheap_keys(old).wrap(bytes(32))  # the right passphrase, and a new key
    with pytest.raises(VaultError):
        open_device(old)


def test_the_deletion_notice_goes_out_once_whatever_process_answers(home):
    device = lived(home)
    device.forget()
    answers = [decode(REGISTER, device.gate.answer(ASKED, lambda: pytest.fail("answered"))) for _ in range(2)]
    answers += [decode(REGISTER, last_words(home)) for _ in range(2)]
    assert answers == [("deletion", {}), FORGOTTEN, FORGOTTEN, FORGOTTEN]


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs, no handler catches it."""


@pytest.mark.parametrize("where", ["key", "database"])
def test_killed_half_way_through_forgetting_the_next_process_ends_it(home, monkeypatch, where):
    device = lived(home)
    device.close()
    device = open_device(home)

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        if where == "key":
            patch.setattr(FileKeys, "destroy", killed)
        else:
            patch.setattr("client.farewell.remove", killed)
        with pytest.raises(Killed):
            device.forget()
    assert (home / Store.FILE).exists() and (home / FileKeys.KEY_FILE).exists() == (where == "key"), (
        "the key goes first"
    )
    with pytest.raises(Forgotten):
        open_device(home)
    assert [file.name for file in home.iterdir()] == [MARKER]
    assert decode(REGISTER, last_words(home)) == ("deletion", {})


def test_a_folder_without_a_forgotten_device_has_no_last_words_but_a_refusal(tmp_path):
    assert decode(REGISTER, last_words(tmp_path)) == FORGOTTEN


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
                device.close_until(2),
            )
    assert device.problems["VaultError"] > 10
    device.pause(False)
    before = device.n_closed_steps
    assert device.record(view(before + 1)) and device.n_closed_steps == before + 1
