"""A round in one process, by what devices and seats really run: the opened sum is the plain sum of the listed devices, exactly."""

import numpy as np
import pytest

from shared.secure_sum.consistency import judged
from shared.secure_sum.correction import conflicts, radius
from shared.secure_sum.entry import SumList
from shared.secure_sum.field import Field
from shared.secure_sum.keys import Tie, agreed
from shared.secure_sum.seat import sign_answer

from .parts import Person, World, refusal_of

#: Seats, t_priv, t_rec: small, and as many as n devices can have.
SEATS = {20: (12, 7, 9), 500: (40, 23, 29)}
HELD = {
    "two helpers": lambda n: World(n, 2),
    "three helpers": lambda n: World(n, 3),
    "five helpers": lambda n: World(n, 5),
    "devices": lambda n: World(n, 0, SEATS[n]),
    "devices, and a helper's pad": lambda n: World(n, 1, SEATS[n]),
    "devices, and three pads": lambda n: World(n, 3, SEATS[n]),
}
#: Who holds seats, of how many devices, of whom a share is gone. 500 devices: once for helpers, once for all that there is.
CASES = [(held, n, gone) for held in HELD for n in (3, 20) if n > 3 or "devices" not in held for gone in (0, 0.1, 0.3)]
CASES += [("three helpers", 500, 0.3), ("devices, and three pads", 500, 0.3)]


@pytest.mark.parametrize(("held", "n_devices", "gone"), CASES)
def test_the_opened_sum_is_the_sum_of_the_listed_devices(held, n_devices, gone):
    world = HELD[held](n_devices)
    listed = np.random.default_rng(3).permutation(n_devices)[int(gone * n_devices) :]
    sent = [world.sent(int(at)) for at in listed]
    places = list(range(len(world.holders)))
    if world.thresholds:  # the fewest that may answer, pads apart: a different choice each time
        n_seats = len(world.seats)
        needed = world.header.code.needed
        places = [*np.random.default_rng(4).permutation(n_seats)[:needed].tolist(), *places[n_seats:]]
    found = world.opened(sent, world.answered(sent, places))
    assert np.array_equal(found.values, world.values()[listed].sum(0)) and found.liars.size == 0


@pytest.mark.parametrize("prime", [Field.holding(2**22).prime, Field.holding(2**30).prime, 4294967291])
def test_every_size_of_word_gives_the_signed_sum(prime):
    world = World(3, 2, prime=prime, n_values=40)
    sent = [world.sent(at) for at in range(3)]
    assert np.array_equal(world.opened(sent, world.answered(sent, (0, 1))).values, world.values().sum(0))


@pytest.mark.parametrize(("thresholds", "n_answers"), [(None, 2), ((12, 7, 9), 10)])
def test_with_one_answer_too_few_nothing_is_opened(thresholds, n_answers):
    """All of three helpers; of device seats two more than determine a sum."""
    world = World(20, 3 if thresholds is None else 0, thresholds)
    sent = [world.sent(at) for at in range(4)]
    answers = world.answered(sent, range(n_answers))
    assert refusal_of(lambda: world.opened(sent, answers)) == "few"


def test_without_one_pad_the_sum_is_noise():
    world = World(20, 2, (12, 7, 9))
    sent = [world.sent(at) for at in range(20)]
    answers = world.answered(sent, range(14))
    right = world.opened(sent, answers).values
    wrong = world.duty(13).answer(world.request(sent[:-1], 13))  # the pad of another list
    field = world.header.code.field
    shifted = field.minus(field.unpack(answers[13].values, 7), field.unpack(wrong.values, 7))
    assert np.array_equal(right, world.values().sum(0)) and np.count_nonzero(shifted) == 7


@pytest.mark.parametrize("n_liars", [1, 2])
def test_lying_seats_are_named_and_corrected_within_the_radius(n_liars):
    world = World(20, 0, (14, 8, 10))
    sent = [world.sent(at) for at in range(20)]
    listed = SumList.of(world.header, [one.entry for one in sent])
    answers = world.answered(sent, range(14))
    assert n_liars <= radius(world.header.code, 14)
    for place in range(n_liars):
        lie = bytes(len(answers[place].values))
        signature = sign_answer(listed, place, lie, world.seats[place].identity)
        answers[place] = type(answers[place])(world.header.slot, listed.sha256, lie, signature)
    found = world.opened(sent, answers)
    assert found.liars.tolist() == list(range(n_liars)) and np.array_equal(found.values, world.values().sum(0))


def test_a_device_whose_shares_fit_no_polynomial_under_valid_seals_is_named_before_the_sum():
    """It seals other words to a third of the seats: all boxes open, its signature is right, and the tests of the seats name it."""
    world, hostile = World(20, 0, (14, 8, 10)), 5
    header, one, ephemeral = world.header, world.devices[5], Person("hostile ephemeral")
    public = ephemeral.leaf[32:]
    field, n_words = header.code.field, header.code.n_words(header.n_values)
    ties = [Tie(header, place, one.leaf, public) for place in range(8, 14)]
    boxes = [
        tie.seal(
            agreed(ephemeral.seat, header.seats[tie.position][32:]), field.pack(np.full(n_words, 7 + i, np.uint32))
        )
        for i, tie in enumerate(ties)
    ]
    sent = [world.sent(at) for at in range(20)]
    sent[hostile] = sent[hostile].resigned(header, hostile, one, ephemeral=public, sealed=b"".join(boxes))
    opinions = [world.duty(place).opinion(world.request(sent, place)) for place in range(14)]
    assert all(said["refused"] == b"" for said in opinions)
    told = np.stack([field.unpack(said["tests"], 20 * 3).reshape(20, 3) for said in opinions])
    judgement = judged(header.code, np.arange(14), told)
    assert np.flatnonzero(judgement.bad).tolist() == [hostile] and not judgement.edges.any()
    assert conflicts(judgement.edges)[1].size == 0


def test_a_device_that_hurts_one_seat_alone_is_named_by_its_edge():
    world = World(20, 0, (14, 8, 10))
    sent = [world.sent(at) for at in range(20)]
    size = len(sent[0].sealed) // 6
    broken = bytes(size) + sent[4].sealed[size:]
    sent[4] = sent[4].resigned(world.header, 4, world.devices[4], sealed=broken)
    refused = np.zeros((14, 20), bool)
    for place in range(14):
        said = world.duty(place).opinion(world.request(sent, place))
        refused[place, np.frombuffer(said["refused"], ">u4").astype(int)] = True
    out_seats, out_devices = conflicts(refused)
    assert out_seats.tolist() == [] and out_devices.tolist() == [4]
