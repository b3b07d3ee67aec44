"""How much work it is to try one passphrase: scrypt (RFC 7914), its cost, and what a file may ask of this device."""

from __future__ import annotations

from typing import NamedTuple

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from .key_derivation import KEY_BYTES

MAX_SCRYPT_BYTES = 1 << 30  #: more memory than this nobody may ask for
MAX_SCRYPT_WORK = 1 << 24  #: nor more work, n r p: 16 times the default


class Cost(NamedTuple):
    """Scrypt's cost: 128 n r bytes of memory, n r p work. The default is OWASP's first choice (Password Storage Cheat
    Sheet): 128 MiB."""

    n: int = 1 << 17
    r: int = 8
    p: int = 1

    @property
    def is_sound(self) -> bool:
        """Whether scrypt knows it, and this device can pay it; a file may hold anything in its place."""
        if any(type(number) is not int or number < 1 for number in self) or self.n < 2 or self.n & (self.n - 1):
            return False
        return 128 * self.n * self.r <= MAX_SCRYPT_BYTES and self.n * self.r * self.p <= MAX_SCRYPT_WORK

    def is_below(self, other: Cost) -> bool:
        """Whether `other` takes more memory or more work, and less of neither."""
        ours, theirs = ((cost.n * cost.r, cost.n * cost.r * cost.p) for cost in (self, other))
        return ours != theirs and ours[0] <= theirs[0] and ours[1] <= theirs[1]

    def stretched(self, passphrase: bytes, salt: bytes) -> bytes:
        """The key that a passphrase stands for, 32 bytes."""
        return Scrypt(salt=salt, length=KEY_BYTES, n=self.n, r=self.r, p=self.p).derive(passphrase)
