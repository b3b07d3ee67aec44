"""Bytes that are made to cost whoever reads them: by shape, of about any length; alone, and inside messages of a register."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hypothesis import strategies as st

from shared.codec import limits_of
from shared.register.bounds import VERSION
from shared.register.kinds import MessageKind
from tests.world.spellings import spelled


def _announced(kind: int, n: int) -> bytes:
    """A head that announces n items or bytes, in the shortest way from 2^16 on."""
    return (
        bytes([kind << 5 | 26]) + n.to_bytes(4, "big")
        if n < 1 << 32
        else bytes([kind << 5 | 27]) + n.to_bytes(8, "big")
    )


def _keys(n: int, twice: bool) -> bytes:
    """A map of keys of the same length and beginning, rising."""
    keys = [b"\x78\x20" + b"%032d" % (0 if twice else i) + b"\0" for i in range(max(2, n // 35))]
    return _announced(5, len(keys)) + b"".join(keys)


#: By name, bytes of about n that attack a reader of CBOR.
HOSTILE: Mapping[str, Callable[[int], bytes]] = {
    "deep arrays": lambda n: b"\x81" * n,
    "deep maps": lambda n: b"\xa1\x61a" * (n // 3 + 1),
    "deep tags": lambda n: b"\xc1" * n,
    "deep keys": lambda n: b"\xa1" * n,
    "an array of 2^62": lambda n: _announced(4, 1 << 62) + bytes(n),
    "a map of 2^62": lambda n: _announced(5, 1 << 62) + bytes(n),
    "arrays that each announce all that is left": lambda n: _announced(4, max(1, n // 2)) * (n // 5 + 1) + bytes(n),
    "a string beyond the end": lambda n: _announced(2, n + 1) + bytes(n),
    "a text of 2^62": lambda n: _announced(3, 1 << 62) + bytes(n),
    "empty arrays": lambda n: _announced(4, n) + b"\x80" * n,
    "empty maps": lambda n: _announced(4, n) + b"\xa0" * n,
    "empty strings": lambda n: _announced(4, n) + b"\x40" * n,
    "many keys": lambda n: _keys(n, twice=False),
    "a key again and again": lambda n: _keys(n, twice=True),
    "tiny chunks": lambda n: b"\x5f" + b"\x41x" * (n // 2) + b"\xff",
    "heads that are too long": lambda n: _announced(4, n // 9 + 1) + (b"\x1b" + bytes(8)) * (n // 9 + 1),
    "bad UTF-8 at the end": lambda n: _announced(3, n + 1) + b"a" * n + b"\xff",
    "wide letters": lambda n: _announced(3, n + 4) + b"a" * n + "\U0001f40c".encode(),
    "a bignum": lambda n: b"\xc2" + _announced(2, n) + b"\xff" * n,
    "floats": lambda n: _announced(4, n // 9 + 1) + (b"\xfb" + b"\x3f\xf1" * 4) * (n // 9 + 1),
    "short floats": lambda n: _announced(4, n // 3 + 1) + b"\xf9\x3c\x00" * (n // 3 + 1),
    "nulls": lambda n: _announced(4, n) + b"\xf6" * n,
    "simple values": lambda n: _announced(4, n // 2 + 1) + b"\xf8\xff" * (n // 2 + 1),
    "small integers": lambda n: _announced(4, n) + b"\0" * n,
    "a long string": lambda n: _announced(2, n) + bytes(n),
}


class HostileMessage(tuple[str | None, bytes]):
    """The kind that a message names, None for none, and its bytes; a failing example shows the beginning."""

    def __repr__(self) -> str:
        return f"HostileMessage({self[0]}, {self[1][:60]!r}... {len(self[1])} bytes)"


@st.composite
def hostile_messages(draw, register: Mapping[str, MessageKind]) -> HostileMessage:
    """Something hostile, alone or in a place of a message of the register, as long as its kind may be, or longer."""
    name = draw(st.sampled_from([None, *register]))
    most = limits_of(register[name]).most_bytes if name else 1 << 20
    n = draw(st.integers(1, 1 << draw(st.integers(4, most.bit_length()))))
    attack = HOSTILE[draw(st.sampled_from(sorted(HOSTILE)))](n)
    if name is None:
        return HostileMessage((None, draw(st.sampled_from([b"", b"\x83", b"\x83\x66update"])) + attack))
    head = b"\x83" + spelled(name) + spelled(VERSION)
    fields = sorted(register[name].fields, key=spelled)
    if not fields or draw(st.booleans()):
        return HostileMessage((name, head + attack))
    field = draw(st.sampled_from([fields[0], fields[-1]]))
    before = b"".join(spelled(other) + b"\0" for other in fields[: fields.index(field)])
    return HostileMessage((name, head + bytes([0xA0 | len(fields)]) + before + spelled(field) + attack))
