"""Keys for one purpose each, out of one; and hashes that nobody without the key can make."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32


def derived(key: bytes, purpose: bytes, n: int) -> list[bytes]:
    """`n` keys of 32 bytes that `key` stands for (HKDF-SHA-256, RFC 5869); none tells anything of another."""
    out = HKDF(SHA256(), n * KEY_BYTES, salt=None, info=purpose).derive(key)
    return [out[at : at + KEY_BYTES] for at in range(0, len(out), KEY_BYTES)]


class KeyedHash:
    """HMAC-SHA-256 (RFC 2104) under one key: bytes to 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._begun = HMAC(key, SHA256())

    def __call__(self, data: bytes) -> bytes:
        hmac = self._begun.copy()
        hmac.update(data)
        return hmac.finalize()

    def __repr__(self) -> str:
        return "KeyedHash(<secret>)"
