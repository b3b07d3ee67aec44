"""A device makes no connection of its own: what leaves is what the gate gave to whoever carried the request.

A whole life (`tests/world/device_life.py`) in a process of its own: with Python's reports, under strace, which sees native
code too, and in a network namespace where there is nothing to connect to.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world.device_life import WATCHED

ROOT = Path(__file__).parents[2]
#: How each request of a life is answered, in order; three wrong ones follow each but those of its end.
ANSWERS = [
    reply
    for right in (
        *("enrolment", "epoch_receipt", "receipt", "update", "risk_update"),
        *("opinion", "seat_sum", "alerts", "alert_bit"),
    )
    for reply in (right, "refusal", "refusal", "refusal")
] + ["refusal", "deletion", "refusal"]

#: What the watchers must notice: a process that only tries to connect.
TRIES = "import socket\ntry:\n socket.create_connection(('127.0.0.1', 9), 1)\nexcept OSError:\n pass"


def run(*command: object) -> subprocess.CompletedProcess:
    return subprocess.run([str(c) for c in command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def life(folder: Path, *before: object) -> list[str]:
    """What Python reported in a life that went as it should."""
    done = run(*before, sys.executable, "-m", "tests.world.device_life", folder)
    assert done.returncode == 0, done.stderr[-2000:]
    *answers, heard = done.stdout.splitlines()
    assert answers == ANSWERS
    return json.loads(heard)


def available(*command: str) -> list[str]:
    """The command, if it works here; skips the test otherwise."""
    if shutil.which(command[0]) is None or run(*command, "true").returncode:
        pytest.skip(f"{command[0]} is not here, or not permitted")
    return list(command)


def test_a_whole_life_opens_no_socket_and_starts_no_process(tmp_path):
    assert life(tmp_path / "device") == []


@pytest.mark.slow
def test_the_same_by_its_system_calls(tmp_path):
    calls = tmp_path / "calls.txt"
    options = ["-f", "-qq", "-e", "trace=%network,execve", "-e", "signal=none", "-o", str(calls)]
    strace = available("strace", *options)
    run(*strace, sys.executable, "-c", TRIES)
    assert " connect(" in calls.read_text(), "it would be noticed"
    life(tmp_path / "device", *strace)
    (started,) = calls.read_text().splitlines()
    assert "execve(" in started, "the process itself, and nothing after it"


def test_a_device_lives_where_there_is_no_network(tmp_path):
    life(tmp_path / "device", *available("unshare", "-rn"))


def test_python_s_reports_would_notice():
    listening = (
        f"import sys\nheard = []\nsys.addaudithook(lambda e, a: heard.append(e) if e.startswith({WATCHED}) else None)"
    )
    done = run(sys.executable, "-c", f"{listening}\n{TRIES}\nprint('socket.connect' in heard)")
    assert done.stdout.strip() == "True"
