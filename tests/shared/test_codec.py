"""One spelling per message: what is declared goes round, everything else is refused with a WireError and nothing else."""

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.answers import understood
from shared.codec import (
    decode,
    encode,
    limits_of,
    pack_floats,
    unpack_floats,
)
from shared.errors import Refusal, RefusalCode, UndeclaredError, VersionError, WireError
from shared.messages import REGISTER, REQUESTS, SIGNED
from shared.register.bounds import VERSION
from shared.register.kinds import Bytes, Field, Int, ListOf, Text
from tests.world.basics import examples
from tests.world.hostile import HOSTILE as SHAPES
from tests.world.hostile import hostile_messages
from tests.world.work import work_of

BOTH = {"register": REGISTER, "requests": REQUESTS}


def values(field: Field) -> st.SearchStrategy:
    """Values that a field declares, its bounds included."""
    kind = field.type
    if isinstance(kind, Int):
        return st.integers(kind.low, kind.high) | st.sampled_from([int(kind.low), int(kind.high)])
    if isinstance(kind, Bytes):
        low = -(-kind.low // kind.unit)
        sizes = st.integers(low, min(kind.high // kind.unit, low + 8)).map(lambda n: n * kind.unit)
        return sizes.flatmap(lambda n: st.binary(min_size=n, max_size=n))
    if isinstance(kind, Text):
        return st.text(st.characters(exclude_categories=["Cs"]), max_size=kind.high // 4) | st.just("x" * kind.high)
    return st.lists(st.fixed_dictionaries({n: values(f) for n, f in kind.fields.items()}), max_size=4)


@st.composite
def messages(draw) -> tuple[str, str, dict]:
    which = draw(st.sampled_from(sorted(BOTH)))
    name = draw(st.sampled_from(sorted(BOTH[which])))
    declared = BOTH[which][name].fields
    return which, name, draw(st.fixed_dictionaries({n: values(f) for n, f in declared.items()}))


@examples(150)
@given(messages())
def test_every_declared_message_goes_round_in_one_spelling(message):
    which, name, fields = message
    register = BOTH[which]
    data = encode(register, name, fields)
    assert decode(register, data) == (name, fields)
    assert encode(register, name, dict(reversed(fields.items()))) == data, "the order of fields does not matter"


@given(messages())
def test_every_truncated_prefix_and_every_trailing_byte_is_refused(message):
    which, name, fields = message
    register = BOTH[which]
    data = encode(register, name, fields)
    for cut in range(len(data)):
        with pytest.raises(WireError):
            decode(register, data[:cut])
    for tail in (b"\0", b"\xf6", data):
        with pytest.raises(WireError):
            decode(register, data + tail)


@examples(150)
@given(messages(), st.data())
def test_a_flipped_byte_is_another_declared_message_or_refused(message, data):
    which, name, fields = message
    register = BOTH[which]
    spelled = bytearray(encode(register, name, fields))
    spelled[data.draw(st.integers(0, len(spelled) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other, other_fields = decode(register, bytes(spelled))
    except WireError:
        return
    assert encode(register, other, other_fields) == bytes(spelled)
    assert (other, other_fields) != (name, fields)


@examples(300)
@given(st.binary(max_size=60))
def test_random_bytes_raise_nothing_but_wire_errors(data):
    for register in BOTH.values():
        with pytest.raises(WireError):
            decode(register, data)


@given(messages(), st.data())
def test_unknown_and_missing_fields_are_refused(message, data):
    which, name, fields = message
    register = BOTH[which]
    wrong_fields: list[dict] = [{**fields, "n_examples": 3}]
    if fields:
        dropped = data.draw(st.sampled_from(sorted(fields)))
        wrong_fields += [{k: v for k, v in fields.items() if k != dropped}, {}]
    for wrong in wrong_fields:
        with pytest.raises(WireError):
            encode(register, name, wrong)
        with pytest.raises(WireError):
            decode(register, cbor2.dumps([name, VERSION, wrong], canonical=True))


ALERT = {"direction": 0, "category": 1, "level": 2, "step": 3, "model_round": 4}


def wrong_values(field: Field) -> list:
    """Values that look like a field's and are not."""
    kind = field.type
    if isinstance(kind, Int):
        return [
            kind.low - 1,
            kind.high + 1,
            True,
            False,
            float(kind.low),
            str(kind.low),
            None,
            b"\0",
            [kind.low],
            2**70,
        ]
    if isinstance(kind, Bytes):
        size = max(kind.low, kind.unit)
        wrong = [[0] * size, "x" * size, None, size, bytes(kind.high + kind.unit)]
        wrong += [bytes(kind.low - 1)] if kind.low else []
        return wrong + ([bytes(size + 1)] if kind.unit > 1 or kind.low == kind.high else [])
    if isinstance(kind, Text):
        return ["x" * (kind.high + 1), "é" * (kind.high // 2 + 1), "\ud800", b"", None, 0, [""]]
    assert isinstance(kind, ListOf)
    return [
        None,
        {},
        b"",
        [None],
        [[]],
        [{}],
        [{**ALERT, "score": 0.5}],
        [{**ALERT, "level": 3}],
        [{**ALERT, "level": 1.0}],
        [{**ALERT, "direction": True}],
        [{k: v for k, v in ALERT.items() if k != "step"}],
        [ALERT] * (kind.most + 1),
    ]


@pytest.mark.parametrize(
    ("register", "name", "field"),
    [(r, n, f) for r, register in BOTH.items() for n in register for f in register[n].fields],
)
def test_wrong_types_and_values_out_of_bounds_are_refused_without_being_shown(register, name, field):
    declared = BOTH[register][name].fields
    good = {n: smallest(f) for n, f in declared.items()}
    encode(BOTH[register], name, good)
    for value in wrong_values(declared[field]):
        wrong = {**good, field: value}
        with pytest.raises(WireError) as refused:
            encode(BOTH[register], name, wrong)
        assert field in str(refused.value) and len(str(refused.value)) < 300
        if value == "\ud800":
            continue  # has no bytes
        with pytest.raises(WireError):
            decode(BOTH[register], cbor2.dumps([name, VERSION, wrong], canonical=True))


def smallest(field: Field):
    kind = field.type
    if isinstance(kind, Int):
        return int(kind.low)
    return bytes(kind.low) if isinstance(kind, Bytes) else "" if isinstance(kind, Text) else []


RECEIPT = {"plan_sha256": bytes(range(32))}
HASH = b"\x58\x20" + bytes(range(32))
KEY = b"\x6bplan_sha256"
SPELLINGS = {
    "long array head": b"\x98\x03\x67receipt\x01\xa1" + KEY + HASH,
    "long integer": b"\x83\x67receipt\x18\x01\xa1" + KEY + HASH,
    "long text head": b"\x83\x78\x07receipt\x01\xa1" + KEY + HASH,
    "long bytes head": b"\x83\x67receipt\x01\xa1" + KEY + b"\x59\x00\x20" + bytes(range(32)),
    "indefinite array": b"\x9f\x67receipt\x01\xa1" + KEY + HASH + b"\xff",
    "indefinite map": b"\x83\x67receipt\x01\xbf" + KEY + HASH + b"\xff",
    "indefinite bytes": b"\x83\x67receipt\x01\xa1" + KEY + b"\x5f" + HASH + b"\xff",
    "a field twice": b"\x83\x67receipt\x01\xa2" + KEY + HASH + KEY + HASH,
    "self-described": b"\xd9\xd9\xf7\x83\x67receipt\x01\xa1" + KEY + HASH,
    "version as float": b"\x83\x67receipt\xf9\x3c\x00\xa1" + KEY + HASH,
    "version as true": b"\x83\x67receipt\xf5\xa1" + KEY + HASH,
    "version as bignum": b"\x83\x67receipt\xc2\x41\x01\xa1" + KEY + HASH,
    "other version": b"\x83\x67receipt\x02\xa1" + KEY + HASH,
    "name as bytes": b"\x83\x47receipt\x01\xa1" + KEY + HASH,
    "undeclared name": b"\x83\x67receipz\x01\xa1" + KEY + HASH,
    "four parts": b"\x84\x67receipt\x01\xa1" + KEY + HASH + b"\x00",
    "a map": b"\xa1\x67receipt\x01",
    "fields as list": b"\x83\x67receipt\x01\x81" + HASH,
    "a request": encode(REQUESTS, "alerts_query", {"audience": "", "step": 0}),
}


def test_the_canonical_spelling_is_the_one_written_down():
    assert encode(REGISTER, "receipt", RECEIPT) == b"\x83\x67receipt\x01\xa1" + KEY + HASH
    assert decode(REGISTER, b"\x83\x67receipt\x01\xa1" + KEY + HASH) == ("receipt", RECEIPT)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_any_other_spelling_is_refused(spelling):
    with pytest.raises(WireError):
        decode(REGISTER, SPELLINGS[spelling])


def test_fields_in_another_order_are_another_spelling():
    fields = {"step": 3, "alerts": []}
    wrong = cbor2.dumps(["alerts", VERSION, dict(sorted(fields.items()))])
    right = encode(REGISTER, "alerts", fields)
    assert sorted(wrong) == sorted(right) and wrong != right
    with pytest.raises(WireError):
        decode(REGISTER, wrong)


HOSTILE = {
    "nothing": b"",
    "deep arrays": b"\x81" * 200_000,
    "deep maps": b"\xa1\x00" * 200_000,
    "deep tags": b"\xc1" * 200_000,
    "array of 2^60 items": b"\x9b\x10" + bytes(7),
    "2^60 bytes": b"\x5b\x10" + bytes(7),
    "2^62 characters": b"\x7b\x40" + bytes(7),
    "map of 2^60 entries": b"\xbb\x10" + bytes(7),
    "a list within itself": b"\xd8\x1c\x83\x66alerts\x01\xd8\x1d\x00",
    "alerts within themselves": b"\x83\x66alerts\x01\xa2\x64step\x00\x66alerts\xd8\x1c\x81\xd8\x1d\x00",
    "a set": b"\xd9\x01\x02\x83\x67receipt\x01\xa0",
    "a date": b"\xc1\x1a\x51\x4b\x67\xb0",
    "a regular expression": b"\xd8\x23\x68(a+)+$((",
    "a decimal of a billion digits": b"\xc4\x82\x1a\x3b\x9a\xca\x00\x01",
    "a bigfloat of a billion bits": b"\xc5\x82\x1a\x3b\x9a\xca\x00\x01",
    "division by zero": b"\xd8\x1e\x82\x01\x00",
    "broken text": b"\x83\x67\xff\xfe\xfd\xfc\xfb\xfa\xf9\x01\xa0",
    "break code": b"\xff",
    "unassigned simple value": b"\xf8\xff",
    "too long": b"\x5a" + (1 << 22).to_bytes(4, "big") + bytes(1 << 22),
}


@pytest.mark.parametrize("attack", HOSTILE)
@pytest.mark.parametrize("register", sorted(BOTH))
def test_hostile_cbor_is_refused_like_any_other(attack, register):
    with pytest.raises(WireError):
        decode(BOTH[register], HOSTILE[attack])


@examples(100)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=4), x, max_size=3),
        max_leaves=8,
    )
)
def test_any_other_cbor_value_is_refused_wherever_it_stands(value):
    shapes = (value, [value], [value, VERSION, RECEIPT], ["receipt", value, RECEIPT], ["receipt", VERSION, value])
    for shape in (*shapes, ["receipt", VERSION, {"plan_sha256": value}]):
        data = cbor2.dumps(shape, canonical=True)
        try:
            name, fields = decode(REGISTER, data)
        except WireError:
            continue
        assert encode(REGISTER, name, fields) == data


# ---- work, before anything is believed


def largest(field: Field):
    kind = field.type
    if isinstance(kind, Int):
        return max(int(kind.low), int(kind.high), key=abs)
    if isinstance(kind, Bytes):
        return bytes(kind.high)
    if isinstance(kind, Text):
        return "x" * kind.high
    return [{name: largest(inner) for name, inner in kind.fields.items()}] * kind.most


ALL = {**REGISTER, **REQUESTS, **SIGNED}


@pytest.mark.parametrize("name", ALL)
def test_the_limits_of_a_kind_are_its_largest_message_s(name):
    kind = ALL[name]
    data = encode(ALL, name, {n: largest(field) for n, field in kind.fields.items()})
    limits, fields = limits_of(kind), decode(ALL, data)[1]
    assert len(data) == limits.most_bytes and n_items([name, VERSION, fields]) == limits.most_items
    assert depth([name, VERSION, fields]) == limits.most_depth
    with pytest.raises(WireError, match=f"at most {limits.most_bytes} bytes"):
        decode(ALL, data + b"\0")


def n_items(value) -> int:
    if isinstance(value, dict):
        return 1 + sum(1 + n_items(item) for item in value.values())
    return 1 + (sum(map(n_items, value)) if isinstance(value, list) else 0)


def depth(value) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(depth, inside), default=0)


def test_kinds_of_all_registers_have_names_of_their_own():
    assert len(ALL) == len(REGISTER) + len(REQUESTS) + len(SIGNED)


@pytest.mark.parametrize("version", [0, 2, 255, 2**64 - 1, -1])
@pytest.mark.parametrize("rest", [b"", b"\xa0", b"\xff" * 100])
def test_another_version_is_told_apart_whatever_it_brings(version, rest):
    for name in ("receipt", "a later kind"):
        with pytest.raises(VersionError, match=f"expected version {VERSION}"):
            decode(REGISTER, cbor2.dumps([name, version, 0], canonical=True)[:-1] + rest)


def test_a_name_that_the_register_does_not_hold_is_told_apart():
    with pytest.raises(UndeclaredError):
        decode(REGISTER, cbor2.dumps(["diagnostics", VERSION, {}], canonical=True))


def most_calls(name: str | None) -> int:
    """So many calls a message of a kind may cost at most, of whatever length: some for each item that it can have."""
    return 100 + 40 * (limits_of(ALL[name]).most_items if name else 1)


@examples(500, deadline=None)
@given(hostile_messages(REGISTER))
def test_what_a_hostile_device_sends_costs_the_server_no_more_than_its_kind_allows(message):
    name, data = message

    def read(data):
        try:
            assert encode(REGISTER, *decode(REGISTER, data)) == data
        except WireError:
            return

    done = work_of(read, data)
    assert done.calls <= most_calls(name) and done.n_bytes <= 4 * len(data) + 300


@examples(500, deadline=None)
@given(hostile_messages(REQUESTS))
def test_what_a_hostile_server_sends_costs_a_device_no_more_than_its_kind_allows(message):
    name, data = message

    def read(data):
        try:
            understood(data, name or "alerts_query", "")
        except Refusal as refusal:
            assert refusal.code in (RefusalCode.MALFORMED, RefusalCode.UNDECLARED)

    done = work_of(read, data)
    assert done.calls <= most_calls(name) and done.n_bytes <= 4 * len(data) + 300


@pytest.mark.parametrize("shape", SHAPES)
def test_a_message_that_is_nothing_but_hostile_is_refused_at_its_head(shape):
    """A megabyte or a few bytes: the same work."""

    def read(data):
        with pytest.raises(WireError):
            decode(REGISTER, data)

    done = [work_of(read, SHAPES[shape](n)) for n in (90, 10**6)]
    assert max(work.calls for work in done) < 300 and max(work.n_bytes for work in done) < 300


# ---- weights and vectors


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=20))
def test_weights_go_round_bit_for_bit(floats):
    theta = np.array(floats, np.float32)
    assert unpack_floats(pack_floats(theta)).tobytes() == theta.tobytes()
    assert pack_floats(theta.astype(">f4")) == pack_floats(theta), "the wire is little-endian"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(bad):
    with pytest.raises(WireError):
        unpack_floats(pack_floats(np.array([1, bad, 2], np.float32)))
