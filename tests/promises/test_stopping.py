"""SIGINT and SIGTERM, at any moment: 130 and 143, one sentence that says what is left and how to go on, and nothing that runs or
is half-written."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from shared.files import UNFINISHED
from simulations.federation.flower_runtime import processes_of
from simulations.federation.run_folder import RunFolder
from simulations.folder_lock import LOCK_FILE
from tests.promises.test_resume import OVERRIDES, Left
from tests.world.basics import SOAK

ROOT = Path(__file__).parents[2]
SIGNALS = [signal.SIGINT, signal.SIGTERM]
SMALL = [*OVERRIDES, "risk.rounds=0", 'simulation.fidelity="hosts"', "simulation.hosts=1"]
SIMULATE = ("simulate", "demo", *(part for each in SMALL for part in ("--set", each)))
OTHERS = {
    "tune": ("tune", "demo", "--set", "data.users=40", "--grid", "training.rows=8,16,32", "--out", "tuned.toml"),
    "sweep": ("sweep", "demo", "--set", "data.users=40", "--over", "training.rows=8,16,32", "--out", "swept"),
    "choose": ("choose", "demo", "--out", "chosen.json"),
    "streams": ("streams", "--out", "streams"),
}


def begin(arguments: tuple[str, ...], folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "simulations.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def stop(process: subprocess.Popen[str], number: int, done: Path | None = None) -> str:
    """The sentence that a stopped command ends with; empty if it had done its work before it heard the signal."""
    process.send_signal(number)
    said = process.communicate(timeout=60)[1].splitlines()
    if not process.returncode and done is not None and done.exists():
        return ""
    assert process.returncode == 128 + number, said
    assert said[-1].startswith(f"ebbtide: stopped by {signal.Signals(number).name}: "), said
    assert not any("Traceback" in line or "Exception ignored" in line for line in said), said
    return said[-1]


def expect_nothing_half(folder: Path) -> None:
    assert [p for p in folder.rglob("*") if p.name.endswith((UNFINISHED, LOCK_FILE))] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("moment", range(10 if SOAK else 1))
def test_a_run_through_flower_is_stopped(tmp_path, number, moment):
    """The first moment is in the middle of training: there, an impatient hand asks three times."""
    run = RunFolder(tmp_path / "run")
    process = begin((*SIMULATE, "--out", str(run.path)), tmp_path)
    try:
        end_s = time.monotonic() + (random.Random(moment).uniform(0.3, 40) if moment else 120)
        while time.monotonic() < end_s and process.poll() is None and not (not moment and Left.by(run.path).ended >= 2):
            time.sleep(0.05)
        if process.poll() is not None:
            return
        if not moment:
            process.send_signal(number)
            process.send_signal(number)
        said = stop(process, number)
    finally:
        process.kill()
    assert processes_of(run.flower) == []
    expect_nothing_half(tmp_path)
    if not run.has_account:  # stopped in the federation, and not while its results were made
        assert {p.name for p in run.flower.glob("*")} <= {"flower.log", "superlink.log", "commit.txt"}
    if not run.begun:
        return
    assert said.endswith("--resume") and str(run.path) in said
    if SOAK and not moment:
        left = Left.by(run.path)
        assert begin((*SIMULATE, "--out", str(run.path), "--resume"), tmp_path).wait(120) == 0
        Left.by(run.path).expect_after(left)
        assert json.loads(run.server.account_file.read_text())["rounds_charged"] == Left.by(run.path).charged


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_second_command_is_refused_and_leaves_a_run_alone(tmp_path):
    run = RunFolder(tmp_path / "run [x] 50% \"'#\nü")
    out = ("--out", str(run.path))
    seconds = (
        (*SIMULATE, *out),
        (*SIMULATE, *out, "--resume"),
        (*SIMULATE, *out, "--overwrite"),
        ("evaluate", str(run.path)),
        ("sweep", "demo", "--over", "training.rows=8", "--out", str(run.path / "sweep")),
        ("tune", "demo", "--grid", "training.rows=8", "--out", str(run.path / "server" / "tuned.toml")),
    )
    process = begin((*SIMULATE, *out), tmp_path)
    try:
        while Left.by(run.path).ended < 2:
            assert process.poll() is None
            time.sleep(0.05)
        processes = psutil.Process(process.pid), *processes_of(run.flower)
        for each in processes:
            each.suspend()  # so that it is at work until all of them were refused
        for second in seconds:
            refused = begin(second, tmp_path)
            said = refused.communicate(timeout=60)[1]
            assert (refused.returncode, said.count("\n")) == (2, 1) and said.startswith("ebbtide: expected "), said
        for each in processes:
            each.resume()
        assert process.wait(200) == 0
    finally:
        process.kill()
        for left in processes_of(run.flower):
            left.kill()
    assert run.has_ended
    assert not run.swept_file.exists() and not (run.server_path / "tuned.toml").exists()
    expect_nothing_half(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("name", OTHERS if SOAK else ["sweep"])
def test_other_commands_are_stopped(tmp_path, name, number):
    arguments = OTHERS[name]
    for moment in range(10 if SOAK else 1):
        folder = tmp_path / str(moment)
        folder.mkdir()
        process = begin(arguments, folder)
        try:
            time.sleep(random.Random(moment).uniform(0.2, 6) if moment else 3)
            if process.poll() is None:
                stop(process, number, folder / arguments[arguments.index("--out") + 1] if moment else None)
        finally:
            process.kill()
        expect_nothing_half(folder)


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal by now: until then it is no command yet."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_command_is_stopped_before_it_began(tmp_path, number):
    process = begin(("epsilon", "complete-journey"), tmp_path)
    try:
        while not catches(process.pid, signal.SIGTERM):
            assert process.poll() is None
            time.sleep(0.001)
        assert stop(process, number).endswith("nothing was begun, nothing is left")
    finally:
        process.kill()
