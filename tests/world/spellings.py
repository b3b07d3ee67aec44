"""Values as bytes, and back, under limits that allow everything that has a spelling at all: for tests that make bytes which a
register or a vault would not."""

from __future__ import annotations

from typing import Any

from shared.cbor import DEEPEST, Limits, decode, encode

EVERYTHING = Limits(1 << 26, most_items=1 << 22, most_depth=DEEPEST, floats=True, simple=True)
#: Stands for itself in a value that is spelled; in its bytes, a regular expression's tag and text stand there.
TAGGED = "a value with a tag"


def spelled(value: Any) -> bytes:
    """The canonical bytes of a value."""
    data = encode(value, EVERYTHING)
    return data.replace(encode(TAGGED, EVERYTHING), b"\xd8\x23\x62a+")


def value_of(data: bytes) -> Any:
    """The value of canonical bytes."""
    return decode(data, EVERYTHING)
