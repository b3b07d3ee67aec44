"""What travels to a device: a request's canonical bytes, the time of asking, and the server's signature over both.

`server/signing.py` signs and `client/privacy/request_signature.py` verifies; here is only what both must agree on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .codec import decode, encode
from .errors import WireError
from .messages import SIGNED

#: What every signature begins with: this key signs nothing else under it, so no other signature of the server's fits a
#: request, and none of a request fits anything else.
TAG = b"ebbtide request v1\n"
TIME_BYTES = 8

#: How every envelope's bytes begin, up to the length of the body; and the most that stands behind the body.
_HEAD = b"\x83\x66signed\x01\xa3\x64body"
_MOST_BEHIND = 128


@dataclass(frozen=True)
class Envelope:
    """One request on its way: `body` (canonical bytes under `REQUESTS`), asked at `time_s`, seconds on the server's
    clock."""

    body: bytes
    time_s: int
    signature: bytes


def signed_bytes(body: bytes, time_s: int) -> bytes:
    """What the signature is over: the tag, the time as 8 bytes, the first the highest, the body."""
    return TAG + time_s.to_bytes(TIME_BYTES, "big") + body


def wrap(body: bytes, time_s: int, sign: Callable[[bytes], bytes]) -> bytes:
    """The envelope's canonical bytes; WireError if the body is too long, the time out of bounds, or `sign` gives no
    64 bytes."""
    signature = sign(signed_bytes(body, time_s)) if 0 <= time_s < 1 << 8 * TIME_BYTES else b""
    return encode(SIGNED, "signed", {"body": body, "time_s": time_s, "signature": signature})


def unwrap(data: bytes) -> Envelope:
    """The envelope of its canonical bytes; WireError for anything else. Verifies nothing, so anybody may have sent `data`:
    what costs memory or time to read is refused before it is read."""
    if not _is_shaped(data):
        raise WireError("expected an envelope")
    return Envelope(**decode(SIGNED, data)[1])


def _is_shaped(data: bytes) -> bool:
    """Whether `data` begins as an envelope does, and all but a few bytes of it are one string: its body."""
    at = len(_HEAD) + 1
    if not data.startswith(_HEAD) or len(data) < at:
        return False
    kind = data[at - 1]
    if 0x40 <= kind < 0x58:  # a byte string whose length is in the same byte
        return len(data) - at - (kind - 0x40) <= _MOST_BEHIND
    size = {0x58: 1, 0x59: 2, 0x5A: 4}.get(kind)
    if size is None:
        return False
    length = int.from_bytes(data[at : at + size], "big")
    return 0 <= len(data) - at - size - length <= _MOST_BEHIND
