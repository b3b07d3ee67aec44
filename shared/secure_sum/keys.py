"""From a key agreement to what one seat gets of one device in one sum: a stream of words, or a sealed box.

Sources: X25519 (RFC 7748), HKDF with SHA-256 (RFC 5869), ChaCha20 and ChaCha20-Poly1305 (RFC 8439).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..arrays import Words
from ..errors import SumError
from .field import Field
from .header import Header

#: What a key is for: a streamed seat's share, a sealed seat's box, a helper's pad. All of one length.
STREAM, SEAL, PAD = b"stream", b"seal..", b"pad..."
KEY_BYTES, TAG_BYTES = 32, 16
#: A key seals one box and makes one stream: its nonce has nothing to tell apart.
_BOX_NONCE, _STREAM_NONCE = bytes(12), bytes(16)


def agreed(private: X25519PrivateKey, public: bytes) -> bytes:
    """The secret that two sides agree on, 32 bytes. SumError("key") for a public key of another length, or of low order: it
    would agree on the same secret with everybody."""
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise SumError("key", "expected an X25519 public key of 32 bytes that is not of low order") from None


@dataclass(frozen=True)
class Tie:
    """What a key is tied to besides its secret: one sum, one seat in it, one sender, one ephemeral key.

    Guarantees. Each part stands in the key's derivation and in the associated data of a box, at a fixed length or as a hash: so what
    one device sent to one seat in one sum opens, and streams, as nothing else. A copy under another name, or of the ephemeral
    key in another encoding (bit 255), gives other keys.
    """

    header: Header
    position: int
    sender: bytes  #: the leaf of the device that sends
    ephemeral: bytes  #: exactly as it was sent

    def info(self, label: bytes) -> bytes:
        """The context of a key: HKDF's info, and a box's associated data."""
        seat = (*self.header.seats, *self.header.pads)[self.position]
        head = b"ebbtide secure sum v1\n" + label + self.header.epoch_sha256 + self.header.sha256
        return head + self.position.to_bytes(2, "big") + seat + self.sender + self.ephemeral

    def key(self, label: bytes, secret: bytes) -> bytes:
        """The key for one purpose, 32 bytes."""
        return HKDF(SHA256(), KEY_BYTES, None, self.info(label)).derive(secret)

    def seal(self, secret: bytes, share: bytes) -> bytes:
        """The box of a share: `TAG_BYTES` longer. Once for each tie."""
        return ChaCha20Poly1305(self.key(SEAL, secret)).encrypt(_BOX_NONCE, share, self.info(SEAL))

    def unseal(self, secret: bytes, box: bytes) -> bytes:
        """What is in a box; SumError("box") if it is not the one that belongs here."""
        try:
            return ChaCha20Poly1305(self.key(SEAL, secret)).decrypt(_BOX_NONCE, box, self.info(SEAL))
        except InvalidTag:
            raise SumError("box", "expected a box for this seat, from this device, in this sum") from None

    def stream(self, label: bytes, secret: bytes, field: Field, n_words: int) -> Words:
        """Independent uniform words of the field: uint32 (n_words,). Once for each tie and label."""
        return uniform(self.key(label, secret), field, n_words)


def uniform(key: bytes, field: Field, n_words: int) -> Words:
    """Words of the field from ChaCha20 under a key: uint32 (n_words,). Each is uniform, for what does not fit is left out,
    never folded; who has the key gets the same ones, however many are drawn at once."""
    cipher = Cipher(ChaCha20(key, _STREAM_NONCE), mode=None).encryptor()
    found = np.empty(0, np.uint32)
    while len(found) < n_words:
        n_drawn = math.ceil((n_words - len(found)) / field.acceptance) + 8
        drawn = np.frombuffer(cipher.update(bytes(4 * n_drawn)), "<u4")
        found = np.concatenate([found, field.accepted(drawn)])
    return found[:n_words]
