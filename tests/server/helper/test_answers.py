"""What a helper answers: the one server that it knows, for epochs that the offline key signed, and in each sum for one list."""

from dataclasses import replace

import numpy as np
import pytest

from server.helper.answers import HANDLERS
from shared.codec import decode, encode
from shared.errors import RefusalCode
from shared.messages import REGISTER, REQUESTS
from shared.secure_sum.entry import ENTRY_BYTES
from shared.secure_sum.epoch import sign
from shared.secure_sum.header import Header
from tests.world.seats import Party, closed
from tests.world.signing import OTHER_PRIVATE_KEY, body_of, signed

from .housed import N_DEVICES, offer_of, open_helper, refuses, says, without_first, world_with

SUM = "sum_request"


def test_a_helper_with_a_folder_adds_up_what_the_others_do(tmp_path):
    world, housed = world_with(tmp_path)
    total, n = world.collect()
    assert n == N_DEVICES and not world.traffic.dropped
    np.testing.assert_array_equal(total, world.plain_sum(world.cohort))
    assert set(housed.asked) == {"opinion_request", SUM}


# ---- whom it answers


def test_it_answers_nobody_but_its_server(tmp_path):
    helper, body = open_helper(tmp_path), body_of("enrolment_query", {"epoch": 1})

    def code(data: bytes, expected: str = "enrolment_query") -> RefusalCode:
        name, fields = decode(REGISTER, helper.answer(data, expected))
        assert name == "refusal"
        return RefusalCode(fields["code"])

    right = signed(body)
    for wrong in (b"", b"canary", body, signed(body, key=OTHER_PRIVATE_KEY), right[:-1], right + b"\0"):
        assert code(wrong) is RefusalCode.SIGNATURE
    assert code(signed(b"canary")) is RefusalCode.MALFORMED
    assert code(right, "epoch_offer") is RefusalCode.UNDECLARED, "sent to another endpoint"
    alerts = body_of("alerts_query", {"step": 1})
    assert code(signed(alerts), "alerts_query") is RefusalCode.UNDECLARED, "a helper has no alerts"
    others = encode(REQUESTS, "enrolment_query", {"audience": "others", "epoch": 1})
    assert code(signed(others)) is RefusalCode.AUDIENCE
    assert decode(REGISTER, helper.answer(right, "enrolment_query"))[0] == "enrolment"


@pytest.mark.parametrize("name", HANDLERS)
def test_every_request_that_it_answers_is_for_its_audience_alone(tmp_path, name):
    assert "audience" in REQUESTS[name].fields
    fields = {"epoch": 1, "signed": b"x", "header": b"x", "entries": b"", "proof": b"", "boxes": b""}
    request = {key: value for key, value in fields.items() if key in REQUESTS[name].fields}
    assert refuses(open_helper(tmp_path, audience="others"), name, request) is RefusalCode.AUDIENCE


# ---- epochs


def test_its_keys_are_the_same_for_an_epoch_and_others_in_the_next(tmp_path):
    keys = [says(open_helper(tmp_path), "enrolment_query", {"epoch": number})[1] for number in (3, 3, 4)]
    assert keys[0] == keys[1] and keys[2]["seat"] != keys[0]["seat"] and keys[2]["identity"] == keys[0]["identity"]
    assert refuses(open_helper(tmp_path), "enrolment_query", {"epoch": 2}) is RefusalCode.EPOCH


def test_it_takes_an_epoch_that_the_offline_key_signed_for_now_and_no_other(tmp_path):
    helper, leaf = open_helper(tmp_path), Party("device").leaf
    epoch = closed([leaf])
    assert refuses(helper, "epoch_offer", offer_of(epoch)) is RefusalCode.EPOCH, "it made no key for it"
    says(helper, "enrolment_query", {"epoch": 1})
    forged = sign(epoch, OTHER_PRIVATE_KEY)
    assert refuses(helper, "epoch_offer", {"epoch": 1, "signed": forged}) is RefusalCode.EPOCH
    assert refuses(helper, "epoch_offer", {"epoch": 1, "signed": b"canary"}) is RefusalCode.EPOCH
    for now_s in (epoch.begins_s - 1, epoch.ends_s):
        assert refuses(open_helper(tmp_path, now_s), "epoch_offer", offer_of(epoch)) is RefusalCode.EPOCH
    elsewhere = closed([leaf], audience="others")
    assert refuses(helper, "epoch_offer", offer_of(elsewhere)) is RefusalCode.EPOCH
    for _ in range(2):
        assert says(helper, "epoch_offer", offer_of(epoch)) == ("epoch_receipt", {"epoch": 1})
    other = closed([leaf, Party("another").leaf])
    assert refuses(helper, "epoch_offer", offer_of(other)) is RefusalCode.EPOCH, "another list of the same epoch"


def test_an_epoch_that_is_over_or_is_not_there_adds_nothing_up(tmp_path):
    world, housed = world_with(tmp_path)
    world.collect()
    request = housed.asked[SUM]
    for now_s in (world.epoch.begins_s - 1, world.epoch.ends_s):
        for name in ("opinion_request", SUM):
            assert refuses(open_helper(tmp_path, now_s), name, request) is RefusalCode.EPOCH
    for number in (2, 99):
        assert refuses(housed.helper, SUM, {**request, "epoch": number}) is RefusalCode.EPOCH


# ---- one list


def test_the_same_list_gets_the_same_bytes_and_a_second_one_nothing_also_after_a_restart(tmp_path):
    world, housed = world_with(tmp_path)
    world.collect()
    request = housed.asked[SUM]
    first = says(housed.helper, SUM, request)
    shorter = without_first(world, housed, request)
    for helper in (housed.helper, open_helper(tmp_path)):
        assert says(helper, SUM, request) == first and first[0] == "seat_sum"
        assert refuses(helper, SUM, shorter) is RefusalCode.SECOND_LIST
        assert says(helper, "opinion_request", shorter)[0] == "opinion", "which uses nothing up"
    world.collect(round_number=2)
    assert says(housed.helper, SUM, housed.asked[SUM])[0] == "seat_sum", "another round is another sum"


def changed_header(request, **changes) -> dict:
    return {**request, "header": replace(Header.from_bytes(request["header"]), **changes).canonical}


def entries_of(request) -> list[bytes]:
    data = request["entries"]
    return [data[at : at + ENTRY_BYTES] for at in range(0, len(data), ENTRY_BYTES)]


def few(world, housed, request):
    for _ in range(N_DEVICES - 2):
        request = without_first(world, housed, request)
    return request


def reordered(world, housed, request):
    return {**request, "entries": b"".join(reversed(entries_of(request)))}


def twice(world, housed, request):
    first, *others = entries_of(request)
    return {**request, "entries": b"".join([first, first, *others[1:]])}


def forged(world, housed, request):
    first, *others = entries_of(request)
    return {**request, "entries": b"".join([first[:-64] + bytes(64), *others])}


def stranger(world, housed, request):
    first, *others = entries_of(request)
    return {**request, "entries": b"".join([first[:4] + Party("stranger").leaf + first[68:], *others])}


HEADERS = {
    "another plan": {"plan_sha256": bytes(32)},
    "another round": {"round": 7},
    "another kind": {"kind": "risk_update"},
    "other weights": {"body_sha256": bytes(32)},
    "fewer needed": {"min_survivors": 1},
    "without this seat": {"seats": (Party("a").leaf, Party("b").leaf)},
}
WRONG = {
    "too few": few,
    "in another order": reordered,
    "one twice": twice,
    "a forged signature": forged,
    "a stranger": stranger,
    "cut": lambda world, housed, request: {**request, "entries": request["entries"][:-1]},
    "a wrong proof": lambda world, housed, request: {**request, "proof": bytes(32)},
    "more boxes": lambda world, housed, request: {**request, "boxes": request["boxes"] + bytes(1)},
    "no header": lambda world, housed, request: {**request, "header": b"canary"},
    **{
        name: lambda world, housed, request, changes=changes: changed_header(request, **changes)
        for name, changes in HEADERS.items()
    },
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_list_that_is_not_right_is_added_up_by_no_helper_and_uses_nothing_up(tmp_path, wrong):
    world, housed = world_with(tmp_path)
    world.bends[1001] = lambda name, fields: fields if name == "opinion_request" else None
    serve = housed.serve

    def noting(name, request):
        if name == SUM:
            housed.asked[SUM] = dict(request)
            return {}
        return serve(name, request)

    housed.serve = noting
    world.collect()
    request = housed.asked[SUM]
    assert refuses(housed.helper, SUM, wrong(world, housed, request)) is RefusalCode.LIST
    assert says(housed.helper, SUM, request)[0] == "seat_sum"


def test_a_sum_of_another_epoch_is_none_of_this_one(tmp_path):
    world, housed = world_with(tmp_path)
    world.collect()
    request = changed_header(housed.asked[SUM], epoch_sha256=bytes(32))
    for name in ("opinion_request", SUM):
        assert refuses(housed.helper, name, request) is RefusalCode.EPOCH


def test_whatever_breaks_inside_says_nothing_of_it(tmp_path):
    _, housed = world_with(tmp_path)
    (tmp_path / "helper.db").unlink()
    (tmp_path / "helper.db").mkdir()
    helper = housed.helper
    helper.store._engine.dispose()
    said = helper.answer(signed(body_of("enrolment_query", {"epoch": 5})), "enrolment_query")
    assert said == encode(REGISTER, "refusal", {"code": int(RefusalCode.INTERNAL)})
