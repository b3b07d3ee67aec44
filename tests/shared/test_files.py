"""Whole or not at all: whatever a process was writing when it was killed, the next one finds the old file or the new."""

import builtins
import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shared.files import replace_content, replacing, text_of
from simulations.federation.host_app import Host
from simulations.federation.hosted.training_rows import TrainingRows
from simulations.federation.run_folder import RunFolder
from simulations.people.of_scenario import population_of
from simulations.people.setup import Setup
from simulations.scenarios.config import load_scenario


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_a_file_is_replaced_when_its_new_content_is_whole(tmp_path):
    file = tmp_path / "a.txt"
    replace_content(file, "old\r\n")
    with replacing(file) as out:
        out.write(b"new")
        out.flush()
        assert file.read_bytes() == b"old\r\n"
    assert file.read_bytes() == b"new" and [f.name for f in tmp_path.iterdir()] == ["a.txt"]


def test_after_an_interruption_the_old_content_is_there_and_the_next_try_works(tmp_path):
    file = tmp_path / "a.txt"
    replace_content(file, "old")
    with pytest.raises(Killed), replacing(file) as out:
        out.write(b"much longer than what comes next")
        raise Killed
    assert file.read_text() == "old" and [f.name for f in tmp_path.iterdir()] == ["a.txt"], "what failed is cleared up"
    (tmp_path / "a.txt.new").write_text("longer than what comes next: of a process that was really killed")
    replace_content(file, "new")
    assert file.read_text() == "new" and [f.name for f in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_content_alone(tmp_path, monkeypatch, call):
    def fail(*_):
        raise OSError(errno.ENOSPC, "no space")

    file = tmp_path / "a.txt"
    replace_content(file, "old")
    monkeypatch.setattr(os if call == "fsync" else Path, call, fail)
    with pytest.raises(OSError, match="no space"), replacing(file, durable=True) as out:
        out.write(b"new")
    assert file.read_text() == "old" and [f.name for f in tmp_path.iterdir()] == ["a.txt"]


class KilledOnceOpen:
    """`open`, but the process is killed right after the n-th file was opened to be written anew: it is empty then."""

    def __init__(self, n: int) -> None:
        self.left, self._open = n, io.open

    def __call__(self, file, mode="r", *arguments, **named):
        out = self._open(file, mode, *arguments, **named)
        self.left -= "w" in mode
        if "w" in mode and not self.left:
            out.close()
            raise Killed
        return out


def test_killed_at_any_file_that_a_run_begins_with_it_goes_on(tmp_path, monkeypatch):
    scenario = load_scenario("demo", ["data.users=6", "risk.public_users=12"])
    people = population_of(scenario)
    setup = Setup.of(scenario, people)
    theta, none = setup.plan.network.initial_theta(0), np.empty(0, np.float32)

    def begin(folder):
        run = RunFolder(folder)
        if run.begun:
            run.expect_same_run(scenario)
        else:
            run.prepare(setup, people)
        run.write_public(setup)
        Host(run, 0, 1).install(setup.plan, theta, none, 0, setup.protocol.train_at)

    def left_by(folder):
        host = RunFolder(folder).host(0)
        rows = [TrainingRows.load(path) for path in (host.path, host.lapses)]
        return [array for each in rows for array in (each.x, each.y, each.offsets)]

    begin(tmp_path / "whole")
    expected, n_killed = left_by(tmp_path / "whole"), 0
    while True:
        folder, opened = tmp_path / str(n_killed), KilledOnceOpen(n_killed + 1)
        with monkeypatch.context() as patch:
            patch.setattr(io, "open", opened)
            patch.setattr(builtins, "open", opened)
            try:
                begin(folder)
                break
            except Killed:
                n_killed += 1
        begin(folder)
        for array, should_be in zip(left_by(folder), expected, strict=True):
            np.testing.assert_array_equal(array, should_be)
    assert n_killed > 20, "every file was killed at"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_text_is_read_however_an_editor_saved_it(tmp_path, encoding):
    file = tmp_path / "saved.toml"
    file.write_bytes('about = "é 😀"\r\nname = "x"\n'.encode(encoding))
    assert text_of(file) == 'about = "é 😀"\nname = "x"\n'
    big_endian = b"\xfe\xff" + "é".encode("utf-16-be")
    file.write_bytes(big_endian)
    assert text_of(file) == "é"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-16-be"])
def test_what_is_no_such_text_is_refused_by_name(tmp_path, encoding):
    (tmp_path / "saved.toml").write_bytes(('name = "x"' + "é" * (encoding == "latin-1")).encode(encoding))
    with pytest.raises(ValueError, match="expected a text in UTF-8, got"):
        text_of(tmp_path / "saved.toml")


#: Their texts are written by the process that reads them, or by Flower.
OWN_TEXTS = {"simulations/federation/flower_runtime.py"}


def test_every_text_that_is_read_is_read_so():
    root = Path(__file__).parents[2]
    for room in ("server", "simulations"):
        for file in (root / room).rglob("*.py"):
            if (name := file.relative_to(root).as_posix()) not in OWN_TEXTS:
                assert ".read_text(" not in file.read_text(), f"{name}: text_of reads byte-order marks"


FILL = """
import resource, sys
from pathlib import Path
from shared.files import replace_content
from simulations.terminal.ending import end_with
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
end_with(lambda: replace_content(Path(sys.argv[1]), "x" * 5000))
"""


def test_a_disk_that_takes_no_more_is_said_with_the_file_and_leaves_the_old_content(tmp_path):
    (tmp_path / "kept [x].json").write_text("old")
    command = [sys.executable, "-c", FILL, str(tmp_path / "kept [x].json")]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, f"ebbtide: File too large: {tmp_path / 'kept [x].json'}\n")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("kept [x].json", "old")]
