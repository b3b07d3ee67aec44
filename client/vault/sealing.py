"""One row's payload sealed, and one number that a set of rows adds up to.

AES-256-GCM seals; the associated data binds table, row and version, so that a row opens only where it was written. The
nonce is random, 96 bits: after `MAX_SEALS` seals under one key two nonces are equal with a chance of 2^-33 (NIST
SP 800-38D, section 8.3, allows 2^32 seals), and the key counts as worn out.

`mark` is a keyed hash (HMAC-SHA-256) of one sealed row; the marks of a table's rows, added modulo 2^256, are its head: a set hash
that grows with one addition a write (Clarke et al. 2003, MSet-Add-Hash). Heads are sealed too, so that a thief who can
write to the disk knows no mark, and cannot find another set of genuine rows with the same sum.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import VaultDamaged

from .key_derivation import KeyedHash, derived
from .keys import NONCE_BYTES

MAX_SEALS = 1 << 32
MODULUS = 1 << 256


class Seal:
    """Seals and opens rows under one data key."""

    def __init__(self, data_key: bytes) -> None:
        seal, mark, place = derived(data_key, b"ebbtide vault 1", 3)
        self._cipher, self._mark, self._place = AESGCM(seal), KeyedHash(mark), KeyedHash(place)

    def __repr__(self) -> str:
        return "Seal(<secret>)"

    def close(self, table: str, row: int, version: int, payload: bytes) -> bytes:
        """Nonce, ciphertext and tag of a payload."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, payload, b"%s/%d/%d" % (table.encode(), row, version))

    def open(self, table: str, row: int, version: int, sealed: bytes) -> bytes:
        """The payload; VaultDamaged if these bytes were not written to this row as this version."""
        try:
            place = b"%s/%d/%d" % (table.encode(), row, version)
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place)
        except (InvalidTag, ValueError, TypeError):  # a damaged row may hold anything
            raise VaultDamaged(f"expected a row of {table} as it was written: it is changed or out of place") from None

    def mark(self, table: str, row: int, version: int, sealed: bytes) -> int:
        """A keyed hash of one sealed row, below 2^256."""
        place = b"%s/%d/%d/" % (table.encode(), row, version)
        # The tag depends on nonce, ciphertext and place; with the nonce it stands for the whole row.
        stands_for = sealed[:NONCE_BYTES] + sealed[-16:]
        return int.from_bytes(self._mark(place + stands_for), "little")

    def place(self, table: str, name: bytes) -> int:
        """63 bits that stand for a name in a table, and tell nothing without the key."""
        return int.from_bytes(self._place(table.encode() + b"/" + name)[:8], "little") >> 1
