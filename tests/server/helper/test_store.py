"""What a helper keeps is its own, is on disk before it speaks, and goes with its epoch."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.helper.answers import KEY_FILE
from server.helper.store import FILE, HelperStore
from shared.errors import RefusalCode, SumError
from tests.world.seats import Party, closed

from .housed import offer_of, open_helper, refuses, says, without_first, world_with

ROOT = Path(__file__).parents[3]
#: Answers one request in a process that dies without a chance to clean up, before or after its store wrote down for which list.
KILLED = """
import os, pickle, signal, sys
from pathlib import Path
from server.helper.store import HelperStore
from tests.server.helper.housed import open_helper, says

folder, request, when = Path(sys.argv[1]), pickle.loads(Path(sys.argv[2]).read_bytes()), sys.argv[3]
write = HelperStore.write_answer

def killed(self, *arguments):
    if when == "after":
        write(self, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)

HelperStore.write_answer = killed
says(open_helper(folder), "sum_request", request)
print("it replied")
"""


def asked_for_a_sum(folder):
    """A world, its helper that has a folder, and a sum_request that nobody has answered yet."""
    world, housed = world_with(folder)
    serve = housed.serve
    housed.serve = lambda name, request: (
        housed.asked.update({name: dict(request)}) or (serve(name, request) if name == "opinion_request" else {})
    )
    world.bends[1001] = lambda name, fields: fields if name == "opinion_request" else None
    world.collect()
    return world, housed, housed.asked["sum_request"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_around_its_record_it_never_answers_for_two_lists(tmp_path, when):
    world, housed, request = asked_for_a_sum(tmp_path / "helper")
    (tmp_path / "request").write_bytes(pickle.dumps(request))
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "helper"), str(tmp_path / "request"), when],
        cwd=ROOT,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL and not ran.stdout, ran.stderr.decode()
    helper, shorter = open_helper(tmp_path / "helper"), without_first(world, housed, request)
    if when == "after":
        assert refuses(helper, "sum_request", shorter) is RefusalCode.SECOND_LIST
        assert says(helper, "sum_request", request)[0] == "seat_sum", "what was asked first it can still say"
    else:
        assert says(helper, "sum_request", shorter)[0] == "seat_sum", "nothing had left"
        assert refuses(helper, "sum_request", request) is RefusalCode.SECOND_LIST


def test_for_which_list_it_answers_is_on_disk_before_the_answer_is(tmp_path, monkeypatch):
    _, housed, request = asked_for_a_sum(tmp_path)

    def full(self, *arguments):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(HelperStore, "write_answer", full)
        assert refuses(housed.helper, "sum_request", request) is RefusalCode.INTERNAL
    assert says(housed.helper, "sum_request", request)[0] == "seat_sum"


def test_of_two_processes_that_answer_for_two_lists_at_once_one_does(tmp_path):
    one, other = HelperStore(tmp_path), HelperStore(tmp_path)
    slot = (bytes(32), bytes(32), "update", 1)
    assert one.answered(slot) is other.answered(slot) is None
    one.write_answer(1, slot, b"a" * 32)
    one.write_answer(1, slot, b"a" * 32)
    with pytest.raises(SumError) as refused:
        other.write_answer(1, slot, b"b" * 32)
    assert refused.value.reason == "second_list"
    assert other.answered(slot) == b"a" * 32


@pytest.mark.parametrize("place", range(4))
def test_every_part_of_a_slot_counts(tmp_path, place):
    store, slot = HelperStore(tmp_path), [bytes(32), bytes(32), "update", 1]
    store.write_answer(1, tuple(slot), b"a" * 32)
    slot[place] = [b"e" * 32, b"p" * 32, "risk_update", 2][place]
    assert store.answered(tuple(slot)) is None


def files_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


def test_keys_and_answers_of_an_epoch_are_gone_from_the_file_with_the_next(tmp_path):
    _, housed, request = asked_for_a_sum(tmp_path)
    assert says(housed.helper, "sum_request", request)[0] == "seat_sum"
    old = housed.helper.store.seat_key(1).private_bytes_raw()
    assert old in files_of(tmp_path)
    says(housed.helper, "enrolment_query", {"epoch": 2})
    assert old in files_of(tmp_path), "until the next epoch's list is there, this one goes on"
    helper = open_helper(tmp_path)
    leaf = housed.leaf[:32] + helper.store.seat_key(2).public_key().public_bytes_raw()
    assert says(helper, "epoch_offer", offer_of(closed([Party("d").leaf], [leaf], number=2)))[0] == "epoch_receipt"
    assert old not in files_of(tmp_path)
    for name in ("opinion_request", "sum_request"):
        assert refuses(helper, name, request) is RefusalCode.EPOCH
    assert refuses(helper, "enrolment_query", {"epoch": 1}) is RefusalCode.EPOCH, "no other key is made for it either"


def test_nobody_else_can_read_what_it_keeps(tmp_path):
    before = os.umask(0)
    try:
        helper = open_helper(tmp_path / "helper")
    finally:
        os.umask(before)
    helper.store.seat_key(1)
    assert (tmp_path / "helper").stat().st_mode & 0o777 == 0o700
    for name in (FILE, KEY_FILE):
        assert (tmp_path / "helper" / name).stat().st_mode & 0o777 == 0o600
