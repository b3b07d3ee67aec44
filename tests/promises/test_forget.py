"""Forgetting: the key first, then everything; one notice, then refusals; whatever happens half-way."""

import errno
import shutil

import numpy as np
import pytest

from client.device import Device
from client.refusals import last_words
from client.vault import erasure
from client.vault.consent import Consent
from client.vault.erasure import MARKER
from client.vault.keys import FileKeys
from client.vault.store import Store
from shared.codec import decode
from shared.errors import Forgotten, KeyMissing, RefusalCode, VaultError
from shared.messages import REGISTER
from tests.world.basics import cheap_keys, event_stream, make_plan, make_profile, open_device, ready, view
from tests.world.signing import SERVER_KEY

ASKED = bytes(32)
FORGOTTEN = ("refusal", {"code": int(RefusalCode.FORGOTTEN)})


@pytest.fixture
def home(tmp_path):
    return tmp_path / "phone"


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
            patch.setattr("client.vault.erasure.remove", killed)  # in `finish_forgetting`
        with pytest.raises(Killed):
            device.forget()
    assert (home / Store.FILE).exists() and (home / FileKeys.KEY_FILE).exists() == (where == "key"), (
        "the key goes first"
    )
    with pytest.raises(Forgotten):
        open_device(home)
    assert [file.name for file in home.iterdir()] == [MARKER]
    assert decode(REGISTER, last_words(home)) == ("deletion", {})


def no_room(*_):
    raise OSError(errno.ENOSPC, "no space")


def test_a_full_disk_does_not_stop_forgetting(home, tmp_path, monkeypatch):
    lived(home).close()
    device = open_device(home)
    shutil.copytree(home, tmp_path / "copy")
    with monkeypatch.context() as patch:
        patch.setattr("client.vault.erasure.write_durably", no_room)
        patch.setattr("os.fsync", no_room)
        assert device.forget() is False, "there is no room to owe a notice"
    assert list(home.iterdir()) == []
    device.close()
    (tmp_path / "copy" / FileKeys.KEY_FILE).unlink()
    with pytest.raises(KeyMissing):
        open_device(tmp_path / "copy")


def test_room_that_the_database_leaves_is_enough_for_the_notice(home, monkeypatch):
    lived(home).close()
    device = open_device(home)
    real = erasure.write_durably
    monkeypatch.setattr(
        erasure, "write_durably", lambda *write: no_room() if (home / Store.FILE).exists() else real(*write)
    )
    assert device.forget()
    assert [file.name for file in home.iterdir()] == [MARKER]
    assert decode(REGISTER, last_words(home)) == ("deletion", {})


def test_nobody_takes_the_vault_up_while_it_is_forgotten(home, monkeypatch):
    """The key is gone before the file's lock is."""
    lived(home).close()
    device, real, opened = open_device(home), Store.close, []

    def close(store: Store) -> None:
        real(store)
        with pytest.raises(Forgotten):
            open_device(home)
        opened.append(True)

    monkeypatch.setattr(device._vault.store, "close", lambda: close(device._vault.store))
    assert device.forget() and opened
    assert [file.name for file in home.iterdir()] == [MARKER]


def test_who_waited_for_the_vault_while_it_was_forgotten_finds_no_device(home, monkeypatch):
    lived(home).close()
    real = Store.__init__

    def late(store, *arguments, **named):
        with monkeypatch.context() as patch:  # just after the first look
            patch.setattr(FileKeys, "destroy", lambda keys: None)
            erasure.begin_to_forget(home, cheap_keys(home), SERVER_KEY)
        real(store, *arguments, **named)

    monkeypatch.setattr(Store, "__init__", late)
    with pytest.raises(Forgotten):
        open_device(home)
    assert [file.name for file in home.iterdir()] == [MARKER]


@pytest.mark.parametrize("broken", ["damaged", "no key", "wrong key", "no file"])
def test_a_vault_that_does_not_open_can_be_forgotten(home, broken):
    lived(home).close()
    if broken == "damaged":
        (home / Store.FILE).write_bytes(b"canary" * 1000)
    elif broken == "no key":
        (home / FileKeys.KEY_FILE).unlink()
    elif broken == "wrong key":
        (home / FileKeys.KEY_FILE).write_bytes(b"canary")
    else:
        (home / Store.FILE).unlink()
    with pytest.raises(VaultError):
        open_device(home)
    assert Device.forget_at(home, cheap_keys(home), SERVER_KEY)
    assert [file.name for file in home.iterdir()] == [MARKER]
    assert decode(REGISTER, last_words(home)) == ("deletion", {})


def test_a_vault_that_somebody_holds_is_not_forgotten_from_outside(home):
    device = lived(home)
    assert Device.forget_at(home, cheap_keys(home), SERVER_KEY) is False
    assert device.record(view(30)) and device.forget()


def test_a_folder_without_a_forgotten_device_has_no_last_words_but_a_refusal(tmp_path):
    assert decode(REGISTER, last_words(tmp_path)) == FORGOTTEN
