"""The tests' server: its key, what it signs, and what is in an envelope. Imports only what a device has."""

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.codec import decode, encode
from shared.envelope import unwrap, wrap
from shared.messages import REQUESTS

PRIVATE_KEY, OTHER_PRIVATE_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
#: What the tests' devices pin.
SERVER_KEY = PRIVATE_KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
ASKED_AT_S = 1_000_000
#: When the tests' server began its run.
RUN = 900_000
#: A training request whose seats helpers hold, in the first epoch.
SEATED = {"epoch": 1, "seats": b"", "seats_proof": b"", "absent": b""}


def signed(body: bytes, time_s: int = ASKED_AT_S, key: Ed25519PrivateKey = PRIVATE_KEY) -> bytes:
    """A request's body in an envelope of this server."""
    return wrap(body, time_s, key.sign)


def signed_request(name: str, fields: Mapping[str, Any], time_s: int = ASKED_AT_S) -> bytes:
    """One request as it reaches a device."""
    return signed(body_of(name, fields), time_s)


def body_of(name: str, fields: Mapping[str, Any]) -> bytes:
    """A request's body. Unless the fields say otherwise it is for the tests' audience, of their server's run, and of the first
    epoch, whose helpers hold its seats."""
    own = {"audience": "", "run": RUN, **SEATED}
    return encode(REQUESTS, name, {k: v for k, v in own.items() if k in REQUESTS[name].fields} | dict(fields))


def asked(data: bytes) -> tuple[str, dict[str, Any]]:
    """(name, fields) of the request in an envelope."""
    return decode(REQUESTS, unwrap(data).body)
