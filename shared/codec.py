"""Messages as canonical bytes, and back: deterministic CBOR, one spelling per message.

The bytes are `[name, version, {field: value}]` in core deterministic encoding (RFC 8949, section 4.2). What the gate
checks, the journal hashes and the byte counts count is exactly this.

Who reads looks at name and version first, and then at no more than a message of that kind can hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from . import cbor
from .arrays import Floats, as_declared
from .cbor import Limits
from .errors import UndeclaredError, VersionError, WireError
from .register.bounds import VERSION
from .register.kinds import Bytes, Field, Int, ListOf, MessageKind, Text

#: How every message begins: an array of three; then its name and version, which both fit into so many bytes.
_ARRAY_OF_3 = b"\x83"
_HEAD_BYTES = 64
_HEAD = Limits(_HEAD_BYTES, most_items=1, most_depth=0)

#: What numpy writes in front of an array's bytes is shorter than this.
_NPY_VERSION, _MAX_HEADER_BYTES = (1, 0), 256

Message = tuple[str, dict[str, Any]]


def _check(where: str, field: Field, value: Any) -> None:
    """WireError unless the value is in the field's bounds. Names the field and the bound, never the value."""
    kind = field.type
    if isinstance(kind, Int):
        if type(value) is not int or not kind.low <= value <= kind.high:
            raise WireError(f"{where}: expected an integer in {kind.low}..{kind.high}")
    elif isinstance(kind, Bytes):
        if type(value) is not bytes or not kind.low <= len(value) <= kind.high or len(value) % kind.unit:
            raise WireError(f"{where}: expected {kind.low}..{kind.high} bytes in units of {kind.unit}")
    elif isinstance(kind, Text):
        if type(value) is not str or not fits_utf8(value, kind.high):
            raise WireError(f"{where}: expected a text of at most {kind.high} bytes")
    else:
        assert isinstance(kind, ListOf)
        if type(value) is not list or len(value) > kind.most:
            raise WireError(f"{where}: expected a list of at most {kind.most}")
        for item in value:
            _check_fields(where, kind.fields, item)


def fits_utf8(text: str, most_bytes: int) -> bool:
    """Whether a text has a spelling in UTF-8, of no more bytes than this."""
    try:
        return len(text.encode()) <= most_bytes
    except UnicodeEncodeError:
        return False


def _check_fields(where: str, fields: Mapping[str, Field], values: Any) -> None:
    if type(values) is not dict or set(values) != set(fields):
        raise WireError(f"{where}: expected exactly the fields {', '.join(sorted(fields))}")
    for name, field in fields.items():
        _check(f"{where}.{name}", field, values[name])


def encode(register: Mapping[str, MessageKind], name: str, fields: Mapping[str, Any]) -> bytes:
    """Canonical bytes of one declared message; WireError if anything is undeclared or out of bounds."""
    kind, values = _kind(register, name), dict(fields)
    _check_fields(name, kind.fields, values)
    return cbor.encode([name, VERSION, values], limits_of(kind))


def decode(register: Mapping[str, MessageKind], data: bytes) -> Message:
    """(name, fields) of canonical bytes; WireError for anything else: unknown name, field or version, another shape,
    a value out of bounds, trailing bytes, a second spelling of the same message.

    UndeclaredError for a name that the register does not hold, VersionError for another version, whatever else stands
    there. Time and memory are linear in what the kind allows, not in what somebody sent.
    """
    head = data[: 1 + _HEAD_BYTES]
    if not head.startswith(_ARRAY_OF_3):
        raise WireError("expected [name, version, fields]")
    name, at = cbor.decode_first(head, _HEAD, 1)
    version, _ = cbor.decode_first(head, _HEAD, at)
    if type(name) is not str or type(version) is not int:
        raise WireError("expected [name, version, fields]")
    if version != VERSION:
        raise VersionError(f"expected version {VERSION}")
    kind = _kind(register, name)
    fields = cbor.decode(data, limits_of(kind))[2]
    _check_fields(name, kind.fields, fields)
    return name, fields


def _kind(register: Mapping[str, MessageKind], name: str) -> MessageKind:
    if name not in register:
        raise UndeclaredError(f"expected one of {', '.join(register)}, got an undeclared message")
    return register[name]


@cache
def limits_of(kind: MessageKind) -> Limits:
    """The most that a message of a kind comes to, from the bounds of its fields: bytes, items, depth."""
    n_bytes, n_items, depth = _most_of_map(kind.fields)
    head = len(_ARRAY_OF_3) + _size(kind.name) + cbor.size_of_head(VERSION)
    return Limits(head + n_bytes, 3 + n_items, 1 + depth)


def _most(field: Field) -> tuple[int, int, int]:
    """The most bytes, items and levels that a value of a field has."""
    kind = field.type
    if isinstance(kind, Int):
        farthest = (number if number >= 0 else -1 - number for number in (kind.low, kind.high))
        return max(map(cbor.size_of_head, farthest)), 1, 0
    if isinstance(kind, Bytes | Text):
        return cbor.size_of_head(kind.high) + kind.high, 1, 0
    assert isinstance(kind, ListOf)
    n_bytes, n_items, depth = _most_of_map(kind.fields)
    return cbor.size_of_head(kind.most) + kind.most * n_bytes, 1 + kind.most * n_items, 1 + depth


def _most_of_map(fields: Mapping[str, Field]) -> tuple[int, int, int]:
    values = [_most(field) for field in fields.values()]
    n_bytes = cbor.size_of_head(len(fields)) + sum(map(_size, fields)) + sum(n for n, _, _ in values)
    return n_bytes, 1 + len(fields) + sum(n for _, n, _ in values), 1 + max((d for _, _, d in values), default=0)


def _size(name: str) -> int:
    return cbor.size_of_head(len(name.encode())) + len(name.encode())


@as_declared
def pack_floats(theta: NDArray[np.floating[Any]]) -> bytes:
    """Weights, rounded to float32, as little-endian bytes."""
    return theta.astype("<f4").tobytes()


def unpack_floats(data: bytes) -> Floats:
    """Weights from little-endian float32 bytes; WireError if any is not finite."""
    theta = np.frombuffer(data, dtype="<f4").astype(np.float32)
    if not np.isfinite(theta).all():
        raise WireError("expected finite weights")
    return theta


def array_bytes(packed: bytes, most: int) -> bytes | str:
    """The bytes of a one-dimensional array of uint8 as numpy writes it (.npy, version 1.0), as Flower carries a message; or
    "oversized" for more than `most`, "shape" for anything else.

    Nothing that is longer is allocated or copied: what the array says of its own size is held against its bytes first.
    """
    if len(packed) > most + _MAX_HEADER_BYTES:
        return "oversized"
    try:
        file = BytesIO(packed[:_MAX_HEADER_BYTES])
        if npy.read_magic(file) != _NPY_VERSION:
            return "shape"
        shape, _, dtype = npy.read_array_header_1_0(file, max_header_size=_MAX_HEADER_BYTES)
    except Exception:
        return "shape"
    data = packed[file.tell() :]
    if dtype != np.uint8 or shape != (len(data),):
        return "shape"
    return data if len(data) <= most else "oversized"
