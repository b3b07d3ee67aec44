"""Refusals cost next to nothing and hide nothing, however many there are; and every one is counted."""

import shutil
from contextlib import nullcontext

import pytest

from client.answers import open_and_answer
from client.device import Device
from client.vault.vault import Limits
from shared.codec import decode
from shared.errors import RefusalCode
from shared.messages import REGISTER
from shared.register.kinds import IF_HONEST
from tests.client.test_only_forward import PLAN, T, offer, train
from tests.world.basics import make_profile, open_device
from tests.world.enrolled import enrolled
from tests.world.signing import signed_request

JUNK = 1150
QUERY = signed_request("alerts_query", {"step": 3, "audience": "others"})


def refuse(device: Device, data: bytes, endpoint: str = "train_request") -> RefusalCode:
    name, fields = decode(REGISTER, open_and_answer(data, endpoint, lambda: nullcontext(device)))
    assert name == "refusal"
    return RefusalCode(fields["code"])


def counted_in(device: Device) -> dict[int, int]:
    """Refusals by code as the journal has them."""
    found: dict[int, int] = {}
    for entry in device.what_left():
        if entry.kind == "refusal":
            code = entry.content["code"]
            found[code] = found.get(code, 0) + entry.times
    return found


@pytest.mark.parametrize(
    ("data", "endpoint", "code"),
    [
        (None, "train_request", RefusalCode.SIGNATURE),  # nobody signed it
        (QUERY, "alerts_query", RefusalCode.AUDIENCE),  # what follows somebody kept, and plays again
        (QUERY, "train_request", RefusalCode.UNDECLARED),
        (train(T - 1, 1), "train_request", RefusalCode.STALE),
    ],
)
def test_a_flood_of_refusals_waits_for_the_disk_a_few_times_and_hides_no_entry(tmp_path, data, endpoint, code):
    limits = Limits(journal_entries=100)
    with enrolled(open_device(tmp_path, make_profile(), limits=limits)) as device:
        open_and_answer(offer(T), "model_offer", lambda: nullcontext(device))
        open_and_answer(train(T, 2), "train_request", lambda: nullcontext(device))
        durable = device._vault.keys.anchor().number
        for i in range(JUNK):
            assert refuse(device, data or b"junk%d" % i, endpoint) is code
        assert device._vault.keys.anchor().number - durable <= JUNK.bit_length()
        assert {"receipt", "update"} <= {entry.kind for entry in device.what_left()}
        assert device.refused() == {code: JUNK}
        assert counted_in(device) == {int(code): 1024}, "the journal has all but those since its last entry"
        refuse(device, b"", endpoint)
    with open_device(tmp_path) as again:
        expected = {code: JUNK, RefusalCode.SIGNATURE: 1} if code is not RefusalCode.SIGNATURE else {code: JUNK + 1}
        assert again.refused() == expected and not again.problems


def test_a_process_that_is_killed_loses_no_count(tmp_path):
    home = tmp_path / "home"
    device = open_device(home, make_profile())
    for i in range(7):
        refuse(device, b"junk%d" % i)
    shutil.copytree(home, tmp_path / "copy")  # as a killed process leaves it
    device.close()
    with open_device(tmp_path / "copy") as again:
        assert again.refused() == {RefusalCode.SIGNATURE: 7} and counted_in(again) == {int(RefusalCode.SIGNATURE): 4}


def test_what_an_entry_stands_for_is_in_the_sums_that_it_folds_into(tmp_path):
    with open_device(tmp_path, make_profile(), limits=Limits(journal_entries=1)) as device:
        for i in range(64):
            refuse(device, b"junk%d" % i)
        refuse(device, QUERY, "alerts_query")
        before, left = device.what_left_before().totals["refusal"], device.what_left()
        assert before.n + sum(entry.times for entry in left) == 65
        assert before.size_bytes == before.n * len(open_and_answer(b"", "train_request", lambda: nullcontext(device)))


def test_an_entry_says_what_its_epsilon_holds_under(tmp_path):
    with enrolled(open_device(tmp_path, make_profile())) as device:
        open_and_answer(offer(T), "model_offer", lambda: nullcontext(device))
        open_and_answer(train(T, 2), "train_request", lambda: nullcontext(device))
        assert {entry.kind: entry.condition for entry in device.what_left()} == {
            "receipt": "",
            "update": IF_HONEST,
        }
        ledger = device.gate.ledger
        assert ledger.condition() == ledger.condition(next(iter(ledger.plans))[0]) == IF_HONEST
        assert ledger.plans == {("update", PLAN.sha256): 1}
