"""What travels to a device: a request's canonical bytes, the time of asking, and the server's signature over both.

`server/signing.py` signs and `client/privacy/request_signature.py` verifies; here is only what both must agree on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from .codec import decode, encode
from .messages import SIGNED

#: What every signature begins with: this key signs nothing else under it, so no other signature of the server's fits a
#: request, and none of a request fits anything else. The second is of an envelope that names the head of the server's log.
TAG, WITNESSED_TAG = b"ebbtide request v1\n", b"ebbtide request v2\n"
TIME_BYTES = 8


class Head(NamedTuple):
    """What the server's log was when it asked: so many leaves, under this root (32 bytes)."""

    size: int
    root: bytes


@dataclass(frozen=True)
class Envelope:
    """One request on its way: `body` (canonical bytes under `REQUESTS`), asked at `time_s`, seconds on the server's
    clock, by a server whose log had this `head`; None in an envelope of the first version, which says nothing of a log."""

    body: bytes
    time_s: int
    signature: bytes
    head: Head | None = None


def signed_bytes(body: bytes, time_s: int, head: Head | None = None) -> bytes:
    """What the signature is over: the tag, the time as 8 bytes, the first the highest, then the size of the log in as many and its
    root, if the envelope names them, and the body."""
    time = time_s.to_bytes(TIME_BYTES, "big")
    if head is None:
        return TAG + time + body
    return WITNESSED_TAG + time + head.size.to_bytes(TIME_BYTES, "big") + head.root + body


def wrap(body: bytes, time_s: int, sign: Callable[[bytes], bytes], head: Head | None = None) -> bytes:
    """The envelope's canonical bytes; WireError if the body is too long, a number out of bounds, or `sign` gives no
    64 bytes."""
    in_bounds = all(0 <= number < 1 << 8 * TIME_BYTES for number in (time_s, head.size if head else 0))
    signature = sign(signed_bytes(body, time_s, head)) if in_bounds else b""
    fields = {"body": body, "time_s": time_s, "signature": signature}
    if head is None:
        return encode(SIGNED, "signed", fields)
    return encode(SIGNED, "witnessed", {**fields, "log_size": head.size, "log_root": head.root})


def unwrap(data: bytes) -> Envelope:
    """The envelope of its canonical bytes, of either version; WireError for anything else. Verifies nothing, so anybody may have
    sent `data`: `shared.codec` looks at no more of it than an envelope can hold."""
    name, fields = decode(SIGNED, data)
    head = Head(fields.pop("log_size"), fields.pop("log_root")) if name == "witnessed" else None
    return Envelope(**fields, head=head)
