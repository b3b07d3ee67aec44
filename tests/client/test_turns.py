"""Any thread may call a device at any time: its lock, forks, and how it goes when nobody closes it."""

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from client.answers import answer
from client.device import Device
from client.gate import Gate
from client.turns import TakesTurns, Turn
from shared.codec import decode, encode
from shared.errors import RefusalCode, VaultBusy
from shared.messages import REGISTER, REQUESTS
from tests.world.basics import make_plan, make_profile, open_device, ready, view
from tests.world.signing import signed

ROOT = Path(__file__).parents[2]
#: What belongs to the class, before there is a device.
OF_THE_CLASS = {"open", "forget_at", "start_anew"}


class Taken(Exception):
    """The lock was asked for."""


class Guarded:
    """A lock that tells whoever wants it."""

    def __enter__(self):
        raise Taken

    def __exit__(self, *_):
        return


def public(kind: type) -> list[str]:
    return [name for name in dir(kind) if not name.startswith("_") and name not in OF_THE_CLASS]


@pytest.mark.parametrize("kind", [Device, Gate])
def test_whatever_is_public_takes_the_lock_before_anything_else(new_device, kind):
    device = new_device()
    one, lock = (device if kind is Device else device.gate), device._turn.lock
    device._turn.lock = Guarded()
    try:
        for name in public(kind):
            with pytest.raises(Taken):
                found = getattr(one, name)
                found()
    finally:
        device._turn.lock = lock
    assert device._turn is device.gate._turn and len(public(kind)) > 8


def test_what_is_added_later_takes_it_too():
    class More(TakesTurns):
        _turn = Turn()

        def added(self):
            return self._turn.depth

        @property
        def seen(self):
            return self._turn.depth

        @staticmethod
        def apart():
            return 0

    class Most(More):
        def added(self):
            return super().added()

    assert (More().added(), More().seen, Most().added(), More.apart()) == (1, 1, 2, 0)


def test_two_threads_lose_nothing_while_a_third_answers(tmp_path):
    device = ready(open_device(tmp_path, make_profile()), make_plan())
    taken, replies, step_begins = [0, 0], [], threading.Barrier(2, timeout=60)

    def record(i):
        for k in range(400):
            if k % 40 == 0:  # neither runs a step ahead: the other's events would be late, and said to be
                step_begins.wait()
            taken[i] += device.record(view(k // 40, i))

    def reply():
        for step in range(60):
            query = encode(REQUESTS, "alerts_query", {"audience": "", "step": step})
            replies.append(decode(REGISTER, answer(device, signed(query)))[0])

    threads = [threading.Thread(target=work) for work in (lambda: record(0), lambda: record(1), reply)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken == [400, 400] and replies == ["alerts"] * 60 and not device.problems
    before = device._state.history.count.sum(axis=1) + device._state.open_count
    device.close()
    with open_device(tmp_path) as again:
        after = again._state.history.count.sum(axis=1) + again._state.open_count
    np.testing.assert_allclose(after, before, rtol=1e-5)
    np.testing.assert_allclose(after[:2], 400 * 0.2, rtol=1e-4)


def run(code: str, folder: Path) -> subprocess.CompletedProcess:
    """Python code in a process of its own, with a folder as `folder`."""
    head = (
        "import os, sys, threading, time\nfrom pathlib import Path\nfrom tests.world.basics import *\n"
        "folder = Path(sys.argv[1])\n"
    )
    command = [sys.executable, "-c", head + code, str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def kept(folder: Path) -> list[int]:
    """How many views of each category a device has."""
    with open_device(folder) as device:
        return np.rint((device._state.history.count.sum(axis=1) + device._state.open_count) / 0.2).astype(int).tolist()


FORKED = """
device = open_device(folder, make_profile())
device.record(view(0, 0))
if not os.fork():
    said = [device.record(view(0, 1)), device.catch_up([view(0, 1)], 3), device.close_until(2), device.consent("identified"),
        device.pause(), device.gate.refuse(13), device.explain(None), device.what_left()]
    {last}
    print([str(said[0]), str(said[1]), str(said[2])], said[3], said[4], sorted(device.problems), flush=True)
    sys.exit(0)
os.wait()
print(device.record(view(0, 2)), dict(device.problems), flush=True)
other = "from pathlib import Path; import sys; from tests.world.basics import *\\nopen_device(Path(sys.argv[1]))"
import subprocess
print(subprocess.run([sys.executable, "-c", other, str(folder)], capture_output=True, text=True).stderr.splitlines()[-1][:28])
device.close()
"""


@pytest.mark.parametrize(
    "last", ["pass", "device.close()", "print(device.forget())", "del device; import gc; gc.collect(); os._exit(0)"]
)
def test_a_forked_process_changes_nothing_and_says_so(tmp_path, last):
    """Its end, too, is an ordinary one: interpreters close what they hold."""
    done = run(FORKED.format(last=last), tmp_path)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and not done.stderr.count("Traceback"), done.stderr
    assert lines[-2:] == ["True {}", "shared.errors.VaultBusy: exp"]
    if "gc" not in last:
        assert lines[-3].startswith("['False', 'False', 'False'] local False ") and "'VaultForked'" in lines[-3]
        assert last != "print(device.forget())" or lines[0] == "False"
    assert kept(tmp_path) == [1, 0, 1, 0]


def test_a_child_of_a_thread_s_fork_waits_for_nobody(tmp_path):
    """The lock was another thread's when the process was forked."""
    code = """
device = open_device(folder, make_profile())
held, done = threading.Event(), threading.Event()
def hold():
    with device._turn.lock:
        held.set(); done.wait()
threading.Thread(target=hold).start(); held.wait()
child = os.fork()
if not child:
    print(device.record(view(0)), dict(device.problems), flush=True); os._exit(0)
os.waitpid(child, 0); done.set()
print(device.record(view(0)), flush=True)
"""
    assert run(code, tmp_path).stdout.splitlines() == ["False {'VaultForked': 1}", "True"]


def test_a_child_answers_with_a_refusal_and_keeps_it_to_itself(tmp_path):
    device = ready(open_device(tmp_path, make_profile()), make_plan())
    query = signed(encode(REQUESTS, "alerts_query", {"audience": "", "step": 3}))
    read, write = os.pipe()
    if not (child := os.fork()):
        os.write(write, answer(device, query))
        os._exit(0)
    os.waitpid(child, 0)
    assert decode(REGISTER, os.read(read, 1000)) == ("refusal", {"code": int(RefusalCode.INTERNAL)})
    assert decode(REGISTER, answer(device, query))[0] == "alerts" and not device.refused()


def test_the_hold_is_not_lost_with_another_descriptor_of_the_same_file(tmp_path):
    """POSIX drops all locks of a process on a file when it closes any descriptor of it."""
    device = open_device(tmp_path, make_profile())
    (tmp_path / "vault.db").read_bytes()
    assert "VaultBusy" in run("open_device(folder)", tmp_path).stderr.splitlines()[-1]
    with pytest.raises(VaultBusy):
        open_device(tmp_path)
    assert not Device.forget_at(tmp_path, device._vault.keys, device.profile.server_key)
    assert device.record(view(0)) and not device.problems
    device.close()
    assert kept(tmp_path) == [1, 0, 0, 0]


def test_who_waits_in_the_same_process_gets_it(tmp_path):
    device, waits = open_device(tmp_path, make_profile()), threading.Event()
    found = []

    def other():
        waits.set()
        with open_device(tmp_path, wait_s=60) as again:
            found.append(again.record(view(0, 1)))

    thread = threading.Thread(target=other)
    thread.start()
    waits.wait()
    assert device.record(view(0)) and not found
    device.close()
    thread.join()
    assert found == [True] and kept(tmp_path) == [1, 1, 0, 0]


def test_a_device_that_was_closed_is_not_forgotten_under_whoever_opened_it_since(tmp_path):
    first = open_device(tmp_path, make_profile())
    first.close()
    with open_device(tmp_path) as device:
        assert not first.forget() and device.record(view(0))
    assert kept(tmp_path) == [1, 0, 0, 0]
    assert first.forget() and first.forget() and not (tmp_path / "vault.db").exists()


def test_a_device_that_nobody_closes_lets_go_when_nobody_has_it(tmp_path):
    device = open_device(tmp_path, make_profile())
    assert device.record(view(0))
    del device
    gc.collect()
    assert kept(tmp_path) == [1, 0, 0, 0]


def test_a_process_ends_while_its_threads_record(tmp_path):
    code = """
device = ready(open_device(folder, make_profile()), make_plan())
def work(i):
    n = 0
    while device.record(view(n // 50, i)):
        n += 1; sys.stdout.write(f"{i}\\n"); sys.stdout.flush()
for i in range(4):
    threading.Thread(target=work, args=(i,), daemon=True).start()
time.sleep(1)
"""
    done = run(code, tmp_path)
    said = [line for line in done.stdout.split("\n") if line]
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    counts = kept(tmp_path)
    assert len(said) > 20 and all(counts[i] >= said.count(str(i)) for i in range(4))


def test_a_device_that_nobody_refers_to_lets_go_of_its_vault_at_once(tmp_path):
    """Python looks for cycles when it likes, and SQLite's connections are in one."""
    gc.disable()
    try:
        for _ in range(3):
            assert open_device(tmp_path / "phone", make_profile()).record(view(3))
        with open_device(tmp_path / "phone") as device:
            assert device._state.open_count.sum() > 0
    finally:
        gc.enable()
