"""Devices and seats that misbehave in a secure sum: who is left out, what is corrected, and what is counted."""

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from shared.plan import SumPlan
from shared.secure_sum.entry import SumList
from shared.secure_sum.packed_shamir import Code
from shared.secure_sum.seat import Seat
from shared.secure_sum.share import Contribution, contribute
from tests.world.seats import FIRST_HELPER, Party, World

from .parts import (
    IN_SEATS,
    SEATED,
    SOME_WAYS,
    bad_boxes,
    expect_nothing,
    expect_opened,
    resigned,
    seated,
    world_of,
)

# ---- one hostile device


def low_order_key(header, leaf, identity, values) -> Contribution:
    made = contribute(header, leaf, identity, values)
    return resigned(header, leaf, identity, made, ephemeral=bytes(32))


def wrong_length(header, leaf, identity, values) -> Contribution:
    made = contribute(header, leaf, identity, values)
    return resigned(header, leaf, identity, made, sealed=made.sealed[:-1])


def foreign_signature(header, leaf, identity, values) -> Contribution:
    return replace(contribute(header, leaf, identity, values), signature=bytes(64))


def copied_key(header, leaf, identity, values) -> Contribution:
    """A device that signs what another one sent: its boxes do not open under its own name."""
    other = Party("device 1")
    made = contribute(header, other.leaf, other.identity, values)
    return resigned(header, leaf, identity, made)


def wrong_shares(which: slice) -> Callable[..., Contribution]:
    """Shares that lie on no polynomial, some of them changed, each sealed as it should be."""
    right = Code.share

    def share(self, *arguments):
        rows = right(self, *arguments).copy()
        rows[which] = (rows[which] + np.uint64(1)) % np.uint64(self.field.prime)
        return rows

    def send(header, leaf, identity, values) -> Contribution:
        with patch.object(Code, "share", share):
            return contribute(header, leaf, identity, values)

    return send


HOSTILE = {
    "bad boxes": (bad_boxes, "sum_bad_shares"),
    "a low-order key": (low_order_key, "sum_bad_shares"),
    "another's boxes": (copied_key, "sum_bad_shares"),
    "a wrong length": (wrong_length, "sum_length"),
    "a foreign signature": (foreign_signature, "sum_signature"),
}


@pytest.mark.parametrize(("send", "reason"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("way", SOME_WAYS.values(), ids=SOME_WAYS)
def test_a_hostile_device_is_left_out_and_counted_and_the_round_goes_on(way, send, reason):
    world = world_of(way, 6)
    world.sends[3] = send
    expect_opened(world, [1, 2, 4, 5, 6])
    assert world.traffic.dropped == {reason: 1}
    assert len(world.asked_for("sum_request")) == len(set(world.asked_for("sum_request"))), "no second list"


@pytest.mark.parametrize("which", [slice(0, 1), slice(0, 5), slice(None)], ids=["one", "five", "all"])
@pytest.mark.parametrize("way", SEATED.values(), ids=SEATED)
def test_shares_of_no_vector_under_valid_seals_take_their_device_out_and_no_seat(way, which):
    world = world_of(way, 6)
    world.sends[3] = wrong_shares(which)
    expect_opened(world, [1, 2, 4, 5, 6])
    assert world.traffic.dropped == {"sum_bad_shares": 1}
    assert len(world.asked_for("sum_request")) == way.seats + way.helpers


@pytest.mark.parametrize("way", SEATED.values(), ids=SEATED)
def test_several_at_once_leave_the_others_their_sum(way):
    world = world_of(way, 12)
    sends = [bad_boxes, low_order_key, wrong_length, foreign_signature, wrong_shares(slice(0, 3)), copied_key]
    world.sends = dict(enumerate(sends, start=2))
    expect_opened(world, [1, 8, 9, 10, 11, 12])
    assert world.traffic.dropped == {"sum_bad_shares": 4, "sum_length": 1, "sum_signature": 1}


@pytest.mark.parametrize("way", SOME_WAYS.values(), ids=SOME_WAYS)
def test_a_node_that_is_not_in_the_list_is_not_in_the_sum(way):
    world = world_of(way, 5)
    stranger = Party("stranger")
    world.devices[5000], world.vectors[5000] = stranger, world.vectors[1]
    world.grid.nodes[5000] = world._node(5000)
    world.cohort = [*world.cohort, 5000]
    expect_opened(world, [1, 2, 3, 4, 5])
    assert world.traffic.dropped == {"sum_outside": 1}


# ---- seats that lie


_TOTAL = Seat.total


def one_more(seat: Seat, listed: SumList, boxes: bytes) -> np.ndarray:
    field = listed.header.code.field
    return ((_TOTAL(seat, listed, boxes) + np.uint64(1)) % np.uint64(field.prime)).astype(np.uint32)


def make_lie(world: World, node: int) -> None:
    """From now on this seat adds one to what it should say, and signs that."""
    party = world.parties[node]
    honest = party.serve

    def serve(name, request):
        with patch.object(Seat, "total", one_more):
            return honest(name, request)

    party.serve = serve


@pytest.mark.parametrize("way", SEATED.values(), ids=SEATED)
def test_seats_that_lie_are_corrected_and_counted_up_to_the_radius_and_beyond_it_nothing_is_opened(way):
    most = (way.seats - way.t_rec) // 2
    for n_liars in (1, most, most + 1):
        world = world_of(way, 4)
        for node in seated(world)[:n_liars]:
            make_lie(world, node)
        if n_liars <= most:
            expect_opened(world, world.cohort)
            assert world.traffic.dropped == {"sum_lying_seat": n_liars}
        else:
            expect_nothing(world, "sum_lies")


def test_a_helper_that_lies_shifts_the_sum_and_nobody_sees_it():
    """As the docs say: the helpers' answers must all be there, so none is to spare."""
    world = world_of(SumPlan(3), 4)
    make_lie(world, FIRST_HELPER)
    total, n = world.collect()
    assert n == 4 and not world.traffic.dropped
    assert (total != world.plain_sum(world.cohort)).all()


WRONG_ANSWERS = {
    "another list": lambda fields: {**fields, "list_sha256": bytes(32)},
    "no signature": lambda fields: {**fields, "signature": bytes(64)},
    "other values": lambda fields: {**fields, "values": bytes(len(fields["values"]))},
    "too short": lambda fields: {**fields, "values": fields["values"][:-1]},
}


@pytest.mark.parametrize("wrong", WRONG_ANSWERS.values(), ids=WRONG_ANSWERS)
@pytest.mark.parametrize("way", SOME_WAYS.values(), ids=SOME_WAYS)
def test_an_answer_that_its_seat_did_not_sign_for_this_list_is_none(way, wrong):
    world = world_of(way, 4)
    node = seated(world)[0] if way.seats else FIRST_HELPER
    world.bends[node] = lambda name, fields: wrong(fields) if name == "sum_request" else fields
    if way.seats:
        expect_opened(world, world.cohort)
        assert world.traffic.dropped == {"sum_answer": 1}
    else:
        expect_nothing(world, "sum_few")
        assert world.dropped["sum_answer"] == 1


def everybody(n: int) -> bytes:
    return b"".join(i.to_bytes(4, "big") for i in range(n))


@pytest.mark.parametrize("way", SEATED.values(), ids=SEATED)
def test_a_seat_that_names_everybody_is_out_and_nobody_else_is(way):
    world = world_of(way, 6)
    node = seated(world)[0]
    world.bends[node] = lambda name, fields: (
        {**fields, "refused": everybody(6)} if name == "opinion_request" else fields
    )
    expect_opened(world, world.cohort)
    assert world.traffic.dropped == {"sum_bad_seat": 1}
    assert node not in world.asked_for("sum_request")


@pytest.mark.parametrize("way", SEATED.values(), ids=SEATED)
def test_a_seat_that_names_most_is_out_too(way):
    world = world_of(way, 6)
    node = seated(world)[0]
    world.bends[node] = lambda name, fields: (
        {**fields, "refused": everybody(5)} if name == "opinion_request" else fields
    )
    expect_opened(world, world.cohort)
    assert world.traffic.dropped == {"sum_bad_seat": 1}


def test_a_helper_that_names_everybody_leaves_a_round_without_a_sum():
    world = world_of(SumPlan(3), 6)
    world.bends[FIRST_HELPER] = lambda name, fields: (
        {**fields, "refused": everybody(6)} if name == "opinion_request" else fields
    )
    expect_nothing(world, "sum_few")
    assert world.dropped == {"sum_bad_seat": 1, "sum_few": 1}


WRONG_OPINIONS = {
    "of another list": {"list_sha256": bytes(32)},
    "of places that are none": {"refused": (6).to_bytes(4, "big")},
    "twice of one": {"refused": bytes(8)},
    "tests too many": {"tests": bytes(1000)},
}


@pytest.mark.parametrize("wrong", WRONG_OPINIONS.values(), ids=WRONG_OPINIONS)
def test_an_opinion_that_cannot_be_read_takes_its_seat_out(wrong):
    world = world_of(IN_SEATS, 6)
    node = seated(world)[0]
    world.bends[node] = lambda name, fields: {**fields, **wrong} if name == "opinion_request" else fields
    expect_opened(world, world.cohort)
    assert world.traffic.dropped == {"sum_opinion": 1}
    assert node not in world.asked_for("sum_request")
