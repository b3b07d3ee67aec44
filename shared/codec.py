"""Messages as canonical bytes, and back: deterministic CBOR, one spelling per message.

The bytes are `[name, version, {field: value}]` in core deterministic encoding (RFC 8949, section 4.2). What the gate
checks, the journal hashes and the byte counts count is exactly this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cbor2
import numpy as np
from numpy.typing import NDArray

from .arrays import Floats, Words
from .errors import UndeclaredError, WireError
from .messages import MAX_MODEL_BYTES, MAX_PARAMETERS, VERSION, Bytes, Field, Int, ListOf, MessageKind, Text

MAX_MESSAGE_BYTES = MAX_MODEL_BYTES + 4 * MAX_PARAMETERS + (1 << 17)

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
    if name not in register:
        raise UndeclaredError(f"expected one of {', '.join(register)}, got an undeclared message")
    values = dict(fields)
    _check_fields(name, register[name].fields, values)
    return cbor2.dumps([name, VERSION, values], canonical=True)


def decode(register: Mapping[str, MessageKind], data: bytes) -> Message:
    """(name, fields) of canonical bytes; WireError for anything else: unknown name, field or version, another shape,
    a value out of bounds, trailing bytes, a second spelling of the same message."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError(f"expected at most {MAX_MESSAGE_BYTES} bytes, got {len(data)}")
    try:
        parts = cbor2.loads(data)
    except Exception:
        raise WireError("expected canonical CBOR") from None
    if type(parts) is not list or len(parts) != 3 or type(parts[0]) is not str:
        raise WireError("expected [name, version, fields]")
    name, version, fields = parts
    if version != VERSION or type(version) is not int:
        raise WireError(f"expected version {VERSION}")
    if encode(register, name, fields if type(fields) is dict else {}) != data:
        raise WireError("expected the canonical spelling of a message")
    return name, fields


def pack_floats(theta: NDArray[np.floating[Any]]) -> bytes:
    """Weights, rounded to float32, as little-endian bytes."""
    return theta.astype("<f4").tobytes()


def unpack_floats(data: bytes) -> Floats:
    """Weights from little-endian float32 bytes; WireError if any is not finite."""
    theta = np.frombuffer(data, dtype="<f4").astype(np.float32)
    if not np.isfinite(theta).all():
        raise WireError("expected finite weights")
    return theta


def pack_words(values: Words) -> bytes:
    """A vector modulo 2^32 as little-endian bytes."""
    return values.astype("<u4").tobytes()


def unpack_words(data: bytes) -> Words:
    """A vector modulo 2^32 from little-endian bytes."""
    return np.frombuffer(data, dtype="<u4").astype(np.uint32)
