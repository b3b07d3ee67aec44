"""A device in secure sums, through bytes, on a real vault: it enrols, sends its vector where it should alone, and as a seat answers
for one list."""

import hashlib
import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from client.answers import answer
from client.device import Device
from client.vault.store import Store
from shared.clock import ReplayClock
from shared.codec import decode, pack_floats
from shared.errors import RefusalCode, VaultRolledBack
from shared.messages import REGISTER
from shared.plan import Plan
from shared.register.sum_plan import SumPlan
from shared.secure_sum.entry import SumList
from shared.secure_sum.epoch import MOST_WINDOW_S, Epoch, unverified
from shared.secure_sum.header import Header
from shared.secure_sum.seat import expect_answer
from tests.world.basics import activity_theta, make_plan, make_profile, open_device, ready, view
from tests.world.enrolled import (
    OTHER_ENROLLER,
    enrolled,
    listed_for,
    member_of,
    opened_sum,
    opened_update,
    others,
    seat_header,
    seat_request,
    seated,
    signed_epoch,
)
from tests.world.signing import ASKED_AT_S, signed_request

PLAN = make_plan(privacy={"noise_multiplier": 8.0, "population": 64, "min_survivors": 8})
THETA = pack_floats(activity_theta())
PLACE = 5  #: of the device, in `seat_header`
#: Half an epoch of the tests, which begin with 1970.
NOW_S = 20 * 86_400.0


def say(device: Device, name: str, fields: dict, time_s: int = ASKED_AT_S) -> tuple[str, dict]:
    kind, said = decode(REGISTER, answer(device, signed_request(name, fields, time_s), name))
    return (RefusalCode(said["code"]).name, {}) if kind == "refusal" else (kind, said)


def train(plan: Plan, number: int = 1, **more) -> dict:
    return {"step": 3, "round": number, "plan_sha256": plan.sha256, "theta": THETA, **more}


@pytest.fixture
def device(tmp_path):
    with open_device(tmp_path / "home", make_profile()) as device:
        device.record(view(0))
        device.close_until(20)
        yield ready(device, PLAN)


def epoch_of(device: Device, number: int = 1) -> Epoch:
    return unverified(member_of(device, number).signed)


# ---- enrolment


def test_from_the_query_to_a_vector_that_its_helpers_open(tmp_path):
    device = open_device(tmp_path, make_profile())
    name, keys = say(device, "enrolment_query", {"epoch": 9})
    assert name == "enrolment" and say(device, "enrolment_query", {"epoch": 9}) == (name, keys)
    leaf = keys["identity"] + keys["seat"]
    assert say(device, "enrolment_query", {"epoch": 8})[0] == "STALE"
    signed = signed_epoch([leaf], device.gate.clock.now_s(), 9)
    assert say(device, "epoch_offer", {"epoch": 9, "signed": signed}) == ("epoch_receipt", {"epoch": 9})
    assert say(device, "epoch_offer", {"epoch": 9, "signed": signed})[0] == "epoch_receipt", "the same one, again"
    other = signed_epoch([leaf], device.gate.clock.now_s(), 9)
    assert say(device, "epoch_offer", {"epoch": 9, "signed": other})[0] == "EPOCH", "another list of it"
    device.close()
    with ready(open_device(tmp_path), PLAN) as again:
        data = signed_request("train_request", train(PLAN, epoch=9))
        values = opened_update(again, data, answer(again, data))
        assert np.count_nonzero(values) > 0.9 * PLAN.network.n_parameters
        assert say(again, "train_request", train(PLAN, 2))[0] == "EPOCH", "of another epoch"
        assert again.gate.ledger.releases["update"] == 1
        kinds = [entry.kind for entry in again.what_left()]
        assert kinds == ["enrolment"] * 2 + ["refusal"] + ["epoch_receipt"] * 2 + ["refusal", "update", "refusal"]


@pytest.mark.parametrize(
    ("about", "more"),
    [
        ("another signer", {"key": OTHER_ENROLLER}),
        ("another audience", {"audience": "north"}),
        ("no keys were drawn for it", {"number": 2}),
        ("over", {"now_s": NOW_S}),
        ("to come", {"now_s": NOW_S + 2 * MOST_WINDOW_S}),
    ],
)
def test_an_epoch_that_is_not_its_own_is_refused_and_changes_nothing(tmp_path, about, more):
    with open_device(tmp_path, make_profile(), clock=ReplayClock(NOW_S + MOST_WINDOW_S)) as device:
        keys = say(device, "enrolment_query", {"epoch": 1})[1]
        leaf, before = keys["identity"] + keys["seat"], device.gate.members
        more = {"now_s": NOW_S + MOST_WINDOW_S, **more}
        wrong = signed_epoch([leaf], **more)
        assert say(device, "epoch_offer", {"signed": wrong})[0] == "EPOCH", about
        assert device.gate.members == before and not before.members[0].signed
        right = signed_epoch([leaf], NOW_S + MOST_WINDOW_S)
        assert say(device, "epoch_offer", {"signed": right})[0] == "epoch_receipt"


def test_a_device_without_an_enrolment_key_believes_no_epoch_and_sends_no_vector(tmp_path):
    with ready(open_device(tmp_path, replace(make_profile(), enrolment_key=b"")), PLAN) as device:
        keys = say(device, "enrolment_query", {"epoch": 1})[1]
        signed = signed_epoch([keys["identity"] + keys["seat"]], device.gate.clock.now_s())
        assert say(device, "epoch_offer", {"signed": signed})[0] == "EPOCH"
        assert say(device, "train_request", train(PLAN))[0] == "EPOCH"
        assert not device.gate.ledger.spent.curves.any()


# ---- what a vector is not sent into


def test_a_plan_that_is_no_sum_gets_no_vector(tmp_path):
    plan = replace(PLAN, sum=None)
    with enrolled(ready(open_device(tmp_path, make_profile()), plan)) as device:
        assert say(device, "train_request", train(plan))[0] == "PLAN_REFUSED"
        assert not device.gate.ledger.spent.curves.any()


@pytest.mark.parametrize("n_helpers", [2, 4, 5])
def test_helpers_of_another_number_than_the_plan_s_get_no_share(tmp_path, n_helpers):
    plan = replace(PLAN, sum=SumPlan(n_helpers))
    with ready(open_device(tmp_path, make_profile()), plan) as device:
        assert say(device, "train_request", train(plan))[0] == "SEATS"
        enrolled(device, 2, n_helpers=n_helpers)
        data = signed_request("train_request", train(plan, epoch=2))
        assert opened_update(device, data, answer(device, data)).size == plan.network.n_parameters


def test_an_epoch_that_is_over_gets_no_share_and_another_one_does(tmp_path):
    clock = ReplayClock(NOW_S)
    with ready(open_device(tmp_path, make_profile(), clock=clock), PLAN) as device:
        assert say(device, "train_request", train(PLAN))[0] == "update"
        clock.wait_until(float(epoch_of(device).ends_s))
        assert say(device, "train_request", train(PLAN, 2))[0] == "EPOCH"
        enrolled(device, 2)
        assert say(device, "train_request", train(PLAN, 2, epoch=2))[0] == "update"


SEATS = SumPlan(0, 20, 20, 12, 14)
#: Seats as the plan would have them, but for one thing.
WRONG_SEATS = {
    "other devices": lambda fields, listed: {**fields, "seats": fields["seats"][64:] + listed[0]},
    "another order": lambda fields, _: {**fields, "seats": fields["seats"][64:128] + fields["seats"][:64] + fields["seats"][128:]},
    "one too few": lambda fields, _: {**fields, "seats": fields["seats"][64:]},
    "none": lambda fields, _: {**fields, "seats": b""},
    "no proof": lambda fields, _: {**fields, "seats_proof": b""},
    "another proof": lambda fields, _: {**fields, "seats_proof": fields["seats_proof"][::-1]},
    "somebody absent who was not drawn": lambda fields, _: {**fields, "absent": b"\xff" * 4},
}  # fmt: skip


@pytest.fixture
def with_seats(tmp_path):
    """A device in an epoch of which devices hold the seats."""
    plan = replace(PLAN, sum=SEATS)
    with open_device(tmp_path, make_profile()) as device:
        yield enrolled(ready(device, PLAN), 2, n_helpers=0, n_others=1999, draws=1), plan


@pytest.mark.parametrize("wrong", WRONG_SEATS)
def test_seats_that_the_epoch_did_not_draw_get_no_share(with_seats, wrong, monkeypatch):
    device, plan = with_seats
    monkeypatch.setattr("shared.secure_sum.assembly.expect_sound", lambda *_: None)  # sizes have tests of their own
    install(device, plan)
    epoch, leaf = epoch_of(device, 2), member_of(device, 2).leaf
    right = seated(plan, plan.updates[0], 1, epoch, leaf)
    fields = WRONG_SEATS[wrong](right, [leaf])
    assert say(device, "train_request", train(plan, **fields))[0] == "SEATS"
    assert not device.gate.ledger.spent.curves.any()
    data = signed_request("train_request", train(plan, **right))
    sent = decode(REGISTER, answer(device, data))[1]
    values = opened_sum(plan, data, epoch, {leaf: sent}, [member_of(device, 2)])
    assert np.count_nonzero(values) > 0.9 * plan.network.n_parameters


def test_seats_that_are_looser_than_sizes_allow_get_no_share(with_seats):
    device, plan = with_seats
    install(device, plan)
    right = seated(plan, plan.updates[0], 1, epoch_of(device, 2), member_of(device, 2).leaf)
    assert say(device, "train_request", train(plan, **right))[0] == "SEATS"


def install(device: Device, plan: Plan) -> None:
    fields = {"step": 3, "round": 0, "plan": plan.canonical, "model": b"", "theta": THETA, "risk": b""}
    assert say(device, "model_offer", fields)[0] == "receipt"


# ---- an update is sent once


def test_a_vector_is_shared_out_once_and_asked_again_the_same_bytes_go_out(device, tmp_path):
    data = signed_request("train_request", train(PLAN))
    first = answer(device, data)
    assert answer(device, data) == first
    device.close()
    with open_device(tmp_path / "home") as again:
        assert answer(again, data) == first
        assert say(again, "train_request", train(PLAN, step=4))[0] == "STALE", "another body of the same round"


def test_no_two_rounds_share_a_key_or_a_byte_of_a_box(device):
    replies = [say(device, "train_request", train(PLAN, number))[1] for number in (1, 2, 3)]
    assert len({reply["ephemeral"] for reply in replies}) == 3
    for one, other in pairwise(replies):
        same = np.frombuffer(one["sealed"], np.uint8) == np.frombuffer(other["sealed"], np.uint8)
        assert same.mean() < 0.02, "as of bytes that have nothing to do with each other: one in 256"


# ---- a seat answers for one list


def lists(device: Device, round_number: int = 1) -> tuple[list[dict], list[SumList]]:
    """Two sum_requests of one sum, of two and of three devices, to this device as a seat; and their lists."""
    epoch = epoch_of(device)
    header = seat_header(PLAN, member_of(device, 1).leaf, epoch, round_number)
    listed, boxes = listed_for(header, epoch, {}, at_least=3)
    shorter = SumList(header, listed.entries[:2])
    pairs = ((shorter, boxes[:2]), (listed, boxes))
    return [seat_request(one, own, epoch, PLACE) for one, own in pairs], [shorter, listed]


def test_the_same_list_gets_the_same_bytes_and_a_second_one_nothing(device):
    (first, second), (listed, _) = lists(device)
    name, said = say(device, "sum_request", first)
    assert name == "seat_sum" and said["list_sha256"] == listed.sha256
    expect_answer(listed, PLACE, said["values"], said["signature"])
    assert say(device, "sum_request", second, ASKED_AT_S + 1)[0] == "SECOND_LIST"
    assert say(device, "sum_request", first, ASKED_AT_S + 2) == ("seat_sum", said)
    assert not device.gate.ledger.spent.curves.any(), "what it added up is others', and says nothing"


def test_other_sums_are_answered_each_and_none_forgets_the_first(device):
    requests = {number: lists(device, number)[0] for number in range(1, 8)}
    said = {number: say(device, "sum_request", first, ASKED_AT_S + number) for number, (first, _) in requests.items()}
    assert {name for name, _ in said.values()} == {"seat_sum"}
    for number, (first, second) in requests.items():
        assert say(device, "sum_request", second, ASKED_AT_S + 100)[0] == "SECOND_LIST"
        assert say(device, "sum_request", first, ASKED_AT_S + 100) == said[number], "however long ago"


def test_another_header_of_the_same_sum_is_another_list(device):
    """Other weights, other seats or a lower least number under the same plan, kind and round."""
    (first, _), (listed, _) = lists(device)
    assert say(device, "sum_request", first)[0] == "seat_sum"
    epoch, header = epoch_of(device), listed.header
    for change in (
        {"body_sha256": hashlib.sha256(b"other weights").digest()},
        {"min_survivors": 1},
        {"seats": (*(other.leaf for other in others(6)[1:]), header.seats[PLACE])},
    ):
        again, boxes = listed_for(replace(header, **change), epoch, {}, at_least=2)
        assert say(device, "sum_request", seat_request(again, boxes, epoch, PLACE))[0] == "SECOND_LIST"


def test_an_opinion_uses_nothing_up(device):
    (first, second), listed = lists(device)
    for request, one in zip((first, second, first), (*listed, listed[0]), strict=True):
        name, said = say(device, "opinion_request", request)
        assert (name, said["refused"], said["list_sha256"]) == ("opinion", b"", one.sha256)
    assert say(device, "sum_request", second)[0] == "seat_sum"
    assert say(device, "opinion_request", first)[0] == "opinion", "and is given after the answer, too"


def test_a_list_that_is_not_right_uses_nothing_up(device):
    (first, _), _ = lists(device)
    wrong = {
        "EPOCH": [{"epoch": 2}],
        "LIST": [
            {"boxes": b""},
            {"entries": b""},
            {"proof": b""},
            {"header": b"\xa0"},
            {"boxes": first["boxes"][::-1]},
        ],
        "SEATS": [{"header": _headed(first, seats=tuple(other.leaf for other in others(6)))}],
    }
    for code, changes in wrong.items():
        for change in changes:
            assert say(device, "sum_request", {**first, **change})[0] == code, change.keys()
    assert not member_of(device, 1).answered
    assert say(device, "sum_request", first)[0] == "seat_sum"


def _headed(request: dict, **changes) -> bytes:
    return replace(Header.from_bytes(request["header"]), **changes).canonical


@pytest.mark.parametrize("where", ["members", "journal", "commit", "anchor", "sent"])
def test_killed_between_the_record_and_the_reply_a_seat_answers_for_no_second_list(
    device, tmp_path, monkeypatch, where
):
    """Wherever it dies, whoever opens what it left: one list of the two is answered, and if a reply was made, its list."""

    class Killed(BaseException):
        pass

    (first, second), _ = lists(device)
    put, append, heads, advance = Store.put, Store.append, Store._write_heads, type(device._vault.keys).advance

    def killed(name, real):
        def go(*arguments):
            if where == name:
                raise Killed
            return real(*arguments)

        return go

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", lambda s, t, *r: (_ for _ in ()).throw(Killed) if t == where else put(s, t, *r))
        patch.setattr(
            Store, "append", lambda s, t, *r: (_ for _ in ()).throw(Killed) if t == where else append(s, t, *r)
        )
        patch.setattr(Store, "_write_heads", killed("commit", heads))
        patch.setattr(type(device._vault.keys), "advance", killed("anchor", advance))
        if where == "sent":
            said = say(device, "sum_request", first)
        else:
            with pytest.raises(Killed):
                say(device, "sum_request", first)
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    with open_device(tmp_path / "copy") as again:
        recorded = where in ("anchor", "sent")
        assert bool(member_of(again, 1).answered) is recorded
        expected = ["SECOND_LIST", "seat_sum"] if recorded else ["seat_sum", "SECOND_LIST"]
        assert [say(again, "sum_request", one, ASKED_AT_S + 9)[0] for one in (second, first)] == expected
        if where == "sent":
            assert say(again, "sum_request", first, ASKED_AT_S + 9) == said


def test_after_it_was_opened_again_a_seat_knows_for_which_list_it_answered(device, tmp_path):
    (first, second), _ = lists(device)
    said = say(device, "sum_request", first)
    device.close()
    for later_s in (1, 2):
        with open_device(tmp_path / "home") as again:
            assert say(again, "sum_request", second, ASKED_AT_S + later_s)[0] == "SECOND_LIST"
            assert say(again, "sum_request", first, ASKED_AT_S + later_s) == said


def test_a_copy_of_before_that_was_put_back_answers_for_no_list(device, tmp_path):
    """The number that only rises tells: also where the key's file was left in place, as a backup of the database would."""
    (first, _), _ = lists(device)
    device.close()
    shutil.copytree(tmp_path / "home", tmp_path / "backup")
    with open_device(tmp_path / "home") as now:
        assert say(now, "sum_request", first)[0] == "seat_sum"
    shutil.copy(tmp_path / "backup" / Store.FILE, tmp_path / "home" / Store.FILE)
    with pytest.raises(VaultRolledBack):
        open_device(tmp_path / "home")


def test_a_paused_or_forgotten_device_is_no_seat(device):
    (first, _), _ = lists(device)
    assert device.pause() and say(device, "sum_request", first)[0] == "PAUSED"
    assert not device.pause(False) and say(device, "sum_request", first)[0] == "seat_sum"
    assert device.forget() and say(device, "sum_request", first)[0] == "deletion"


def test_a_seat_whose_epoch_is_over_adds_nothing_up(tmp_path):
    clock = ReplayClock(NOW_S)
    with ready(open_device(tmp_path, make_profile(), clock=clock), PLAN) as device:
        (first, _), _ = lists(device)
        clock.wait_until(float(epoch_of(device).ends_s))
        for name in ("opinion_request", "sum_request"):
            assert say(device, name, first)[0] == "EPOCH"
