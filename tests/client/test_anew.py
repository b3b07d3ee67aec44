"""A copy is noticed; a new device begins where one was, with what was spent, and only when it is asked for."""

import shutil

import numpy as np
import pytest

from client.answers import open_and_answer as answer
from client.device import Device
from client.privacy.caps import Caps
from client.vault.consent import Consent
from client.vault.erasure import PAST_MARKER
from client.vault.keys import FileKeys
from shared.clock import ReplayClock
from shared.codec import decode
from shared.errors import ConfigError, DeviceCopied, Forgotten, InputError, KeyMissing, VaultBusy, VaultRolledBack
from shared.messages import REGISTER
from shared.rdp import coin
from tests.world.basics import event_stream, make_profile, view
from tests.world.signing import signed_request

DAY_S = 86_400


def keys(folder, passphrase=b"correct horse") -> FileKeys:
    return FileKeys(folder, passphrase, n=2, r=1, p=1)


def opened(folder, profile=None, **arguments) -> Device:
    return Device.open(folder, profile, keys=keys(folder), clock=ReplayClock(40.0 * DAY_S), **arguments)


def begun(folder, **arguments) -> Device:
    given = {"keys": keys(folder), "clock": ReplayClock(40.0 * DAY_S)}
    return Device.start_anew(folder, make_profile(number=-1), **{**given, **arguments})


def lived(folder) -> Device:
    device = opened(folder, make_profile(Consent.RANDOMISED), caps=Caps())
    device.catch_up(event_stream(np.random.default_rng(0), 20), 20)
    device.gate.release(bytes(32), "alert_bit", {"step": 12, "epsilon_micro": 10**6, "bit": 1}, coin(1.0))
    return device


def ask(device_of) -> str:
    return decode(REGISTER, answer(signed_request("alerts_query", {"step": 9}), "alerts_query", device_of))[0]


def test_a_copy_is_refused_by_name_and_begins_anew_with_what_was_spent(tmp_path):
    home, copy = tmp_path / "phone", tmp_path / "restored"
    device = lived(home)
    spent, number = device.gate.ledger.epsilon(1), device.profile.number
    assert spent > 0
    device.close()
    shutil.copytree(home, copy)
    with pytest.raises(DeviceCopied):
        opened(copy)
    assert ask(lambda: opened(copy)) == "refusal", "two phones never answer for one device"
    with begun(copy) as anew:
        assert anew.gate.ledger.epsilon(1) == spent and anew.profile.number != number
        assert anew.n_closed_steps == 0 and not anew.alerts() and anew.record(view(30))
    with opened(copy) as anew, opened(home) as device:
        assert anew.gate.ledger.epsilon(1) == device.gate.ledger.epsilon(1) == spent
        assert device.profile.number == number and device.n_closed_steps == 20, "the original is as it was"
        assert ask(lambda: anew) == "alerts", "nobody was told that it was forgotten"


@pytest.mark.parametrize("lost", ["rolled back", "database", "key", "passphrase"])
def test_where_nobody_can_know_what_was_spent_a_new_device_begins_with_nothing_spent(tmp_path, lost):
    home = tmp_path / "phone"
    device = lived(home)
    device.close()
    shutil.copytree(home, tmp_path / "backup")
    with opened(home) as device:
        device.pause(True)
    if lost == "rolled back":
        shutil.copy(tmp_path / "backup" / "vault.db", home / "vault.db")
    if lost == "database":
        (home / "vault.db").unlink()
    if lost == "key":
        (home / FileKeys.KEY_FILE).unlink()
    given = keys(home, b"another one") if lost == "passphrase" else keys(home)
    if lost != "passphrase":
        with pytest.raises((VaultRolledBack, KeyMissing)):
            opened(home, make_profile())
    with begun(home, keys=given) as anew:
        assert anew.gate.ledger.epsilon(1) == 0 and anew.consent() == "local" and not anew.gate.decision.paused
        assert anew.record(view(30))


def test_after_forget_a_device_begins_only_when_asked_and_the_notice_goes_out_once(tmp_path):
    home = tmp_path / "phone"
    lived(home).forget()
    with pytest.raises(Forgotten):
        opened(home, make_profile())
    with begun(home) as anew:
        assert (home / PAST_MARKER).exists()
        assert [ask(lambda: anew) for _ in range(3)][:1] == ["deletion"] and not (home / PAST_MARKER).exists()
    with opened(home) as anew:
        assert ask(lambda: anew) == "alerts"


def test_a_notice_that_went_out_does_not_go_out_again(tmp_path):
    home = tmp_path / "phone"
    device = lived(home)
    device.forget()
    assert ask(lambda: device) == "deletion"
    with begun(home) as anew:
        assert ask(lambda: anew) == "alerts"


def test_nothing_is_destroyed_where_the_arguments_are_none_or_the_vault_is_held(tmp_path):
    home = tmp_path / "phone"
    with lived(home) as device:
        for wrong in ({"caps": 3}, {"clock": "now"}, {"keys": "secret"}, {"limits": {}}, {"colour": 1}):
            with pytest.raises(InputError):
                begun(home, **wrong)
        with pytest.raises(VaultBusy):
            begun(home)
        assert device.record(view(30))
    given = keys(home)
    given.destroy()
    with pytest.raises(ConfigError):
        begun(tmp_path / "other", keys=given)


def test_a_folder_that_may_be_copied_says_so(tmp_path):
    home = tmp_path / "one"
    free = FileKeys(home, "a text", n=2, r=1, p=1, knows_place=False)
    Device.open(home, make_profile(), keys=free, clock=ReplayClock(9.0)).close()
    shutil.copytree(home, tmp_path / "two")
    there = FileKeys(tmp_path / "two", b"a text", n=2, r=1, p=1, knows_place=False)
    Device.open(tmp_path / "two", keys=there, clock=ReplayClock(9.0)).close()
