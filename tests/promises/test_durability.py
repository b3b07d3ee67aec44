"""Power loss, and what is asked of the disk, as the kernel sees it: an event costs no sync, a release syncs the database,
then its anchor, and only then is handed out."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.vault.store import Store
from shared.errors import VaultRolledBack
from tests.client.vault.test_store import POWER, PROCESS, contents, opened
from tests.world.basics import examples

ROOT = Path(__file__).parents[2]
STRACE = shutil.which("strace")
WAL = f"{Store.FILE}-wal"


@examples(30)
@given(st.data())
def test_after_power_loss_everything_of_the_power_class_is_there_and_the_rest_is_a_beginning(tmp_path_factory, data):
    """Power loss cuts SQLite's journal anywhere behind what was synced: by the last POWER transaction, that is."""
    folder = tmp_path_factory.mktemp("store")
    store, n = opened(folder), data.draw(st.integers(0, 6))
    for i in range(4):
        with store.transaction(PROCESS):
            store.append("events", b"before %d" % i)
    with store.transaction(POWER):
        store.put("ledger", 1, b"spent")
    synced = (folder / WAL).stat().st_size
    for i in range(n):
        with store.transaction(PROCESS):
            store.append("events", b"after %d" % i)
    shutil.copytree(folder, folder / "copy")
    store.close()
    journal = folder / "copy" / WAL
    content = journal.read_bytes()
    cut = data.draw(st.integers(synced, len(content)))
    tail = bytes(len(content) - cut) if data.draw(st.booleans()) else b""
    journal.write_bytes(content[:cut] + tail)
    found = contents(opened(folder / "copy"))
    assert found["ledger"] == {1: b"spent"}
    events = list(found["events"].values())
    assert events[:4] == [b"before %d" % i for i in range(4)]
    assert events[4:] == [b"after %d" % i for i in range(len(events) - 4)]


def test_a_journal_of_sqlite_that_is_taken_away_is_a_rolled_back_database(tmp_path):
    store = opened(tmp_path)
    with store.transaction(POWER):
        store.put("ledger", 1, b"spent")
    shutil.copytree(tmp_path, tmp_path / "copy")
    (tmp_path / "copy" / WAL).unlink()
    with pytest.raises(VaultRolledBack):
        opened(tmp_path / "copy")


LIVE = """
import os, sys
from pathlib import Path
from tests.world.basics import make_profile, open_device, view
from tests.client.test_gate import paid
device = open_device(Path(sys.argv[1]), make_profile())
device.record(view(0))
paid(device, bytes(32), 0)
for i in range(5):
    os.write(1, b"record\\n"); assert device.record(view(0)); os.write(1, b"recorded\\n")
    os.write(1, b"release\\n"); paid(device, bytes([i + 1]) * 32, i + 1); os.write(1, b"released\\n")
os._exit(0)
"""


def calls_between(trace: str, first: str, last: str) -> list[list[str]]:
    """For each stretch between two words that the process wrote: the files it wrote (w) or synced (s), in order."""
    out: list[list[str]] = []
    for line in trace.splitlines():
        if f'"{first}\\n"' in line:
            out.append([])
        elif f'"{last}\\n"' in line and out:
            out[-1].append("end")
        elif out and out[-1][-1:] != ["end"] and (call := re.search(r"(\w+)\(\d+<[^>]*/([\w.-]+)>", line)):
            out[-1].append(("s " if "sync" in call[1] else "w ") + call[2])
    return out


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_an_event_is_written_and_a_release_is_synced_before_it_is_handed_out(tmp_path):
    trace = tmp_path / "trace"
    watched = "trace=fsync,fdatasync,write,pwrite64"
    command = [STRACE, "-f", "-y", "-e", watched, "-o", str(trace), sys.executable, "-c", LIVE, str(tmp_path / "vault")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode and "ptrace" in done.stderr.lower():
        pytest.skip("this machine allows no tracing")
    assert done.returncode == 0, done.stderr[-2000:]
    text = trace.read_text(errors="replace")
    records, releases = calls_between(text, "record", "recorded"), calls_between(text, "release", "released")
    assert len(records) == len(releases) == 5
    for calls in records:
        assert "w vault.db-wal" in calls, "in the kernel's hands: survives a killed process"
        assert not [call for call in calls if call.startswith("s ")]
    for calls in releases:
        assert calls[-1] == "end"
        synced = [call for call in calls if call.startswith("s ")]
        assert synced == ["s vault.db-wal", "s device.anchor"]
        last_write = len(calls) - 1 - calls[::-1].index("w vault.db-wal")
        assert last_write < calls.index("s vault.db-wal") < calls.index("w device.anchor")


OFFLINE = LIVE.replace("os._exit(0)", "device.close_until(9); device.what_left(); device.forget(); print('lived')")


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_a_device_without_its_flower_app_opens_no_connection(tmp_path):
    """From its first event to its deletion, not one system call of the network."""
    trace = tmp_path / "trace"
    command = [
        STRACE,
        "-f",
        "-e",
        "trace=network",
        "-o",
        str(trace),
        sys.executable,
        "-c",
        OFFLINE,
        str(tmp_path / "v"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode and "ptrace" in done.stderr.lower():
        pytest.skip("this machine allows no tracing")
    assert done.returncode == 0 and done.stdout.endswith("lived\n"), done.stderr[-2000:]
    calls = [line for line in trace.read_text(errors="replace").splitlines() if re.match(r"\d+ +\w+\(", line)]
    assert calls == []
