"""The server's key is there whole or not at all: after a failure, a kill or a race, and on a disk without hard links."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from server import signing
from server.signing import public_bytes, signing_key
from shared.errors import ConfigError

ROOT = Path(__file__).parents[2]
FRESH = "signing.pem.new"


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "server" / "signing.pem"


def lying(file: Path) -> list[str]:
    return sorted(place.name for place in file.parent.iterdir())


#: What may fail while a key is made, by the name of the call.
CALLS = ["fchmod", "ftruncate", "fdopen", "fsync", "rename"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "no space"), OSError(errno.EIO, "broken"), KeyboardInterrupt()]
)
@pytest.mark.parametrize("call", CALLS)
def test_whatever_fails_nothing_of_a_key_is_left_and_the_next_try_works(file, monkeypatch, call, error):
    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Path if call == "rename" else os, call, fail)
        with pytest.raises(type(error)):
            signing_key(file)
    assert lying(file) == []
    key = signing_key(file)
    assert lying(file) == ["signing.pem"] and public_bytes(signing_key(file)) == public_bytes(key)


def test_a_disk_that_is_full_in_the_middle_of_a_key_keeps_no_half_of_it(file, monkeypatch):
    def half(number: int) -> None:
        os.write(number, b"-----BEGIN PRIVATE KEY-----\nMC4C")
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(signing, "_write", half)
        with pytest.raises(OSError, match="no space"):
            signing_key(file)
    assert lying(file) == []


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK])
def test_a_key_is_made_where_there_are_no_hard_links(file, monkeypatch, code):
    def refused(*_: object, **__: object) -> None:
        raise OSError(code, "no links")

    monkeypatch.setattr(os, "link", refused)
    key = signing_key(file)
    assert lying(file) == ["signing.pem"] and public_bytes(signing_key(file)) == public_bytes(key)


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_key_and_folder_are_the_owner_s_alone_whatever_the_umask(file, umask):
    before = os.umask(umask)
    try:
        signing_key(file)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_disk_that_locks_nothing_is_refused_and_nothing_is_left(file, monkeypatch):
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(ConfigError, match="lock"):
        signing_key(file)
    assert lying(file) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from server.signing import signing_key
call = sys.argv[2]
def killed(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(Path if call == "rename" else os, call, killed)
signing_key(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_what_a_killed_process_leaves_is_readable_by_its_owner_only_and_goes_at_the_next_start(file, call):
    command = [sys.executable, "-c", KILLED, str(file), call]
    assert subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode == -signal.SIGKILL
    assert lying(file) == [FRESH] and stat.S_IMODE((file.parent / FRESH).stat().st_mode) == 0o600
    left = (file.parent / FRESH).read_bytes()
    signing_key(file)
    assert lying(file) == ["signing.pem"] and file.read_bytes() != left


def test_half_a_key_beside_a_whole_one_goes_at_the_next_start_too(file):
    key = signing_key(file)
    (file.parent / FRESH).write_bytes(b"-----BEGIN PRIVATE KEY-----\nMC4C")
    assert public_bytes(signing_key(file)) == public_bytes(key)
    assert lying(file) == ["signing.pem"]


MAKE = """
import sys
from pathlib import Path
from server.signing import public_bytes, signing_key
print("ready", flush=True)
sys.stdin.readline()
print(public_bytes(signing_key(Path(sys.argv[1]))).hex())
"""


@pytest.mark.parametrize("left", [False, True])
def test_processes_that_make_a_key_at_once_have_one_key(file, left):
    """Also beside what a killed process left."""
    file.parent.mkdir()
    if left:
        (file.parent / FRESH).write_bytes(b"-----BEGIN")
    command = [sys.executable, "-c", MAKE, str(file)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    found = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert found == {public_bytes(signing_key(file)).hex()} and lying(file) == ["signing.pem"]
