"""The test of shares: it names who spoils a sum, never the honest, and tells nothing of a vector."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InputError, SumError
from shared.secure_sum.consistency import judged, mixed
from shared.secure_sum.correction import conflicts, radius
from shared.secure_sum.packed_shamir import TESTS, Code
from tests.world.basics import examples, full

from .algebra import LAST, NEAR_31, THREE_BYTES, elements, rank, shared

N_VALUES = 20


@st.composite
def rounds(draw):
    """A code, who answers, n devices' shares and challenges."""
    t_rec = draw(st.integers(2, 10))
    code = Code(draw(st.sampled_from([THREE_BYTES, NEAR_31, LAST])), t_rec + draw(st.integers(3, 10)), draw(
        st.integers(1, t_rec - 1)), t_rec)  # fmt: skip
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_devices = draw(st.integers(1, 6))
    shares = shared(code, random, elements(code.field, random, (n_devices, N_VALUES)))
    challenges = elements(code.field, random, (n_devices, TESTS, code.n_blocks(N_VALUES)))
    positions = random.permutation(code.n_seats)[: draw(st.integers(t_rec + 2, code.n_seats))]
    return code, positions, shares, challenges, random


def told_by(code, positions, shares, challenges):
    return np.stack([mixed(code, challenges, shares[:, seat]) for seat in positions.tolist()])


@given(case=rounds())
@examples(40)
def test_what_a_seat_tells_is_what_the_definition_says(case):
    code, _, shares, challenges, _ = case
    told = mixed(code, challenges, shares[:, 0])
    n_blocks, p = code.n_blocks(N_VALUES), code.field.prime
    for i, k in np.ndindex(told.shape):
        weighted = sum(int(r) * int(s) for r, s in zip(challenges[i, k], shares[i, 0, :n_blocks], strict=True))
        assert told[i, k] == (weighted + int(shares[i, 0, n_blocks + k])) % p


@given(case=rounds(), data=st.data())
@examples(60)
def test_no_honest_device_is_named_whatever_as_many_seats_as_the_radius_tell(case, data):
    code, positions, shares, challenges, random = case
    told = told_by(code, positions, shares, challenges)
    liars = random.permutation(positions.size)[: data.draw(st.integers(0, radius(code, positions.size)))]
    about = random.random((liars.size, *told.shape[1:])) < data.draw(st.floats(0, 1))
    told[liars] = np.where(about, elements(code.field, random, about.shape), told[liars])
    judgement = judged(code, positions, told)
    assert not judgement.bad.any()
    assert set(np.flatnonzero(judgement.edges.any(axis=1))) <= set(liars.tolist())


@given(case=rounds(), data=st.data())
@examples(80)
def test_a_bad_device_is_named_or_in_conflict_with_an_honest_seat_and_then_leaves(case, data):
    """Shares wrong at any number of seats, in any block, tests included; but for the seats whose shares still lie on one polynomial."""
    code, positions, shares, challenges, random = case
    wrong_at = random.permutation(positions.size)[: data.draw(st.integers(1, positions.size))]
    block = data.draw(st.integers(0, shares.shape[-1] - 1))
    shares = shares.copy()
    column = shares[0, positions[wrong_at], block].astype(np.uint64)
    shares[0, positions[wrong_at], block] = (
        column + random.integers(1, 1000, column.size, dtype=np.uint64)
    ) % code.field.prime
    lies = code.syndromes(positions, shares[0, positions]).any()
    judgement = judged(code, positions, told_by(code, positions, shares, challenges))
    assert not judgement.bad[1:].any() and not judgement.edges[:, 1:].any()
    assert (judgement.bad[0] or judgement.edges[:, 0].any()) == lies
    seats, devices = conflicts(judgement.edges)
    assert not seats.size and set(devices.tolist()) <= {0}


def test_five_hundred_devices_with_bad_ones_and_a_lying_seat_are_told_apart():
    code, random = Code(THREE_BYTES, 60, 30, 42), np.random.default_rng(8)
    shares = shared(code, random, elements(code.field, random, (full(200), N_VALUES)))
    challenges = elements(code.field, random, (len(shares), TESTS, code.n_blocks(N_VALUES)))
    shares[3] = elements(code.field, random, shares[3].shape)  # no polynomial at all
    shares[9, 5, 0] ^= 1  # one share at one seat
    shares[11, :4, 1] ^= 1
    positions = np.arange(58)
    told = told_by(code, positions, shares, challenges)
    told[20] = elements(code.field, random, told[20].shape)
    judgement = judged(code, positions, told)
    assert np.flatnonzero(judgement.bad).tolist() == [3]
    assert np.flatnonzero(judgement.edges[:, 9]).tolist() == [5, 20]
    assert np.flatnonzero(judgement.edges[:, 11]).tolist() == [0, 1, 2, 3, 20]
    seats, devices = conflicts(judgement.edges)
    assert (seats.tolist(), devices.tolist()) == ([20], [9, 11])


def test_a_device_that_no_few_seats_explain_is_bad_though_each_test_alone_could_be_one_seat_s_lie():
    code, random = Code(THREE_BYTES, 9, 4, 6), np.random.default_rng(3)
    shares = shared(code, random, elements(code.field, random, (2, N_VALUES)))
    n_blocks, everybody = code.n_blocks(N_VALUES), np.arange(9)
    challenges = elements(code.field, random, (2, TESTS, n_blocks))
    for test in range(TESTS):
        shares[0, test, n_blocks + test] ^= 1
    judgement = judged(code, everybody, told_by(code, everybody, shares, challenges))
    assert radius(code, 9) == 1 and judgement.bad.tolist() == [True, False] and not judgement.edges.any()


@pytest.mark.parametrize("field", [THREE_BYTES, LAST])
def test_what_all_seats_tell_and_t_priv_of_them_hold_leaves_every_vector_open(field):
    """Everything that is seen is linear in streams, masks and values. It tells nothing of the values if no mixture of what is
    seen is free of streams and masks and not of values: streams and masks alone have the rank of everything."""
    code = Code(field, 8, 3, 5)
    random = np.random.default_rng(12)
    n_blocks = 2
    n_all = n_blocks + TESTS
    per_block = np.vstack([np.eye(code.t_rec, dtype=np.uint32)[: code.t_priv], code.sharing])  # (8, 5)
    challenge = elements(field, random, (TESTS, n_blocks))
    unknown = np.zeros((code.n_seats, n_all, code.t_rec * n_all), np.uint32)
    for block in range(n_all):
        unknown[:, block, block * code.t_rec : (block + 1) * code.t_rec] = per_block
    mixing = np.hstack([challenge, np.eye(TESTS, dtype=np.uint32)])
    told = np.stack([field.matmul(mixing, seat) for seat in unknown]).reshape(-1, code.t_rec * n_all)
    of_values = np.zeros((n_all, code.t_rec), bool)
    of_values[:n_blocks, code.t_priv :] = True
    hidden = ~of_values.reshape(-1)
    for corrupt in combinations(range(8), code.t_priv):
        seen = np.vstack([told, *unknown[list(corrupt)]])
        everything = rank(seen, field.prime)
        assert rank(seen[:, hidden], field.prime) == everything == code.t_priv * n_all + code.packing * TESTS
    one_more = np.vstack([told, *unknown[: code.t_priv + 1]])
    assert rank(one_more[:, hidden], field.prime) < rank(one_more, field.prime)


def test_a_second_challenge_for_the_same_shares_would_tell():
    """Why challenges follow from the entry: two mixtures under one mask give their difference away."""
    code, random = Code(THREE_BYTES, 8, 3, 5), np.random.default_rng(2)
    shares = shared(code, random, elements(code.field, random, (1, 4)))
    first, second = elements(code.field, random, (2, 1, TESTS, 2))
    everybody = np.arange(8)
    difference = code.field.minus(told_by(code, everybody, shares, first), told_by(code, everybody, shares, second))
    opened = code.open(everybody, np.ascontiguousarray(difference[:, 0]), 6)
    values = code.open(everybody, np.ascontiguousarray(shares[0, :, :2]), 4).reshape(2, 2)
    expected = code.field.matmul(values, code.field.minus(first, second)[0].T.copy())
    np.testing.assert_array_equal(opened.reshape(2, TESTS), expected)


def test_too_few_tests_and_shapes_that_do_not_fit_are_refused():
    code = Code(THREE_BYTES, 8, 3, 5)
    with pytest.raises(SumError, match="expected tests of more than 5 seats, got 5"):
        judged(code, np.arange(5), np.zeros((5, 2, TESTS), np.uint32))
    with pytest.raises(InputError, match="expected told"):
        judged(code, np.arange(6), np.zeros((6, 2, TESTS - 1), np.uint32))
    for shares in (np.zeros((2, 4), np.uint32), np.zeros((1, 5), np.uint32)):
        with pytest.raises(InputError, match="expected challenges"):
            mixed(code, np.zeros((2, TESTS, 2), np.uint32), shares)
    nobody = judged(code, np.arange(6), np.zeros((6, 0, TESTS), np.uint32))
    assert nobody.bad.shape == (0,) and nobody.edges.shape == (6, 0)
