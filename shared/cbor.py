"""Values as bytes, and back: the part of CBOR (RFC 8949) that is used here, for bytes that anybody may have made.

Integers of up to 64 bits, byte strings, texts, arrays, and maps whose keys are texts; floats, null and booleans where `Limits`
allow them. Nothing else: no tags, no lengths left open, no other simple values, no key twice, nothing behind the end.

What is written is core deterministic encoding (section 4.2): the shortest heads, keys in the order of their bytes, the
shortest float that keeps the value. A value has one spelling.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .errors import WireError

#: No value that anybody may have made nests deeper: reading and writing call themselves once for each level.
DEEPEST = 32
_BEYOND = 1 << 64

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SPECIAL = range(8)
_SIMPLE = {20: False, 21: True, 22: None}
_NAN = b"\xf9\x7e\x00"
#: By the low bits of a float's head, the shortest first.
_FLOATS = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
#: By the low bits of a head whose number stands behind it: how many bytes it has, and the least that needs so many.
_NUMBERS = {24: (1, 24), 25: (2, 1 << 8), 26: (4, 1 << 16), 27: (8, 1 << 32)}


@dataclass(frozen=True)
class Limits:
    """What one value may come to: `most_bytes`; `most_items`, keys and containers counted, too; `most_depth`, containers
    inside each other. `floats`, and `simple` (null and booleans), say what else it may hold. `canonical`: it has to be in
    the one spelling that `encode` writes."""

    most_bytes: int
    most_items: int
    most_depth: int
    floats: bool = False
    simple: bool = False
    canonical: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.most_depth <= DEEPEST:
            raise ValueError(f"expected a depth in 0..{DEEPEST}, got {self.most_depth}")


def decode(data: bytes, limits: Limits) -> Any:
    """The value of `data`: int, bytes, str, list, dict, and float, bool, None where allowed; WireError, which never shows
    what was there, for anything else.

    Guarantees. Time and memory are linear in the length of `data`, whatever it is: a length is compared with the bytes that
    are left, and a count with bytes and items, before anything is made of them; each item is looked at once.
    """
    value, end = decode_first(data, limits)
    if end != len(data):
        raise WireError("expected nothing behind the end")
    return value


def decode_first(data: bytes, limits: Limits, at: int = 0) -> tuple[Any, int]:
    """The value that begins at `at`, and where it ends; WireError as `decode`. What stands behind it is not looked at."""
    if len(data) - at > limits.most_bytes:
        raise WireError(f"expected at most {limits.most_bytes} bytes")
    reader = _Reader(data, limits, at)
    return reader.value(limits.most_depth), reader.at


def encode(value: Any, limits: Limits) -> bytes:
    """The one spelling of `value`; WireError for what `decode` would refuse under the same limits.

    Types count exactly: a tuple is written as a list is, but numpy's scalars and subclasses (enums, too) are refused. Their
    owner says what they are.
    """
    writer = _Writer(limits)
    writer.put(value, limits.most_depth)
    data = b"".join(writer.parts)
    if len(data) > limits.most_bytes:
        raise WireError(f"expected at most {limits.most_bytes} bytes")
    return data


def size_of_head(number: int) -> int:
    """How many bytes stand before a string of `number` bytes or the items of an array, and how many an integer of 0 or more
    has."""
    return len(_head(_UNSIGNED, number))


class _Reader:
    """One value on its way in: the bytes, where the next item begins, and how many items may still be announced."""

    __slots__ = ("at", "canonical", "data", "left", "limits")

    def __init__(self, data: bytes, limits: Limits, at: int) -> None:
        self.data, self.limits, self.at = data, limits, at
        self.left, self.canonical = limits.most_items, limits.canonical
        self._announce(1)

    def value(self, depth: int) -> Any:
        """The next item, with containers to at most this depth."""
        at = self.at
        if at >= len(self.data):
            raise WireError("expected an item, got the end")
        kind, low = self.data[at] >> 5, self.data[at] & 31
        if kind == _SPECIAL:
            return self._special(low)
        self.at = at + 1
        number = low if low < 24 else self._number(low)
        if kind == _UNSIGNED:
            return number
        if kind == _BYTES:
            return self._string(number)
        if kind == _TEXT:
            try:
                return str(self._string(number), "utf-8")
            except UnicodeDecodeError:
                raise WireError("expected texts in UTF-8") from None
        if kind == _ARRAY:
            self._enter(number, depth)
            return [self.value(depth - 1) for _ in range(number)]
        if kind == _MAP:
            self._enter(2 * number, depth)
            return self._map(number, depth - 1)
        if kind == _NEGATIVE:
            return -1 - number
        raise WireError("expected no tags")

    def _announce(self, n_items: int) -> None:
        if n_items > self.left:
            raise WireError(f"expected at most {self.limits.most_items} items")
        self.left -= n_items

    def _enter(self, n_items: int, depth: int) -> None:
        if depth < 1:
            raise WireError(f"expected at most {self.limits.most_depth} containers inside each other")
        if n_items > len(self.data) - self.at:
            raise WireError("expected as many items as are announced")
        self._announce(n_items)

    def _number(self, low: int) -> int:
        if low not in _NUMBERS:
            raise WireError("expected a length, not one left open")
        size, least = _NUMBERS[low]
        number = int.from_bytes(self._string(size), "big")
        if self.canonical and number < least:
            raise WireError("expected the shortest head")
        return number

    def _string(self, size: int) -> bytes:
        at = self.at
        if size > len(self.data) - at:
            raise WireError("expected as many bytes as are announced")
        self.at = at + size
        return self.data[at : at + size]

    def _map(self, n_entries: int, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        before = b""
        for _ in range(n_entries):
            at = self.at
            if at < len(self.data) and self.data[at] >> 5 != _TEXT:
                raise WireError("expected texts as keys")
            key = self.value(0)
            if self.canonical:
                spelled = self.data[at : self.at]
                if spelled <= before:
                    raise WireError("expected keys in the order of their bytes, each once")
                before = spelled
            elif key in out:
                raise WireError("expected each key once")
            out[key] = self.value(depth)
        return out

    def _special(self, low: int) -> Any:
        at = self.at
        self.at = at + 1
        if low in _SIMPLE:
            if not self.limits.simple:
                raise WireError("expected neither null nor booleans")
            return _SIMPLE[low]
        if low not in _FLOATS:
            raise WireError("expected no other simple values")
        if not self.limits.floats:
            raise WireError("expected no floats")
        value: float = _FLOATS[low].unpack(self._string(_FLOATS[low].size))[0]
        if self.canonical and self.data[at : self.at] != _spelled(value):
            raise WireError("expected the shortest float")
        return value


class _Writer:
    """One value on its way out, as parts."""

    __slots__ = ("left", "limits", "parts")

    def __init__(self, limits: Limits) -> None:
        self.limits, self.left = limits, limits.most_items
        self.parts: list[bytes] = []

    def put(self, value: Any, depth: int) -> None:
        """Add a value with containers to at most this depth."""
        self._count()
        kind = type(value)
        if kind is int:
            if not -_BEYOND <= value < _BEYOND:
                raise WireError("expected integers of at most 64 bits")
            self.parts.append(_head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value))
        elif kind is bytes:
            self.parts += _head(_BYTES, len(value)), value
        elif kind is str:
            self.parts.append(_text(value))
        elif kind is list or kind is tuple:
            self._enter(_head(_ARRAY, len(value)), depth)
            for item in value:
                self.put(item, depth - 1)
        elif kind is dict:
            self._enter(_head(_MAP, len(value)), depth)
            for key, item in sorted(((_text(key), item) for key, item in value.items()), key=lambda entry: entry[0]):
                self._count()
                self.parts.append(key)
                self.put(item, depth - 1)
        elif kind is float and self.limits.floats:
            self.parts.append(_spelled(value))
        elif (kind is bool or value is None) and self.limits.simple:
            self.parts.append(b"\xf6" if value is None else b"\xf5" if value else b"\xf4")
        else:
            raise WireError("expected values of the declared types alone")

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise WireError(f"expected at most {self.limits.most_items} items")

    def _enter(self, head: bytes, depth: int) -> None:
        if depth < 1:
            raise WireError(f"expected at most {self.limits.most_depth} containers inside each other")
        self.parts.append(head)


def _head(kind: int, number: int) -> bytes:
    """The shortest head of an item of a major type."""
    if number < 24:
        return bytes((kind << 5 | number,))
    low = 24 if number < 1 << 8 else 25 if number < 1 << 16 else 26 if number < 1 << 32 else 27
    return bytes((kind << 5 | low,)) + number.to_bytes(_NUMBERS[low][0], "big")


def _text(value: Any) -> bytes:
    if type(value) is not str:
        raise WireError("expected texts as keys")
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise WireError("expected texts in UTF-8") from None
    return _head(_TEXT, len(data)) + data


def _spelled(value: float) -> bytes:
    """The shortest float that keeps the value; all NaN are one."""
    if value != value:
        return _NAN
    for low, form in _FLOATS.items():
        with suppress(OverflowError):  # too large for this one
            data = form.pack(value)
            if form.unpack(data)[0] == value:
                return bytes((_SPECIAL << 5 | low,)) + data
    raise AssertionError("64 bits keep every float")
