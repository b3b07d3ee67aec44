"""A round's secure sum: what is opened is the plain sum of the listed devices, or nothing is; and who misbehaves is named."""

from dataclasses import replace

import numpy as np
import pytest

from server.state import SummedLists
from shared.errors import SumError
from shared.plan import SumPlan, UpdateKind
from shared.secure_sum.assembly import seats_drawn
from shared.secure_sum.entry import SumList
from shared.secure_sum.sizes import seats
from tests.world.seats import FIRST_HELPER, World

from .parts import (
    ENROLLED,
    IN_BOTH,
    N_VALUES,
    SEATED,
    SOME_WAYS,
    WAYS,
    bad_boxes,
    expect_nothing,
    expect_opened,
    plan_for,
    seated,
    world_of,
)

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
    lost = [node for node in kept if node not in world.cohort][-(way.seats // 10) :]
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
