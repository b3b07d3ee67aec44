"""Lies in answers: named and corrected up to the radius, never taken for none up to A - t_rec; and who leaves over accusations."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InputError, SumError
from shared.secure_sum.correction import conflicts, decoded, opened, radius
from shared.secure_sum.field import Field
from shared.secure_sum.packed_shamir import SPARE, Code
from tests.world.basics import examples, full, replayed_entropy

from .algebra import FIELDS, LAST, THREE_BYTES, elements, shared


@st.composite
def answered(draw):
    """A code with answers to spare, who answers, and their shares of a vector."""
    t_rec = draw(st.integers(2, 12))
    n_seats = draw(st.integers(t_rec + SPARE, t_rec + 13))
    code = Code(draw(st.sampled_from(FIELDS)), n_seats, draw(st.integers(1, t_rec - 1)), t_rec)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = elements(code.field, random, draw(st.integers(1, 30)))
    positions = random.permutation(n_seats)[: draw(st.integers(t_rec + SPARE, n_seats))]
    return code, values, positions, shared(code, random, values)[positions, : code.n_blocks(values.size)], random


def lied(code: Code, sums: np.ndarray, liars: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The answers, with each liar's wrong in at least one place."""
    out = sums.copy()
    for liar in liars:
        where = random.random(sums.shape[1]) < 0.5
        where[random.integers(sums.shape[1])] = True
        shift = random.integers(1, code.field.prime, sums.shape[1], dtype=np.uint64)
        out[liar, where] = ((sums[liar] + shift) % code.field.prime)[where]
    return out


def nearest(field: Field, code: Code, positions: np.ndarray, word: np.ndarray) -> list[tuple[int, ...]]:
    """Every set of up to `radius` places without which a word is right, by trying them all; of these, the smallest."""
    for n_wrong in range(radius(code, positions.size) + 1):
        sets = []
        for wrong in combinations(range(positions.size), n_wrong):
            rest = np.setdiff1d(np.arange(positions.size), wrong)
            if not code.syndromes(positions[rest], word[rest, None]).any():
                sets.append(wrong)
        if sets:
            return sets
    return []


@given(case=answered(), data=st.data())
@examples(100)
def test_every_number_of_lies_up_to_the_radius_is_corrected_and_named(case, data):
    code, values, positions, sums, random = case
    liars = random.permutation(positions.size)[: data.draw(st.integers(0, radius(code, positions.size)))]
    found = opened(code, positions, lied(code, sums, liars, random), values.size)
    np.testing.assert_array_equal(found.values, values)
    assert sorted(found.liars.tolist()) == sorted(positions[liars].tolist())


@given(case=answered(), data=st.data())
@examples(100)
def test_lies_up_to_all_that_are_to_spare_never_pass_for_none(case, data):
    code, values, positions, sums, random = case
    most = positions.size - code.t_rec
    liars = random.permutation(positions.size)[: data.draw(st.integers(1, most))]
    try:
        found = opened(code, positions, lied(code, sums, liars, random), values.size)
    except SumError as refused:
        assert refused.reason in {"lies", "answers"} and liars.size > radius(code, positions.size)
    else:
        assert found.liars.size


@pytest.mark.parametrize("n_answers", [8, 9, 11, 12])
def test_agreed_lies_pass_from_one_more_than_are_to_spare_on_and_have_others_named_before(n_answers):
    """The stated limits are the true ones: liars who shift along one polynomial that is zero at all others but a few."""
    code, random = Code(THREE_BYTES, 12, 3, 6), np.random.default_rng(4)
    values = elements(code.field, random, 9)
    positions, prime = np.arange(n_answers), code.field.prime
    sums = shared(code, random, values)[positions, :3]
    points = positions + 1
    shift = np.array(
        [int(np.prod([int(x) - zero for zero in range(1, code.t_rec)], dtype=object)) % prime for x in points]
    )
    forged = ((sums.astype(np.int64) + shift[:, None]) % prime).astype(np.uint32)
    liars = np.flatnonzero(shift)
    assert liars.size == n_answers - code.t_rec + 1
    passed = opened(code, positions, forged, 9)
    assert not passed.liars.size and (passed.values != values).any()
    for n_quiet in range(1, liars.size):  # these do not join in: they are honest
        some = forged.copy()
        some[liars[:n_quiet]] = sums[liars[:n_quiet]]
        e = radius(code, n_answers)
        if n_quiet <= e:
            found = opened(code, positions, some, 9)
            assert found.liars.tolist() == liars[:n_quiet].tolist() and (found.values != values).any()
        elif liars.size - n_quiet <= e:
            np.testing.assert_array_equal(opened(code, positions, some, 9).values, values)
        else:
            with pytest.raises(SumError, match="expected at most"):
                opened(code, positions, some, 9)


@given(seed=st.integers(0, 2**32), n_answers=st.integers(4, 8), n_words=st.integers(1, 6))
@examples(60)
def test_decoding_finds_what_trying_everything_finds(seed, n_answers, n_words):
    """Words near right ones, words at random and, by a small prime of chance, what lies between."""
    code, random = Code(FIELDS[0], 8, 1, 3), np.random.default_rng(seed)
    positions = random.permutation(8)[:n_answers]
    words = shared(code, random, elements(code.field, random, 2 * n_words))[positions, :n_words].T.copy()
    for word in words:
        where = random.permutation(n_answers)[: random.integers(0, n_answers + 1)]
        word[where] = elements(code.field, random, where.size)
    found = decoded(code, positions, words)
    for word, wrong, decodable in zip(words, *found, strict=True):
        sets = nearest(code.field, code, positions, word)
        assert decodable == bool(sets) and len(sets) <= 1
        assert np.flatnonzero(wrong).tolist() == list(sets[0] if sets else ())


def test_one_lie_is_located_by_no_single_syndrome_though_it_looks_like_it():
    """With one answer to spare nothing can be corrected, even where the syndrome happens to be a seat's point."""
    code, positions = Code(THREE_BYTES, 9, 2, 6), np.arange(7)
    word = np.zeros((1, 7), np.uint32)
    for seat, liar in product(range(7), repeat=2):
        word[:] = 0
        word[0, liar] = 1
        syndrome = code.syndromes(positions, word.T)[0]
        word[0, liar] = code.field.times(np.array([seat + 1], np.uint32), code.field.inverse(syndrome))[0]
        assert code.syndromes(positions, word.T).tolist() == [[seat + 1]]
        found = decoded(code, positions, word)
        assert not found.decodable.any() and not found.wrong.any()


def test_a_large_word_is_decoded_at_the_radius():
    code, random = Code(LAST, 200, 122, 153), np.random.default_rng(9)
    positions = np.sort(random.permutation(200)[:180])
    words = np.repeat(shared(code, random, elements(code.field, random, 31))[positions, :1].T, full(30), axis=0)
    expected = np.zeros(words.shape, bool)
    for row, word in zip(expected, words, strict=True):
        row[random.permutation(180)[:13]] = True
        word[row] = (word[row].astype(np.uint64) + 1) % code.field.prime
    found = decoded(code, positions, words)
    assert found.decodable.all()
    np.testing.assert_array_equal(found.wrong, expected)


def test_a_liar_that_the_mixtures_miss_opens_nothing():
    """Mixtures that are all zero see no lie; the last check does."""
    code, random = Code(THREE_BYTES, 10, 3, 6), np.random.default_rng(1)
    sums = shared(code, random, elements(code.field, random, 9))[:, :3].copy()
    sums[2, 1] ^= 1
    with pytest.raises(SumError, match="agree with each other"):
        opened(code, np.arange(10), sums, 9, lambda n: bytes(n))
    assert opened(code, np.arange(10), sums, 9, replayed_entropy(1)).liars.tolist() == [2]


def test_two_answers_to_spare_are_needed():
    code, random = Code(THREE_BYTES, 10, 3, 6), np.random.default_rng(1)
    values = elements(code.field, random, 9)
    sums = shared(code, random, values)[:, :3]
    for n_answers in range(8):
        with pytest.raises(SumError, match=f"expected answers of at least 8 seats, got {n_answers}"):
            opened(code, np.arange(n_answers), sums[:n_answers], 9)
    np.testing.assert_array_equal(opened(code, np.arange(8), sums[:8], 9).values, values)


@pytest.mark.parametrize("n_helpers", [2, 3, 4, 5])
def test_helpers_must_all_answer_and_can_shift_a_sum_unseen(n_helpers):
    code, random = Code(THREE_BYTES, n_helpers, n_helpers - 1, n_helpers), np.random.default_rng(1)
    values, everybody = elements(code.field, random, 9), np.arange(n_helpers)
    sums = shared(code, random, values)
    np.testing.assert_array_equal(opened(code, everybody, sums, 9).values, values)
    with pytest.raises(SumError, match=f"expected answers of at least {n_helpers} seats"):
        opened(code, everybody[1:], sums[1:], 9)
    sums[0, 0] ^= 1
    assert not opened(code, everybody, sums, 9).liars.size
    assert (opened(code, everybody, sums, 9).values != values).any()


def test_a_seat_that_answers_twice_is_refused():
    code = Code(THREE_BYTES, 10, 3, 6)
    with pytest.raises(InputError, match="expected different positions"):
        opened(code, np.array([0, 1, 2, 3, 4, 5, 6, 6]), np.zeros((8, 3), np.uint32), 9)


def covers(edges: np.ndarray) -> tuple[int, int]:
    """The least number of vertices that cover all edges, and the fewest seats among such choices: by trying everything."""
    sizes = []
    for kept in product([False, True], repeat=edges.shape[0]):
        out = ~np.array(kept)
        sizes.append((out.sum() + edges[~out].any(axis=0).sum(), out.sum()))
    return min(sizes)


@given(seed=st.integers(0, 2**32), n_seats=st.integers(1, 7), n_devices=st.integers(0, 9), rate=st.floats(0, 1))
@examples(150)
def test_as_few_as_can_be_leave_over_accusations_and_seats_least_of_all(seed, n_seats, n_devices, rate):
    edges = np.random.default_rng(seed).random((n_seats, n_devices)) < rate
    seats, devices = conflicts(edges)
    left = edges.copy()
    left[seats], left[:, devices] = False, False
    assert not left.any()
    assert (seats.size + devices.size, seats.size) == covers(edges)


def test_who_accuses_more_than_there_are_liars_leaves_and_one_device_takes_no_seat_along():
    edges = np.zeros((100, 500), bool)
    edges[:, 7] = True  # one device, every seat
    assert [out.tolist() for out in conflicts(edges)] == [[], [7]]
    edges[3] = True  # one seat, every device
    assert [out.tolist() for out in conflicts(edges)] == [[3], [7]]
    single = np.zeros((5, 5), bool)
    single[2, 4] = True
    assert [out.tolist() for out in conflicts(single)] == [[], [4]]
    assert [out.tolist() for out in conflicts(np.zeros((3, 4), bool))] == [[], []]
