"""One writer for a folder: a second process is refused at once, a dead one holds nothing, and a refusal leaves no trace."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from shared.errors import ConfigError
from simulations.folder_lock import locked, locked_file

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from simulations.folder_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_in(folder: Path):
    """Another process that holds a folder while the body runs."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None and other.stdout.readline() == b"held\n"
            yield other
        finally:
            other.kill()


def test_a_folder_around_it_and_one_inside_are_refused_while_another_process_has_it(tmp_path):
    run = tmp_path / "run [copy]"
    with another_process_in(run) as other:
        (run / "sweep").mkdir()
        (run / "plain").mkdir()
        for place in (run, run / "sweep", run / "plain" / "deep" / "new", tmp_path):
            with pytest.raises(ConfigError, match="another one is at work there"), locked(place):
                pytest.fail("two writers")
        for place in (run / "tuned.toml", run / "server" / "deep.json"):
            with pytest.raises(ConfigError, match="another one is at work there"), locked_file(place):
                pytest.fail("a file in another one's folder")
        assert not (run / "server").exists()
        assert not (run / "plain" / "deep").exists(), "a refusal leaves nothing"
        with locked(tmp_path / "beside"):
            pass
        other.kill()
        other.wait()
        with locked(run):
            pass
    assert sorted(place.name for place in run.iterdir()) == ["plain", "sweep"], "no lock is left"
    assert not (tmp_path / "beside").exists(), "what was made for the lock alone is gone"


def test_what_was_written_stays_and_files_have_locks_of_their_own(tmp_path):
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "result").write_text("")
    long = tmp_path / ("ü" * 120)
    with locked_file(long):
        with pytest.raises(ConfigError, match="another one is at work"), locked_file(long):
            pass
        with locked_file(tmp_path / "other.toml"):
            pass
    assert [place.name for place in tmp_path.iterdir()] == ["a"]


def test_a_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / ("x" * 300)):
        with pytest.raises(ConfigError, match="expected a folder that can be written"), locked(place):
            pass


def test_a_disk_that_knows_no_locks_gives_none(tmp_path, monkeypatch):
    import errno
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path), nullcontext():
        (tmp_path / "result").write_text("")
