"""What travels to a device: a request's canonical bytes, the time of asking, and the server's signature over both.

`server/signing.py` signs and `client/privacy/request_signature.py` verifies; here is only what both must agree on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .codec import decode, encode
from .messages import SIGNED

#: What every signature begins with: this key signs nothing else under it, so no other signature of the server's fits a
#: request, and none of a request fits anything else.
TAG = b"ebbtide request v1\n"
TIME_BYTES = 8


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
    `shared.codec` looks at no more of it than an envelope can hold."""
    return Envelope(**decode(SIGNED, data)[1])
