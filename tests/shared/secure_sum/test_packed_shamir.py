"""Shares: they add, any t_rec give the vector, any t_priv are noise, and t_rec - 1 leave everything open."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from shared.errors import ConfigError, InputError, SumError
from shared.secure_sum.packed_shamir import TESTS, Code, lagrange, parity
from tests.world.basics import examples, full

from .algebra import ABOVE_31, FIELDS, LAST, NEAR_31, THREE_BYTES, elements, interpolated, rank, shared


@st.composite
def codes(draw, most=12):
    n_seats = draw(st.integers(2, most))
    t_rec = draw(st.sampled_from([n for n in range(2, n_seats + 1) if n != n_seats - 1]))
    return Code(draw(st.sampled_from(FIELDS)), n_seats, draw(st.integers(1, t_rec - 1)), t_rec)


def maps(code):
    """How all shares of one block (n_seats,) follow from streams (t_priv,) and values (packing,): two matrices."""
    rows = np.vstack([np.eye(code.t_rec, dtype=np.uint32)[: code.t_priv], code.sharing])
    return rows[:, : code.t_priv], rows[:, code.t_priv :]


@given(code=codes(), seed=st.integers(0, 2**32))
@examples(60)
def test_shares_lie_on_the_polynomials_that_the_definition_names(code, seed):
    random = np.random.default_rng(seed)
    prime, values = code.field.prime, elements(code.field, random, 7)
    shares, n_blocks = shared(code, random, values), code.n_blocks(7)
    padded = [*values.tolist(), *[0] * (code.packing * n_blocks - 7)]
    for block in range(n_blocks):
        first = range(1, code.t_rec + 1)
        on = [int(share) for share in shares[: code.t_rec, block]]
        for seat in range(code.t_rec, code.n_seats):
            assert interpolated(first, on, seat + 1, prime) == shares[seat, block]
        for i in range(code.packing):
            assert interpolated(first, on, prime - 1 - i, prime) == padded[i * n_blocks + block]


@given(code=codes(), n_devices=st.integers(1, 5), n_values=st.integers(1, 40), data=st.data())
@examples(80)
def test_any_t_rec_seats_open_exactly_the_signed_sum(code, n_devices, n_values, data):
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    most = code.field.prime // 2 // n_devices
    vectors = random.integers(-most, most + 1, (n_devices, n_values))
    shares = shared(code, random, code.field.from_signed(vectors))
    sums = code.field.total(shares[..., : code.n_blocks(n_values)])
    for n_answers in range(code.t_rec, code.n_seats + 1):
        positions = random.permutation(code.n_seats)[:n_answers]
        opened = code.open(positions, sums[positions], n_values)
        np.testing.assert_array_equal(code.field.to_signed(opened), vectors.sum(axis=0))


@pytest.mark.parametrize("field", [THREE_BYTES, NEAR_31, LAST])
@pytest.mark.parametrize(("n_seats", "t_priv", "t_rec"), [(9, 4, 6), (9, 5, 9), (10, 5, 8), (3, 2, 3), (5, 4, 5)])
def test_any_t_priv_shares_are_one_to_one_with_the_streams(field, n_seats, t_priv, t_rec):
    """Every subset: for any vector at all, uniform streams make uniform shares."""
    streams, values = maps(Code(field, n_seats, t_priv, t_rec))
    assert values[t_priv:].all()
    for seats in combinations(range(n_seats), t_priv):
        assert rank(streams[list(seats)], field.prime) == t_priv


@pytest.mark.parametrize("field", [THREE_BYTES, NEAR_31])
def test_one_share_less_than_t_rec_leaves_every_value_open(field):
    """With t_rec the equations have one solution; with t_rec - 1 there is a direction in which they say nothing, and along
    it every value moves."""
    code = Code(field, 9, 4, 7)
    whole = np.hstack(maps(code))
    for seats in combinations(range(9), 7):
        assert rank(whole[list(seats)], field.prime) == 7
    for seats in combinations(range(9), 6):
        rows = whole[list(seats)]
        assert rank(rows, field.prime) == 6
        for value in range(code.packing):
            tells = np.zeros((1, 7), np.uint32)
            tells[0, code.t_priv + value] = 1
            assert rank(np.vstack([rows, tells]), field.prime) == 7


@pytest.mark.parametrize("field", [THREE_BYTES, ABOVE_31])
def test_t_priv_shares_of_many_seats_look_uniform_whatever_the_vector(field):
    """Corrupt seats at the end of 160, for whom nothing is streamed; a vector of zeros, and one of extremes."""
    code, random = Code(field, 160, 99, 122), np.random.default_rng(11)
    cells = np.ceil(np.linspace(0, field.prime, 65))
    for value in (0, field.prime - 1):
        values = np.full((full(20), 1601), value, np.uint32)
        seen = shared(code, random, values)[:, -code.t_priv :]
        counts = np.histogram(seen, cells)[0]
        assert chisquare(counts, seen.size * np.diff(cells) / field.prime).pvalue > 1e-6
        mixtures = field.matmul(elements(field, random, (1, code.t_priv)), seen)
        counts = np.histogram(mixtures, cells)[0]
        assert chisquare(counts, mixtures.size * np.diff(cells) / field.prime).pvalue > 1e-6


def test_all_devices_at_once_are_each_alone():
    code, random = Code(THREE_BYTES, 12, 5, 8), np.random.default_rng(3)
    values, masks = elements(code.field, random, (2, 3, 10)), elements(code.field, random, (2, 3, 3, TESTS))
    streams = elements(code.field, random, (2, 3, 5, code.n_blocks(10) + TESTS))
    together = code.share(values, masks, streams)
    assert together.shape == (2, 3, 7, code.n_blocks(10) + TESTS)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_array_equal(together[i, j], code.share(values[i, j], masks[i, j], streams[i, j]))


@given(code=codes(), seed=st.integers(0, 2**32))
@examples(40)
def test_parity_is_zero_on_shares_and_on_nothing_else(code, seed):
    random = np.random.default_rng(seed)
    points = tuple((random.permutation(code.n_seats) + 1).tolist())
    checks = parity(code.field, points, code.t_rec)
    assert checks.shape == (code.n_seats - code.t_rec, code.n_seats)
    assert rank(checks, code.field.prime) == len(checks)
    powers = np.array([[pow(x, j, code.field.prime) for x in points] for j in range(code.t_rec)], np.uint32)
    assert not code.field.matmul(checks, powers.T).any()


def test_the_matrix_of_values_reads_polynomials_elsewhere():
    matrix = lagrange(THREE_BYTES, (1, 4, 9), (2, 8388616))
    for row, at in zip(matrix, (2, -1), strict=True):
        assert sum(int(m) * (x * x + 7 * x + 5) for m, x in zip(row, (1, 4, 9), strict=True)) % THREE_BYTES.prime == (
            at * at + 7 * at + 5) % THREE_BYTES.prime  # fmt: skip
    with pytest.raises(ValueError, match="read-only"):
        matrix[0, 0] = 1


@given(code=codes(), seed=st.integers(0, 2**32))
@examples(40)
def test_the_blocks_on_top_hide_behind_this_device_s_own_masks(code, seed):
    random = np.random.default_rng(seed)
    values, masks = elements(code.field, random, 11), elements(code.field, random, (code.packing, code.tests))
    streams = elements(code.field, random, (code.t_priv, code.n_blocks(11) + code.tests))
    shares = np.concatenate([streams, code.share(values, masks, streams)])
    np.testing.assert_array_equal(code.open(np.arange(code.n_seats), shares[:, : code.n_blocks(11)], 11), values)
    if code.tests:
        on_top = code.open(np.arange(code.n_seats), shares[:, code.n_blocks(11) :].copy(), masks.size)
        np.testing.assert_array_equal(on_top.reshape(masks.shape), masks)


def test_helpers_have_no_tests_and_devices_do():
    assert Code(THREE_BYTES, 3, 2, 3).tests == 0
    assert Code(THREE_BYTES, 10, 5, 8).tests == TESTS


@pytest.mark.parametrize(("n_seats", "t_priv", "t_rec"), [(3, 0, 2), (3, 2, 2), (3, 2, 4), (1, 1, 1), (5000, 9, 20)])
def test_thresholds_that_are_none_are_refused(n_seats, t_priv, t_rec):
    with pytest.raises(ConfigError, match="expected 1 <= t_priv < t_rec <= seats"):
        Code(THREE_BYTES, n_seats, t_priv, t_rec)


def test_one_seat_to_spare_is_refused_since_it_would_never_do():
    with pytest.raises(
        ConfigError, match="expected no seat to spare, or 2 at least, got 7 seats of which 6 are needed"
    ):
        Code(THREE_BYTES, 7, 3, 6)
    assert [Code(THREE_BYTES, n_seats, 3, 6).needed for n_seats in (6, 8, 20)] == [6, 8, 8]


def test_answers_that_are_too_few_or_disagree_open_nothing():
    code, random = Code(THREE_BYTES, 9, 4, 6), np.random.default_rng(2)
    shares = shared(code, random, elements(code.field, random, 8))[:, : code.n_blocks(8)]
    with pytest.raises(SumError, match=r"expected answers of at least 6 seats, got 5"):
        code.open(np.arange(5), shares[:5], 8)
    shares[7, 2] ^= 1
    code.open(np.arange(7), shares[:7], 8)
    with pytest.raises(SumError, match="expected answers that agree") as refused:
        code.open(np.arange(9), shares, 8)
    assert refused.value.reason == "answers"


@pytest.mark.parametrize("positions", [[0, 1, 2, 3, 4, 4], [0, 1, 2, 3, 4, 9], [-1, 1, 2, 3, 4, 5]])
def test_seats_that_there_are_not_open_nothing(positions):
    code = Code(THREE_BYTES, 9, 4, 6)
    with pytest.raises(InputError, match=r"expected different positions in 0..8"):
        code.open(np.array(positions), np.zeros((6, 4), np.uint32), 8)


def test_shapes_that_do_not_fit_are_refused():
    code = Code(THREE_BYTES, 9, 4, 6)
    good = {
        "values": np.zeros(8, np.uint32),
        "masks": np.zeros((2, 3), np.uint32),
        "streams": np.zeros((4, 7), np.uint32),
    }
    code.share(**good)
    for name, words in (("masks", good["masks"][:1]), ("streams", good["streams"][:, 1:])):
        with pytest.raises(InputError, match=f"expected {name} of shape"):
            code.share(**{**good, name: words})
    with pytest.raises(InputError, match="at least one value"):
        code.share(**{**good, "values": np.zeros(0, np.uint32)})
    with pytest.raises(InputError, match="expected sums of shape"):
        code.open(np.arange(6), np.zeros((6, 3), np.uint32), 8)
