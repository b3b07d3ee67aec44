"""The codec against RFC 8949, against another implementation, and against bytes that are made to cost."""

import math
import struct
from enum import IntEnum

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.cbor import DEEPEST, Limits, decode, decode_first, encode, size_of_head
from shared.errors import WireError
from tests.world.basics import examples
from tests.world.hostile import HOSTILE
from tests.world.spellings import EVERYTHING
from tests.world.work import work_of

PLAIN = Limits(1 << 20, most_items=1 << 17, most_depth=8)
ANY_SPELLING = Limits(1 << 26, most_items=1 << 22, most_depth=DEEPEST, floats=True, simple=True, canonical=False)

edges = [sign * 2**n + d for n in (0, 5, 8, 16, 32, 63) for sign in (-1, 1) for d in (-1, 0, 1)]
integers = st.integers(-(2**64), 2**64 - 1) | st.sampled_from(edges)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
leaves = integers | st.binary(max_size=300) | texts | st.floats() | st.floats(width=16) | st.none() | st.booleans()
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=30) | st.dictionaries(texts, inner, max_size=30), max_leaves=40
)


def same(one, other) -> bool:
    """Whether two values are equal, types, signs of zero and NaN included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(item, other[key]) for key, item in one.items())
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or struct.pack("d", one) == struct.pack("d", other)
    return one == other


@examples(300)
@given(values)
def test_every_value_goes_round_and_another_implementation_agrees(value):
    data = encode(value, EVERYTHING)
    assert same(decode(data, EVERYTHING), value) and same(decode(data, ANY_SPELLING), value)
    assert data == cbor2.dumps(value, canonical=True) and same(cbor2.loads(data), value)


@examples(300)
@given(values)
def test_other_spellings_are_the_same_value_or_refused(value):
    """Maps in any order and floats of 64 bits, as that implementation writes them where it is not told otherwise."""
    data = cbor2.dumps(value)
    assert same(decode(data, ANY_SPELLING), value)
    if data == encode(value, EVERYTHING):
        assert same(decode(data, EVERYTHING), value)
    else:
        with pytest.raises(WireError, match="expected"):
            decode(data, EVERYTHING)


def reads_or_refuses(data: bytes) -> None:
    try:
        value = decode(data, EVERYTHING)
    except WireError:
        return
    assert encode(value, EVERYTHING) == data


@examples(500)
@given(st.binary(max_size=40))
def test_any_bytes_are_the_spelling_of_a_value_or_refused(data):
    reads_or_refuses(data)


@examples(500)
@given(values, st.data())
def test_damaged_bytes_are_the_spelling_of_another_value_or_refused(value, data):
    spelled = bytearray(encode(value, EVERYTHING))
    for _ in range(data.draw(st.integers(1, 3))):
        spelled[data.draw(st.integers(0, len(spelled) - 1))] ^= data.draw(st.integers(1, 255))
    reads_or_refuses(bytes(spelled))


@given(values, st.binary(min_size=1, max_size=3))
def test_what_is_cut_or_goes_on_is_refused(value, tail):
    data = encode(value, EVERYTHING)
    for wrong in (data + tail, *(data[:cut] for cut in range(min(len(data), 50)))):
        with pytest.raises(WireError):
            decode(wrong, EVERYTHING)
    first, end = decode_first(b"\0" + data + tail, EVERYTHING, 1)
    assert same(first, value) and end == 1 + len(data)


# ---- appendix A of RFC 8949

KEPT = {
    "00": 0, "01": 1, "0a": 10, "17": 23, "1818": 24, "1819": 25, "1864": 100, "1903e8": 1000, "1a000f4240": 1000000,
    "1b000000e8d4a51000": 1000000000000, "1bffffffffffffffff": 18446744073709551615,
    "3bffffffffffffffff": -18446744073709551616, "20": -1, "29": -10, "3863": -100, "3903e7": -1000,
    "f90000": 0.0, "f98000": -0.0, "f93c00": 1.0, "fb3ff199999999999a": 1.1, "f93e00": 1.5, "f97bff": 65504.0,
    "fa47c35000": 100000.0, "fa7f7fffff": 3.4028234663852886e38, "fb7e37e43c8800759c": 1.0e300,
    "f90001": 5.960464477539063e-8, "f90400": 0.00006103515625, "f9c400": -4.0, "fbc010666666666666": -4.1,
    "f97c00": math.inf, "f97e00": math.nan, "f9fc00": -math.inf, "f4": False, "f5": True, "f6": None,
    "40": b"", "4401020304": b"\1\2\3\4", "60": "", "6161": "a", "6449455446": "IETF", "62225c": '"\\', "62c3bc": "\u00fc",
    "63e6b0b4": "\u6c34", "64f0908591": "\U00010151", "80": [], "83010203": [1, 2, 3], "8301820203820405": [1, [2, 3], [4, 5]],
    "98190102030405060708090a0b0c0d0e0f101112131415161718181819": list(range(1, 26)), "a0": {},
    "a26161016162820203": {"a": 1, "b": [2, 3]}, "826161a161626163": ["a", {"b": "c"}],
    "a56161614161626142616361436164614461656145": {"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"},
}  # fmt: skip
LONGER = {
    "fa7f800000": math.inf, "fa7fc00000": math.nan, "faff800000": -math.inf, "fb7ff0000000000000": math.inf,
    "fb7ff8000000000000": math.nan, "fbfff0000000000000": -math.inf, "1800": 0, "190017": 23, "1a0000ffff": 65535,
    "1b00000000ffffffff": 2**32 - 1, "380a": -11, "5800": b"", "7a0000000161": "a", "9800": [], "b800": {},
    "a2616200616100": {"b": 0, "a": 0}, "f97e01": math.nan,
}  # fmt: skip
REFUSED = {
    "c249010000000000000000": "tag", "c349010000000000000000": "tag", "f7": "simple", "f0": "simple", "f818": "simple",
    "f8ff": "simple", "c074323031332d30332d32315432303a30343a30305a": "tag", "c11a514b67b0": "tag", "d74401020304": "tag",
    "d818456449455446": "tag", "d82076687474703a2f2f7777772e6578616d706c652e636f6d": "tag", "5f42010243030405ff": "left open",
    "7f657374726561646d696e67ff": "left open", "9fff": "left open", "9f018202039f0405ffff": "left open",
    "83018202039f0405ff": "left open", "bf61610161629f0203ffff": "left open", "a201020304": "texts as keys",
    "a1f600": "texts as keys", "a14000": "texts as keys", "a18000": "texts as keys", "ff": "simple", "1c": "left open",
    "3f": "left open", "5d": "left open", "fc": "simple", "61ff": "UTF-8", "63eda080": "UTF-8", "62c080": "UTF-8",
    "a2616100616101": "each", "": "the end", "18": "bytes", "81": "announced", "a16161": "the end", "6261": "announced",
    "a0a0": "nothing behind",    "fb0000": "announced", "0000": "nothing behind", "d9d9f700": "tag",
}  # fmt: skip


@pytest.mark.parametrize("data", KEPT)
def test_what_the_standard_s_examples_say_is_read_and_written(data):
    assert encode(KEPT[data], EVERYTHING).hex() == data
    assert same(decode(bytes.fromhex(data), EVERYTHING), KEPT[data])


@pytest.mark.parametrize("data", LONGER)
def test_a_longer_spelling_is_read_where_it_is_allowed_and_nowhere_else(data):
    assert same(decode(bytes.fromhex(data), ANY_SPELLING), LONGER[data])
    with pytest.raises(WireError, match="expected"):
        decode(bytes.fromhex(data), EVERYTHING)


@pytest.mark.parametrize("data", REFUSED)
def test_what_is_not_of_the_subset_is_refused_by_name(data):
    for limits in (EVERYTHING, ANY_SPELLING):
        with pytest.raises(WireError, match=REFUSED[data]):
            decode(bytes.fromhex(data), limits)


# ---- limits


@pytest.mark.parametrize("value", [1.5, math.nan, None, True, [False], {"a": 1.0}])
def test_floats_null_and_booleans_are_declared_or_refused_on_both_ways(value):
    with pytest.raises(WireError, match="expected"):
        encode(value, PLAIN)
    with pytest.raises(WireError, match="expected"):
        decode(encode(value, EVERYTHING), PLAIN)
    with pytest.raises(WireError, match="expected"):
        decode(cbor2.dumps(value), Limits(1 << 10, 10, 3, canonical=False))


@pytest.mark.parametrize(
    ("value", "limits", "what"),
    [
        (bytes(10), (11, 1, 0), "bytes"),
        ("x" * 30, (32, 1, 0), "bytes"),
        ([0, 1, 2], (100, 4, 1), "items"),
        ({"a": 0, "b": [1]}, (100, 6, 2), "items"),
        ([[[]]], (100, 3, 3), "inside each other"),
        ({"a": {"b": []}}, (100, 5, 3), "inside each other"),
    ],
)
def test_a_value_of_just_so_much_passes_and_one_beyond_is_refused(value, limits, what):
    n_bytes, n_items, depth = limits
    data = encode(value, Limits(*limits))
    assert decode(data, Limits(*limits)) == value
    lower = {"bytes": (n_bytes - 1, n_items, depth), "items": (n_bytes, n_items - 1, depth)}
    for refuse in (lambda low: encode(value, low), lambda low: decode(data, low)):
        with pytest.raises(WireError, match=what):
            refuse(Limits(*lower.get(what, (n_bytes, n_items, depth - 1))))


def test_no_limits_allow_more_than_python_can_go_down():
    with pytest.raises(ValueError, match="depth"):
        Limits(1, 1, DEEPEST + 1)
    deepest = None
    for _ in range(DEEPEST):
        deepest = [deepest]
    assert decode(encode(deepest, EVERYTHING), EVERYTHING) == deepest


def endless() -> list:
    value: list = []
    value.append(value)
    return value


class Number(IntEnum):
    ONE = 1


STRANGE = {
    "a large integer": 1 << 64, "a small integer": -(1 << 64) - 1, "numpy's integer": np.int64(1), "numpy's float": np.float64(1),
    "an enum": Number.ONE, "a bytearray": bytearray(b"x"), "a set": {1}, "half a letter": "\ud800", "a complex": 1j,
    "a key that is a number": {1: 1}, "a key that is half a letter": {"\ud800": 1}, "itself": endless(), "a view": memoryview(b""),
    "an array": np.zeros(2), "a type": int,
}  # fmt: skip


@pytest.mark.parametrize("what", STRANGE)
def test_what_has_no_spelling_is_refused(what):
    with pytest.raises(WireError, match="expected"):
        encode(STRANGE[what], EVERYTHING)
    with pytest.raises(WireError, match="expected"):
        encode({"deep": [STRANGE[what]]}, EVERYTHING)


def test_a_tuple_is_written_as_a_list_is():
    assert encode((1, (2,)), PLAIN) == encode([1, [2]], PLAIN)


@pytest.mark.parametrize("n", [0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**64 - 1])
def test_the_size_of_a_head_is_an_integer_s(n):
    assert size_of_head(n) == len(encode(n, PLAIN)) == len(encode(-1 - n, PLAIN))


# ---- work


@pytest.mark.parametrize("shape", HOSTILE)
@pytest.mark.parametrize("limits", [EVERYTHING, ANY_SPELLING, PLAIN], ids=["canonical", "any spelling", "plain"])
def test_work_is_linear_in_bytes_whatever_they_are(shape, limits):
    """Each byte is looked at a few times, and costs a few calls, in 300 bytes and in 30,000."""

    def read(data):
        try:
            decode(data, limits)
        except WireError:
            return

    for n in (300, 3_000, 30_000):
        data = HOSTILE[shape](n)
        done = work_of(read, data)
        assert done.n_bytes <= 8 * len(data) + 50 and done.calls <= 12 * len(data) + 50


@examples(300)
@given(st.binary(max_size=2000))
def test_work_on_any_bytes_is_linear(data):
    for limits in (EVERYTHING, ANY_SPELLING):
        done = work_of(lambda data, limits=limits: decodes(data, limits), data)
        assert done.n_bytes <= 8 * len(data) + 50 and done.calls <= 12 * len(data) + 50


def decodes(data: bytes, limits: Limits) -> bool:
    try:
        decode(data, limits)
    except WireError:
        return False
    return True
