"""A process that is killed while a device begins anew, at any line of it: what was spent is never forgotten."""

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import client
from client.device import Device
from client.privacy.caps import Cap, Caps, LedgerLine
from client.vault import erasure
from client.vault.consent import Consent
from client.vault.erasure import CARRIED
from client.vault.keys import FileKeys
from client.vault.store import Store
from shared.clock import ReplayClock
from shared.errors import EbbtideError, VaultFull
from shared.rdp import coin
from tests.world.basics import SOAK, make_profile, view

ROOM = Path(client.__file__).parent
#: Where files are made, written, given other names and removed.
TRACED = {
    str(ROOM / name)
    for name in ("anew.py", "vault/erasure.py", "vault/keys.py", "vault/store.py", "vault/sqlite_file.py")
}
#: A line in so many is one to be killed at.
EVERY = 3 if SOAK else 211
CAPS = Caps(lines={**Caps().lines, LedgerLine.ALERT_BIT: Cap(3.0, 3.0)})
NUMBER = 5


def keys(folder) -> FileKeys:
    return FileKeys(folder, b"correct horse", n=2, r=1, p=1)


def arguments(folder) -> dict:
    return {"keys": keys(folder), "clock": ReplayClock(40.0 * 86_400)}


def begun(folder) -> Device:
    return Device.start_anew(folder, make_profile(number=-1), **arguments(folder))


def killed(work: Callable[[], object], line: int) -> bool:
    """Whether a process of its own was killed at so many traced lines into `work`; else that ended well."""
    child = os.fork()
    if not child:
        n = 0

        def count(frame, event, _):
            nonlocal n
            if event == "call" and frame.f_code.co_filename not in TRACED:
                return None
            n += event == "line"
            if n > line:
                os._exit(9)
            return count

        try:
            sys.settrace(count)
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9


@pytest.fixture(scope="module")
def spent(tmp_path_factory) -> tuple[Path, float]:
    """A device's folder, and the epsilon that it spent."""
    home = tmp_path_factory.mktemp("spent") / "phone"
    with Device.open(home, make_profile(Consent.RANDOMISED, NUMBER), caps=CAPS, **arguments(home)) as device:
        device.gate.release(bytes(32), "alert_bit", {"step": 12, "epsilon_micro": 10**6, "bit": 1}, coin(1.0))
        device.record(view(30))
        return home, device.gate.ledger.epsilon(1)


def expect_spent(device: Device, epsilon: float) -> None:
    assert device.gate.ledger.epsilon(1) == epsilon > 0 and device.gate.ledger.caps == CAPS
    assert not [file for file in device._vault.folder.iterdir() if file.name.startswith(CARRIED)]


@pytest.mark.parametrize("then", ["open", "anew", "killed again"])
def test_wherever_it_is_killed_what_was_spent_stays_spent(tmp_path, spent, then):
    home, epsilon = spent
    line, seen = 0, set()
    while True:
        folder = tmp_path / str(line)
        shutil.copytree(home, folder)
        was_killed = killed(lambda folder=folder: begun(folder).close(), line)
        if then == "killed again":
            killed(lambda folder=folder: begun(folder).close(), line)
        try:
            if then == "open":
                with Device.open(folder, make_profile(number=-1), **arguments(folder)) as device:
                    expect_spent(device, epsilon)
                    assert device.profile.number != NUMBER, "a copy does not open"
                    seen.add("opens")
        except EbbtideError as error:
            seen.add(type(error).__name__)
        with begun(folder) as device:
            expect_spent(device, epsilon)
            assert device.n_closed_steps == 0 and device.profile.number != NUMBER and device.record(view(30))
        with Device.open(folder, **arguments(folder)) as device:
            expect_spent(device, epsilon)
        shutil.rmtree(folder)
        if not was_killed:
            break
        line += EVERY
    assert line > 800, "it is traced"
    if then == "open":
        assert {"opens", "DeviceCopied"} <= seen <= {"opens", "DeviceCopied", "WrongKey", "VaultRolledBack"}, seen


def no_room(*_):
    raise OSError(errno.ENOSPC, "no room")


@pytest.mark.parametrize("at", ["carried", "key", "anchor"])
def test_a_disk_that_is_full_leaves_a_device_that_can_begin_anew_once_there_is_room(tmp_path, spent, monkeypatch, at):
    home, epsilon = spent
    folder = tmp_path / "phone"
    shutil.copytree(home, folder)
    module, name = {
        "carried": (erasure, "write_durably"),
        "key": (FileKeys, "_write"),
        "anchor": (FileKeys, "_make_anchor"),
    }[at]
    with monkeypatch.context() as patch:
        patch.setattr(module, name, no_room)
        with pytest.raises(VaultFull):
            begun(folder)
    with begun(folder) as device:
        expect_spent(device, epsilon)
    assert (folder / Store.FILE).exists()
