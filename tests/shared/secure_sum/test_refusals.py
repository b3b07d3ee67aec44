"""What has no place in a sum is refused, by name, before the seat's answer is used up; and one device never stops a seat."""

from dataclasses import replace

import numpy as np
import pytest

from shared.secure_sum.entry import Entry, SumList
from shared.secure_sum.keys import agreed
from shared.secure_sum.seat import expect_answer
from shared.secure_sum.share import contribute

from .cases import BY_ONE_DEVICE, REFUSED, SEALED, VICTIM, WORLD, asked, honest
from .parts import Person, Register, World, refusal_of

LOW_ORDER = [bytes(32), bytes([1]) + bytes(31), (2**255 - 20).to_bytes(32, "little")]


def test_what_is_changed_below_was_right():
    assert WORLD.duty(SEALED).answer(asked(honest())).values


@pytest.mark.parametrize("name", REFUSED)
def test_a_seat_refuses_by_name(name):
    work, reason = REFUSED[name]
    request, register = work(), Register()
    assert refusal_of(lambda: WORLD.duty(SEALED, register).answer(request)) == reason
    assert register.lists == {}


@pytest.mark.parametrize("name", BY_ONE_DEVICE)
def test_whom_one_device_hurts_is_itself(name):
    """The seat's opinion names it and nobody else; without it the round goes on, with nothing used up."""
    request = REFUSED[name][0]()
    assert WORLD.duty(SEALED).opinion(request)["refused"] == BY_ONE_DEVICE[name].to_bytes(4, "big")
    others = [one for at, one in enumerate(honest()) if at != BY_ONE_DEVICE[name]]
    found = WORLD.opened(others, WORLD.answered(others, range(3)))
    assert np.array_equal(found.values, np.delete(WORLD.values(), BY_ONE_DEVICE[name], axis=0).sum(0))


def test_all_of_them_at_once_are_named_and_stop_nothing():
    """Every entry broken in another way, at a streamed and at a sealed seat."""
    sent = honest()
    sent[0] = sent[0].resigned(WORLD.header, 0, WORLD.devices[0], ephemeral=bytes(32))
    sent[1] = sent[1].changed(signature=bytes(64))
    sent[2] = sent[0].changed(leaf=WORLD.devices[2].leaf, index=2)
    for place in range(3):
        said = WORLD.duty(place).opinion(WORLD.request(sent, place))
        assert np.frombuffer(said["refused"], ">u4").tolist() == [0, 1, 2]


def test_another_list_is_refused_whoever_asks_for_it_and_the_same_one_gets_the_same_bytes():
    register, sent = Register(), honest()
    first = WORLD.duty(SEALED, register).answer(asked(sent))
    register.lists[first.slot] = first.list_sha256
    again = WORLD.duty(SEALED, register)
    assert again.answer(asked(sent)) == first
    other_weights = replace(WORLD.header, body_sha256=bytes(32))
    resent = [WORLD.sent(at, other_weights) for at in range(5)]
    for request in (asked(sent[:-1]), asked(sent[1:]), asked(resent, other_weights)):
        assert refusal_of(lambda request=request: again.answer(request)) == "second_list"
    next_round = replace(WORLD.header, round=4)
    assert again.answer(asked([WORLD.sent(at, next_round) for at in range(5)], next_round)).slot != first.slot


@pytest.mark.parametrize("change", ["kind", "round", "plan_sha256", "epoch_sha256"])
def test_a_slot_is_epoch_plan_kind_and_round_and_nothing_else(change):
    other = {"kind": "risk_update", "round": 9, "plan_sha256": bytes(32), "epoch_sha256": bytes(32)}[change]
    assert replace(WORLD.header, **{change: other}).slot != WORLD.header.slot
    same = replace(WORLD.header, body_sha256=bytes(32), seats=WORLD.header.seats[::-1], absent=(4,), min_survivors=1)
    assert same.slot == WORLD.header.slot and same.sha256 != WORLD.header.sha256


def test_a_list_is_named_with_its_header_entries_and_all():
    entries = [one.entry for one in honest()]
    named = [
        SumList.of(WORLD.header, entries),
        SumList.of(replace(WORLD.header, body_sha256=bytes(32)), entries),
        SumList.of(WORLD.header, entries[1:]),
        SumList.of(WORLD.header, [*entries[1:], honest()[0].changed(signature=bytes(64)).entry]),
    ]
    assert len({listed.sha256 for listed in named}) == len(named)


@pytest.mark.parametrize(("name", "reason"), [("a key outside the list", "outside"), ("an entry twice", "twice"),
                                              ("another epoch", "epoch"), ("its own seat twice", "seat")])  # fmt: skip
def test_no_opinion_is_given_of_a_list_of_others(name, reason):
    assert refusal_of(lambda: WORLD.duty(SEALED).opinion(REFUSED[name][0]())) == reason


def test_an_answer_is_believed_for_its_list_its_place_and_its_words():
    sent, answer = honest(), WORLD.answered(honest(), [0])[0]
    listed = SumList.of(WORLD.header, [one.entry for one in sent])
    expect_answer(listed, 0, answer.values, answer.signature)
    fewer = SumList.of(WORLD.header, [one.entry for one in sent[1:]])
    for wrong in (
        lambda: expect_answer(listed, 1, answer.values, answer.signature),
        lambda: expect_answer(fewer, 0, answer.values, answer.signature),
        lambda: expect_answer(listed, 0, bytes(len(answer.values)), answer.signature),
        lambda: expect_answer(listed, 0, answer.values, bytes(64)),
    ):
        assert refusal_of(wrong) == "answer"


@pytest.mark.parametrize("key", [*LOW_ORDER, bytes(31)])
def test_a_key_of_low_order_or_of_another_length_is_refused_by_devices_and_seats(key):
    assert refusal_of(lambda: agreed(Person("anybody").seat, key)) == "key"
    if len(key) == 32:
        hostile = replace(WORLD.header, seats=(*WORLD.header.seats[:2], WORLD.header.seats[2][:32] + key))
        one = WORLD.devices[0]
        assert refusal_of(lambda: contribute(hostile, one.leaf, one.identity, WORLD.values()[0])) == "key"


@pytest.mark.parametrize("n_values", [6, 8])
def test_a_vector_of_another_length_is_not_sent(n_values):
    one = WORLD.devices[0]
    work = lambda: contribute(WORLD.header, one.leaf, one.identity, np.zeros(n_values, np.int64))  # noqa: E731
    assert refusal_of(work) == "length"


def test_a_seat_tells_test_words_only_of_what_its_device_signed():
    """A second challenge for the same shares would give the vector away: whoever changes what a challenge follows from has no
    signature for it."""
    world = World(9, thresholds=(9, 5, 7), n_helpers=0)
    sent = [world.sent(at) for at in range(9)]
    said = world.seat(8).opinion(_listed(world, sent), world.request(sent, 8)["boxes"])
    assert said.refused == () and said.tests.all(axis=1).any()
    for change in ({"sealed_sha256": bytes(32)}, {"ephemeral": bytes([9]) * 32}, {"signature": bytes(64)}):
        hostile = [one.changed(**change) if at == VICTIM else one for at, one in enumerate(sent)]
        for place in (0, 8):
            told = world.seat(place).opinion(_listed(world, hostile), world.request(sent, place)["boxes"])
            assert told.refused == (VICTIM,) and not told.tests[VICTIM].any()


def test_what_is_told_of_a_device_is_the_same_in_every_list_and_however_often():
    world = World(9, thresholds=(9, 5, 7), n_helpers=0)
    sent = [world.sent(at) for at in range(9)]
    for place in (0, 8):
        whole = world.seat(place).opinion(_listed(world, sent), world.request(sent, place)["boxes"])
        alone = world.seat(place).opinion(
            _listed(world, sent[VICTIM : VICTIM + 1]), world.request(sent[VICTIM : VICTIM + 1], place)["boxes"]
        )
        assert np.array_equal(whole.tests[VICTIM], alone.tests[0])
        moved = sent[VICTIM].changed(index=0).entry
        assert moved.test_key == sent[VICTIM].entry.test_key and isinstance(moved, Entry)


def _listed(world, sent):
    return SumList.of(world.header, [one.entry for one in sent])
