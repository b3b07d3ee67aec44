"""Elements: primes, signs, bytes, exact products, unbiased draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from shared.errors import ConfigError, InputError, WireError
from shared.secure_sum.field import Field, is_prime
from tests.world.basics import examples, full, replayed_entropy

from .algebra import ABOVE_31, FIELDS, LAST, LEAST, NEAR_31, THREE_BYTES, elements

fields = st.sampled_from(FIELDS)


def test_primes_are_those_of_a_sieve():
    sieve = np.ones(200_000, bool)
    sieve[:2] = False
    for n in range(2, 448):
        if sieve[n]:
            sieve[n * n :: n] = False
    assert [n for n in range(200_000) if is_prime(n)] == np.flatnonzero(sieve).tolist()


@pytest.mark.parametrize("composite", [2047, 3215031751, 25326001, 65537 * 65521, 65521**2, 2**32 - 1])
def test_numbers_that_deceive_other_tests_are_no_primes(composite):
    """Strong pseudoprimes to base 2, to 2, 3, 5 and to 2, 3, 5, 7; products of two large primes."""
    assert not is_prime(composite)


@given(number=st.integers(2**16, 2**32 - 1))
@examples(100)
def test_what_is_called_prime_has_no_divisor(number):
    divisors = np.arange(2, int(number**0.5) + 1)
    assert is_prime(number) == bool((number % divisors).all())


@pytest.mark.parametrize(
    ("largest", "prime"),
    [(0, 65537), (2**15, 65537), (2**15 + 1, 65539), (2**22, 8388617), (2**23 - 1, 16777259), (2147483645, 4294967291)],
)
def test_the_field_is_the_least_that_holds_a_sum(largest, prime):
    field = Field.holding(largest)
    assert field.prime == prime and field is Field.holding(largest)
    assert not any(is_prime(n) for n in range(max(2 * largest, 2**16) + 1, prime))


@pytest.mark.parametrize("largest", [-1, 2147483646, 2**31, 2**40])
def test_a_sum_that_no_field_holds_is_refused(largest):
    with pytest.raises(ConfigError, match="expected sums"):
        Field.holding(largest)


@pytest.mark.parametrize("number", [65521, 65536, 8388609, 2**32 + 15, -7])
def test_what_is_no_prime_of_ours_makes_no_field(number):
    with pytest.raises(ConfigError, match=f"expected a prime between 2.16 and 2.32, got {number}"):
        Field(number)


@given(field=fields, values=st.lists(st.integers(-(2**31), 2**31 - 1)))
@examples(100)
def test_every_signed_number_is_its_residue(field, values):
    assert field.from_signed(np.array(values, np.int32)).tolist() == [value % field.prime for value in values]


@pytest.mark.parametrize("field", FIELDS)
def test_signed_numbers_of_every_size_are_their_residues(field):
    """A stride that meets every residue class of 32-bit numbers' halves, and the ends."""
    values = np.concatenate([np.arange(-(2**31), 2**31, 65521), [-(2**31), -1, 0, 1, 2**31 - 1], [-(2**63), 2**63 - 1]])
    assert field.from_signed(values).tolist() == [int(value) % field.prime for value in values]


@given(field=fields, data=st.data())
@examples(60)
def test_what_a_field_holds_comes_back_with_its_sign(field, data):
    half = field.prime // 2
    values = np.array([*data.draw(st.lists(st.integers(-half, half))), -half, half, 0], np.int64)
    assert field.to_signed(field.from_signed(values)).tolist() == values.tolist()


@given(field=fields, n=st.integers(0, 50), seed=st.integers(0, 2**32))
@examples(60)
def test_words_travel_in_the_fewest_bytes(field, n, seed):
    words = elements(field, np.random.default_rng(seed), n)
    data = field.pack(words)
    assert len(data) == n * field.word_bytes and field.prime <= 256**field.word_bytes < 256 * field.prime
    assert data == b"".join(int(word).to_bytes(field.word_bytes, "little") for word in words)
    np.testing.assert_array_equal(field.unpack(data, n), words)
    for wrong in (data + b"\0", data[:-1] if data else b"\0\0"):
        with pytest.raises(WireError, match=f"expected {n} words"):
            field.unpack(wrong, n)


@pytest.mark.parametrize("field", FIELDS)
def test_a_word_that_is_no_element_is_refused(field):
    for number in (field.prime, 256**field.word_bytes - 1):
        with pytest.raises(WireError, match="expected words below"):
            field.unpack(number.to_bytes(field.word_bytes, "little"), 1)
    largest = (field.prime - 1).to_bytes(field.word_bytes, "little")
    assert field.unpack(largest, 1).tolist() == [field.prime - 1]
    if field.prime < 2**32 - 1:
        too_large = np.array([[field.prime]], np.uint32)
        for use in (field.pack, field.to_signed, lambda words: field.matmul(words, words)):
            with pytest.raises(InputError, match=f"below {field.prime}"):
                use(too_large)


@given(
    field=fields,
    shape=st.tuples(st.integers(1, 6), st.integers(0, 70), st.integers(1, 6)),
    lead=st.sampled_from([(), (3,), (2, 2)]),
    seed=st.integers(0, 2**32),
)
@examples(60)
def test_products_are_exact(field, shape, lead, seed):
    m, k, n = shape
    random = np.random.default_rng(seed)
    left, right = elements(field, random, (m, k)), elements(field, random, (*lead, k, n))
    expected = (left.astype(object) @ right.astype(object)) % field.prime if k else np.zeros((*lead, m, n), int)
    np.testing.assert_array_equal(field.matmul(left, right), expected.astype(np.uint32))


@pytest.mark.parametrize("field", [THREE_BYTES, ABOVE_31, LAST])
@pytest.mark.parametrize("n_inner", [1, 32, 33, 1024, 1025, 2**17, 2**17 + 1, 2**20])
def test_products_are_exact_up_to_the_largest_sums(field, n_inner):
    """Where every product is as large as it can be, and where they are random."""
    random = np.random.default_rng(n_inner)
    left = np.stack([np.full(n_inner, field.prime - 1, np.uint32), elements(field, random, n_inner)])
    right = np.stack([np.full(n_inner, field.prime - 1, np.uint32), elements(field, random, n_inner)], axis=1)
    rows, columns = left.tolist(), right.T.tolist()
    expected = [
        [sum(a * b for a, b in zip(row, column, strict=True)) % field.prime for column in columns] for row in rows
    ]
    assert field.matmul(left, right).tolist() == expected


def test_a_sum_of_more_products_than_are_exact_is_refused():
    with pytest.raises(InputError, match="at most 2.20 products"):
        LAST.matmul(np.zeros((1, 2**20 + 1), np.uint32), np.zeros((2**20 + 1, 1), np.uint32))


@given(field=fields, n=st.integers(0, 20), seed=st.integers(0, 2**32))
@examples(60)
def test_element_arithmetic_is_python_s(field, n, seed):
    random = np.random.default_rng(seed)
    p, (a, b) = field.prime, elements(field, random, (2, n))
    a[:1], b[-1:] = p - 1, p - 1
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    assert field.times(a, b).tolist() == [x * y % p for x, y in pairs]
    assert field.minus(a, b).tolist() == [(x - y) % p for x, y in pairs]
    assert field.total(np.stack([a, b])).tolist() == [(x + y) % p for x, y in pairs]
    product = 1
    for x in a.tolist():
        product = product * x % p
    assert int(field.product(a)) == product
    units = np.maximum(a, 1)
    assert field.inverse(units).tolist() == [pow(x, -1, p) for x in units.tolist()]


def test_zero_has_no_inverse():
    with pytest.raises(InputError, match="no inverse"):
        LEAST.inverse(np.array([3, 0], np.uint32))


@pytest.mark.parametrize("field", FIELDS)
def test_exactly_the_words_that_are_alike_for_all_elements_are_taken(field):
    """Every element stands for as many words as any other: the ends of each run of p words, and the first word that is dropped."""
    runs = 2**32 // field.prime
    starts = np.arange(runs, dtype=np.uint64) * field.prime
    first = starts.astype(np.uint32)
    last = (starts + np.uint64(field.prime - 1)).astype(np.uint32)
    assert not field.accepted(first).any() and field.accepted(first).size == runs
    assert (field.accepted(last) == field.prime - 1).all() and field.accepted(last).size == runs
    dropped = np.array([runs * field.prime, 2**32 - 1], np.uint64).astype(np.uint32)
    assert field.accepted(dropped).size == 0
    assert field.acceptance == runs * field.prime / 2**32 > 0.49


#: A prime at which two of three elements would come half as often as the others if words were not rejected.
UNEVEN = Field(3 * 2**30 + 1)


@pytest.mark.parametrize("field", [THREE_BYTES, NEAR_31, ABOVE_31, UNEVEN])
def test_draws_have_no_bias(field):
    """In cells of equal width, and in the lowest byte; where it shows, the same test fails without rejection."""
    raw = np.random.default_rng(5).integers(0, 2**32, full(2_000_000), dtype=np.uint32)
    drawn = field.accepted(raw)
    assert drawn.size == pytest.approx(raw.size * field.acceptance, rel=0.01) and drawn.max() < field.prime
    edges = np.linspace(0, field.prime, 101)
    widths = np.diff(np.ceil(edges))
    counts = np.histogram(drawn, np.ceil(edges))[0]
    assert chisquare(counts, drawn.size * widths / field.prime).pvalue > 1e-6
    assert chisquare(np.bincount(drawn % 256, minlength=256)).pvalue > 1e-6
    if field is UNEVEN:
        biased = np.histogram(raw % np.uint32(field.prime), np.ceil(edges))[0]
        assert chisquare(biased, raw.size * widths / field.prime).pvalue < 1e-9


def test_a_longer_stream_begins_with_a_shorter_one():
    raw = np.random.default_rng(6).integers(0, 2**32, 1000, dtype=np.uint32)
    short, long = ABOVE_31.accepted(raw[:400]), ABOVE_31.accepted(raw)
    np.testing.assert_array_equal(long[: short.size], short)


@given(field=fields, shape=st.lists(st.integers(0, 9), max_size=3).map(tuple))
@examples(40)
def test_uniform_elements_fill_their_shape_from_the_given_entropy(field, shape):
    drawn = field.uniform(shape, replayed_entropy(1))
    assert drawn.shape == shape and drawn.dtype == np.uint32 and (not drawn.size or drawn.max() < field.prime)
    np.testing.assert_array_equal(drawn, field.uniform(shape, replayed_entropy(1)))
