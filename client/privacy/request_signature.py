"""Whether the server that this device was set up for asks: Ed25519 (RFC 8032), under the key pinned in its profile."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared.envelope import Envelope, signed_bytes, unwrap
from shared.errors import Refusal, RefusalCode, WireError


def verify(data: bytes, server_key: bytes) -> Envelope:
    """The envelope in `data`, if the holder of `server_key` (32 bytes) signed its body and its time; Refusal (SIGNATURE)
    otherwise, whatever `data` is.

    Guarantees. Nothing of the body is looked at before. Edge cases. Who has the server's private key is the server; an
    old request that is sent again passes: `client/gate.py` says what it gets.
    """
    try:
        envelope = unwrap(data)
        signed = signed_bytes(envelope.body, envelope.time_s, envelope.head)
        Ed25519PublicKey.from_public_bytes(server_key).verify(envelope.signature, signed)
    except (WireError, InvalidSignature):
        raise Refusal(RefusalCode.SIGNATURE) from None
    return envelope
