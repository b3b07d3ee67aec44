"""The log itself: what is in it stays, what a killed process left half-written was never in it."""

import json

import pytest

from server.run_log.log import LOG_FILE, NOTE_FILE, RunLog, digest, leaf_of
from server.run_log.note import checkpoint_text, key_id
from server.run_log.tree import root_of
from server.signing import Signer
from shared.clock import ReplayClock
from shared.envelope import unwrap
from shared.errors import DataError
from tests.world.signing import PRIVATE_KEY, SERVER_KEY, body_of

QUERY = body_of("alerts_query", {"step": 3})


def test_a_log_goes_on_where_an_earlier_process_stopped(tmp_path):
    first = RunLog(tmp_path, PRIVATE_KEY)
    first.begin(7, bytes(32))
    first.add("charge", round=1, line="update")
    again = RunLog(tmp_path, PRIVATE_KEY)
    assert again.head == first.head and again.head.size == 2
    again.add_once("charge", round=1, line="update")
    again.begin(7, bytes(32))
    assert again.head.size == 2, "once is enough"
    again.add("sum", round=1, sha256=digest(b"a sum"))
    assert again.head.root == root_of(list(again.leaves())) and again.head.size == 3


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_line_that_a_killed_process_left_half_written_was_never_in_it(tmp_path, cut):
    log = RunLog(tmp_path, PRIVATE_KEY)
    log.begin(7, bytes(32))
    before = log.head
    log.add("charge", round=1, line="update")
    whole = (tmp_path / LOG_FILE).read_bytes()
    (tmp_path / LOG_FILE).write_bytes(whole[:-cut])
    assert RunLog(tmp_path, PRIVATE_KEY).head == before
    assert (tmp_path / LOG_FILE).read_bytes() == whole[: whole.index(b"\n") + 1]


@pytest.mark.parametrize("line", [b"", b"[]", b'{"kind": "sum"}', b'{"kind":1,"kind":1}', b"\xff", b'{"a":1}', b"null"])
def test_anything_else_than_leaves_is_refused_by_its_line(tmp_path, line):
    (tmp_path / LOG_FILE).write_bytes(leaf_of("sum", {"round": 1}) + b"\n" + line + b"\n")
    with pytest.raises(DataError, match=f"line 2 of {LOG_FILE}"):
        RunLog(tmp_path, PRIVATE_KEY)


def test_a_checkpoint_is_a_signed_note_as_other_tools_read_it(tmp_path):
    log = RunLog(tmp_path, PRIVATE_KEY)
    log.begin(7, bytes(32))
    log.sign()
    text, _, signed = (tmp_path / NOTE_FILE).read_bytes().decode().partition("\n\n")
    assert text + "\n" == checkpoint_text(*log.head) and text.splitlines()[:2] == ["ebbtide run log", "1"]
    assert signed.startswith("— ebbtide-server ") and len(key_id(SERVER_KEY)) == 4


def test_nothing_is_signed_that_is_not_in_the_log_before_and_the_device_is_told(tmp_path):
    log = RunLog(tmp_path, PRIVATE_KEY)
    signer = Signer(PRIVATE_KEY, ReplayClock(5.0), log)
    envelope = unwrap(signer.sign(QUERY, "alerts_query"))
    assert envelope.head == log.head and envelope.head.size == 1
    (leaf,) = RunLog(tmp_path, PRIVATE_KEY).leaves()
    assert json.loads(leaf) == {"kind": "request", "name": "alerts_query", "sha256": digest(QUERY)}
    assert unwrap(signer.sign_unwitnessed(QUERY)).head is None
