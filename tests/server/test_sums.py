"""A round's secure sum: what is opened is the plain sum of the listed devices, or nothing is; and who misbehaves is named."""

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from server.state import SummedLists
from shared.errors import SumError
from shared.plan import Plan, SumPlan, UpdateKind
from shared.secure_sum.assembly import seats_drawn
from shared.secure_sum.entry import Entry, SumList
from shared.secure_sum.packed_shamir import Code
from shared.secure_sum.seat import Seat
from shared.secure_sum.share import Contribution, contribute
from shared.secure_sum.sizes import seats
from tests.world.basics import make_plan
from tests.world.seats import FIRST_HELPER, Party, World

N_VALUES = 40
#: Of 120 enrolled devices: 40 seats of 58 drawn, of which 27 have to answer.
ENROLLED = 120
SIZES = seats(ENROLLED, N_VALUES, 3)
IN_SEATS = SumPlan(0, SIZES.n_seats, SIZES.n_drawn, SIZES.t_priv, SIZES.t_rec)
IN_BOTH = replace(IN_SEATS, helpers=2)
WAYS = {"2 helpers": SumPlan(2), "3 helpers": SumPlan(3), "5 helpers": SumPlan(5), "seats": IN_SEATS, "both": IN_BOTH}
SOME_WAYS = {name: WAYS[name] for name in ("3 helpers", "seats", "both")}
SEATED = {name: WAYS[name] for name in ("seats", "both")}


def plan_for(way: SumPlan, n: int, min_survivors: int = 2) -> Plan:
    privacy = {"noise_multiplier": 0.0, "population": max(n, 2), "min_survivors": min_survivors}
    return make_plan(privacy=privacy, sum=way)


def world_of(way: SumPlan, n: int, min_survivors: int = 2, **how) -> World:
    plan = plan_for(way, n, min_survivors)
    kind = UpdateKind("train_request", plan.privacy, N_VALUES)
    return World(plan, n, kind=kind, n_enrolled=ENROLLED if way.seats else 0, **how)


def seated(world: World, round_number: int = 1) -> list[int]:
    """Nodes of the devices that hold a round's seats, if nobody is named absent."""
    drawn = seats_drawn(world.plan, world.kind, round_number, world.epoch)
    return [world.node_at(index) for index in drawn[: world.plan.sum.seats]]


def expect_opened(world: World, nodes, round_number: int = 1) -> None:
    total, n = world.collect(round_number)
    assert n == len(nodes)
    np.testing.assert_array_equal(total, world.plain_sum(nodes))


def expect_nothing(world: World, reason: str, round_number: int = 1) -> None:
    total, n = world.collect(round_number)
    assert n == 0 and not total.any() and world.dropped[reason] == 1


# ---- exact


@pytest.mark.parametrize("gone_share", [0, 0.1, 0.3])
@pytest.mark.parametrize("n", [3, 20, 50, 100])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_is_opened_is_the_plain_sum_of_those_who_answered(way, n, gone_share):
    world = world_of(way, n)
    gone = {node for node in world.cohort if node % 10 in (5, 8, 2)[: round(10 * gone_share)]}
    for node in gone:  # silent in the round; as a seat each still answers
        world.bends[node] = lambda name, fields: None if name == "train_request" else fields
    expect_opened(world, [node for node in world.cohort if node not in gone])
    assert not world.traffic.dropped


@pytest.mark.slow
@pytest.mark.parametrize("way", SOME_WAYS.values(), ids=SOME_WAYS)
def test_nor_does_a_sum_of_500_differ(way):
    plan = plan_for(way, 500)
    world = World(plan, 500, kind=UpdateKind("train_request", plan.privacy, N_VALUES)) if not way.seats else None
    if world is None:
        sizes = seats(500, N_VALUES, 3)
        plan = plan_for(
            replace(way, seats=sizes.n_seats, drawn=sizes.n_drawn, t_priv=sizes.t_priv, t_rec=sizes.t_rec), 500
        )
        world = World(plan, 500, kind=UpdateKind("train_request", plan.privacy, N_VALUES))
    expect_opened(world, world.cohort)
    assert not world.traffic.dropped


@pytest.mark.parametrize("way", SOME_WAYS.values(), ids=SOME_WAYS)
def test_of_the_updates_of_a_plan_every_value_is_opened(way):
    plan = plan_for(way, 4)
    world = World(plan, 4, n_enrolled=ENROLLED if way.seats else 0)
    total, n = world.collect()
    assert n == 4 and total.shape == (plan.network.n_parameters,)
    np.testing.assert_array_equal(total, world.plain_sum(world.cohort))


@pytest.mark.parametrize("way", SEATED.values(), ids=SEATED)
def test_some_are_named_absent_before_and_a_tenth_of_the_seats_is_gone_after(way):
    world = world_of(way, 20)
    drawn = [world.node_at(index) for index in seats_drawn(world.plan, world.kind, 1, world.epoch)]
    absent = drawn[:: len(drawn) // 17][:17]
    assert round(0.3 * len(drawn)) == len(absent)
    for node in absent:
        del world.grid.nodes[node]
    world.cohort = [node for node in world.cohort if node not in absent]
    kept = [node for node in drawn if node not in absent][: way.seats]
    lost = [node for node in kept if node not in world.cohort][:: way.seats // 4][: way.seats // 10]
    assert len(lost) == 4
    for node in lost:
        world.bends[node] = lambda name, fields: None
    expect_opened(world, world.cohort)
    assert set(world.asked_for("opinion_request")) == {*kept, *world.helpers}
    assert not world.traffic.dropped


@pytest.mark.parametrize("way", SEATED.values(), ids=SEATED)
def test_more_are_gone_than_may_be_named_absent_and_the_rest_are_asked_in_vain(way):
    world = world_of(way, 20)
    drawn = [world.node_at(index) for index in seats_drawn(world.plan, world.kind, 1, world.epoch)]
    spare = way.drawn - way.seats
    for node in drawn[: spare + 5]:
        world.grid.get_node_ids = lambda away=frozenset(drawn[: spare + 5]): [n for n in world.parties if n not in away]
        world.bends[node] = lambda name, fields: None if name != "train_request" else fields
    expect_opened(world, world.cohort)
    assert set(world.asked_for("opinion_request")) == {*drawn[spare:], *world.helpers}
    assert len(world.asked_for("sum_request")) == way.seats - 5 + way.helpers


@pytest.mark.parametrize("way", SEATED.values(), ids=SEATED)
def test_whoever_had_his_device_forgotten_is_named_absent(way):
    world = world_of(way, 5)
    first = seated(world)[0]
    world.enrolment.leave(first)
    expect_opened(world, [node for node in world.cohort if node != first])
    assert first not in world.asked_for("opinion_request")


# ---- with one answer too few nothing is opened


@pytest.mark.parametrize("request_name", ["opinion_request", "sum_request"])
@pytest.mark.parametrize("way", [WAYS["2 helpers"], WAYS["5 helpers"]], ids=str)
def test_a_helper_that_is_gone_means_a_round_without_a_sum_which_is_counted(way, request_name):
    world = world_of(way, 5)
    world.bends[FIRST_HELPER + 1] = lambda name, fields: None if name == request_name else fields
    expect_nothing(world, "sum_few")
    del world.bends[FIRST_HELPER + 1]
    expect_opened(world, world.cohort, round_number=2)


@pytest.mark.parametrize("way", SEATED.values(), ids=SEATED)
def test_of_device_seats_exactly_so_many_must_answer(way):
    for n_answers in (way.answers, way.answers - 1):
        world = world_of(way, 3)
        for node in seated(world)[n_answers:]:
            world.bends[node] = lambda name, fields: None if name == "sum_request" else fields
        if n_answers == way.answers:
            expect_opened(world, world.cohort)
        else:
            expect_nothing(world, "sum_few")


@pytest.mark.parametrize("request_name", ["opinion_request", "sum_request"])
def test_a_pad_that_is_missing_leaves_the_sum_under_it(request_name):
    world = world_of(IN_BOTH, 3)
    world.bends[FIRST_HELPER] = lambda name, fields: None if name == request_name else fields
    expect_nothing(world, "sum_few")


@pytest.mark.parametrize("way", SOME_WAYS.values(), ids=SOME_WAYS)
def test_fewer_than_min_survivors_are_not_even_shown_to_a_seat(way):
    world = world_of(way, 6, min_survivors=4)
    world.gone = {1, 2, 3}
    total, n = world.collect()
    assert (n, total.any()) == (3, False)
    assert not world.asked_for("opinion_request") and not world.asked_for("sum_request")


@pytest.mark.parametrize("way", SOME_WAYS.values(), ids=SOME_WAYS)
def test_so_few_are_left_after_the_seats_spoke_that_none_is_asked_for_a_sum(way):
    world = world_of(way, 4, min_survivors=4)
    world.sends[2] = bad_boxes
    total, n = world.collect()
    assert (n, total.any()) == (3, False)
    assert world.asked_for("opinion_request") and not world.asked_for("sum_request")


# ---- one hostile device


def resigned(header, leaf, identity, made: Contribution, **changes) -> Contribution:
    """Other bytes under a right signature of their device."""
    other = replace(made, **changes)
    entry = Entry.sign(header, leaf, identity, other.ephemeral, other.sealed)
    return replace(other, signature=entry.signature)


def bad_boxes(header, leaf, identity, values) -> Contribution:
    made = contribute(header, leaf, identity, values)
    return resigned(header, leaf, identity, made, sealed=bytes(len(made.sealed)))


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


# ---- one list


@pytest.mark.parametrize("way", SOME_WAYS.values(), ids=SOME_WAYS)
def test_the_list_is_written_down_before_the_first_seat_sees_it_as_final(way):
    seen = []

    def keep(listed: SumList) -> None:
        seen.append((len(listed.entries), len(world.asked_for("opinion_request")), len(world.asked_for("sum_request"))))

    world = world_of(way, 5, keep=keep)
    world.sends[2] = bad_boxes
    expect_opened(world, [1, 3, 4, 5])
    assert seen == [(4, (way.seats or way.helpers) + (way.helpers if way.seats else 0), 0)]


@pytest.mark.parametrize("way", SOME_WAYS.values(), ids=SOME_WAYS)
def test_a_list_that_could_not_be_written_down_is_shown_to_nobody(way):
    def keep(listed: SumList) -> None:
        raise OSError("no space left")

    world = world_of(way, 5, keep=keep)
    with pytest.raises(OSError, match="no space"):
        world.collect()
    assert not world.asked_for("sum_request")


def test_a_second_list_under_the_same_header_is_refused_by_the_server_itself(tmp_path):
    lists = []
    world = world_of(SumPlan(2), 5, keep=lists.append)
    world.collect()
    (listed,) = lists
    shorter = SumList.of(listed.header, listed.entries[:-1])
    for kept in (SummedLists(tmp_path / "lists.db"), SummedLists(tmp_path / "lists.db")):
        kept.keep(listed)
        with pytest.raises(SumError, match="expected the list") as refused:
            kept.keep(shorter)
        assert refused.value.reason == "second_list"
    SummedLists(tmp_path / "lists.db").keep(replace(listed, header=replace(listed.header, round=2)))


@pytest.mark.parametrize("way", SOME_WAYS.values(), ids=SOME_WAYS)
def test_the_same_round_asked_again_opens_nothing(way, tmp_path):
    """Devices would draw fresh keys, so it is another list: neither the server's register nor a seat's lets it through."""
    world = world_of(way, 4, keep=SummedLists(tmp_path / "lists.db").keep)
    expect_opened(world, world.cohort)
    expect_nothing(world, "sum_second_list")
    forgetful = world_of(way, 4)
    expect_opened(forgetful, forgetful.cohort)
    n_asked = len(forgetful.asked_for("sum_request"))
    expect_nothing(forgetful, "sum_few")
    assert len(forgetful.asked_for("sum_request")) == 2 * n_asked, "the seats were asked, and refused"


@pytest.mark.parametrize("way", SOME_WAYS.values(), ids=SOME_WAYS)
def test_every_round_has_a_list_of_its_own(way):
    world = world_of(way, 4)
    for number in (1, 2, 3):
        expect_opened(world, world.cohort, round_number=number)
    assert not world.traffic.dropped
    slots = [slot for party in world.parties.values() for slot in party.slots]
    assert {number for _, _, _, number in slots} == {1, 2, 3} and len(slots) == len(world.asked_for("sum_request"))
    assert len({listed for party in world.parties.values() for listed in party.slots.values()}) == 3
