"""Each device is a witness of its server's log: what it was told lies in its journal, and it cannot be told less afterwards."""

from dataclasses import replace

import pytest

from client.answers import answer
from client.device import Device
from server.channel import Channel, Traffic
from server.run_log.log import RunLog
from server.signing import Signer
from shared.clock import ReplayClock
from shared.codec import decode
from shared.envelope import Head, signed_bytes, unwrap, wrap
from shared.errors import RefusalCode, WireError
from shared.messages import REGISTER
from tests.world.basics import make_profile, open_device
from tests.world.fake_grid import FakeGrid, device_node, says, wire
from tests.world.signing import ASKED_AT_S, PRIVATE_KEY, body_of

AT = Head(3, bytes(range(32)))


@pytest.fixture
def device(tmp_path) -> Device:
    with open_device(tmp_path / "device", make_profile()) as opened:
        yield opened


def asked(step: int, head: Head | None, time_s: int = ASKED_AT_S) -> bytes:
    return wrap(body_of("alerts_query", {"step": step}), time_s, PRIVATE_KEY.sign, head)


def test_what_was_told_of_the_log_lies_in_the_journal(device, tmp_path):
    assert decode(REGISTER, answer(device, asked(3, AT)))[0] == "alerts"
    (entry,) = device.what_left()
    assert entry.log == AT
    device.close()
    with open_device(tmp_path / "device", make_profile()) as again:
        assert [entry.log for entry in again.what_left()] == [AT]


def test_a_device_that_knows_of_a_log_answers_nothing_that_is_silent_on_it(device, tmp_path):
    assert decode(REGISTER, answer(device, asked(3, None)))[0] == "alerts", "a server of before"
    assert decode(REGISTER, answer(device, asked(4, AT, ASKED_AT_S + 1)))[0] == "alerts"
    refused = decode(REGISTER, answer(device, asked(5, None, ASKED_AT_S + 2)))
    assert refused == ("refusal", {"code": int(RefusalCode.STALE)})
    device.close()
    with open_device(tmp_path / "device", make_profile()) as again:
        assert decode(REGISTER, answer(again, asked(5, None, ASKED_AT_S + 2)))[0] == "refusal"
        assert decode(REGISTER, answer(again, asked(5, AT, ASKED_AT_S + 2)))[0] == "alerts"


@pytest.mark.parametrize("change", [{"head": Head(4, AT.root)}, {"head": Head(3, bytes(32))}, {"head": None}])
def test_the_log_is_under_the_signature(device, change):
    forged = replace(unwrap(asked(3, AT)), **change)
    data = wrap(forged.body, forged.time_s, lambda _: forged.signature, forged.head)
    assert decode(REGISTER, answer(device, data)) == ("refusal", {"code": int(RefusalCode.SIGNATURE)})


def test_no_bytes_are_under_both_tags():
    body, root = b"x" * 60, bytes(32)
    assert signed_bytes(body, 1, Head(1, root)) != signed_bytes((1).to_bytes(8, "big") + root + body, 1)
    with pytest.raises(WireError):
        wrap(body, 1, PRIVATE_KEY.sign, Head(1 << 64, root))


def test_devices_of_before_keep_working_beside_new_ones(device, tmp_path):
    """A device that knows one form of envelope takes the other for a forgery; it is asked again, once, and then as it knows."""
    log, traffic = RunLog(tmp_path, PRIVATE_KEY), Traffic()
    new, forgery = device_node(1, device), says(b"")

    def old(message):
        if unwrap(wire(message)).head is not None:
            from client.refusals import bare_refusal

            return says(bare_refusal(RefusalCode.SIGNATURE))(message)
        return new(message)

    grid = FakeGrid({1: new, 2: old, 3: forgery})
    channel = Channel(grid, traffic, Signer(PRIVATE_KEY, ReplayClock(ASKED_AT_S), log))
    for number, step in enumerate((3, 4), 1):
        replies = channel.ask([2], "alerts_query", {"audience": "", "step": step})
        assert list(replies) == [2], "it works"
        assert [node for node, _, _ in grid.asked].count(2) == number + 1, "twice for the first, then once"
    assert list(channel.ask([1], "alerts_query", {"audience": "", "step": 5})) == [1]
    assert not traffic.dropped[f"refusal_{int(RefusalCode.SIGNATURE)}"]
