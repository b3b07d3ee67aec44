"""Who is in a sum: signed entries of enrolled devices, and the list of them that a seat answers for, once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..errors import SumError
from .header import Header
from .leaves import LEAF_BYTES

KEY_BYTES, SIGNATURE_BYTES, SHA_BYTES, INDEX_BYTES = 32, 64, 32, 4
ENTRY_BYTES = INDEX_BYTES + LEAF_BYTES + KEY_BYTES + SHA_BYTES + SIGNATURE_BYTES
_TAG = b"ebbtide sum entry v1\n"


@dataclass(frozen=True)
class Entry:
    """One device in a sum: `index` and `leaf` in the enrolment, its `ephemeral` key, the hash of its boxes, and its
    signature, under its identity key, over the sum's header and both."""

    index: int
    leaf: bytes
    ephemeral: bytes
    sealed_sha256: bytes
    signature: bytes

    @classmethod
    def sign(cls, header: Header, leaf: bytes, identity: Ed25519PrivateKey, ephemeral: bytes, sealed: bytes) -> Entry:
        """The entry of a device, without its index, which it need not know: -1."""
        digest = hashlib.sha256(sealed).digest()
        return cls(-1, leaf, ephemeral, digest, identity.sign(_signed(header, leaf, ephemeral, digest)))

    def expect_signed(self, header: Header) -> None:
        """SumError unless its device signed this entry for this sum."""
        try:
            identity = Ed25519PublicKey.from_public_bytes(self.leaf[:KEY_BYTES])
            identity.verify(self.signature, _signed(header, self.leaf, self.ephemeral, self.sealed_sha256))
        except (InvalidSignature, ValueError):
            raise SumError("signature", "expected an entry that its device signed for this sum") from None

    @cached_property
    def canonical(self) -> bytes:
        return (
            self.index.to_bytes(INDEX_BYTES, "big") + self.leaf + self.ephemeral + self.sealed_sha256 + self.signature
        )

    @cached_property
    def test_key(self) -> bytes:
        """What the coefficients of its consistency test follow from: of one device in one sum there is one, and it is fixed before
        the test. 32 bytes; only of an entry whose signature was checked."""
        parts = self.leaf + self.ephemeral + self.sealed_sha256
        return hashlib.sha256(b"ebbtide sum test v1\n" + parts).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> Entry:
        """The entry of `ENTRY_BYTES` bytes, unchecked."""
        ends = [INDEX_BYTES, LEAF_BYTES, KEY_BYTES, SHA_BYTES, SIGNATURE_BYTES]
        parts, at = [], 0
        for size in ends:
            parts.append(data[at : at + size])
            at += size
        return cls(int.from_bytes(parts[0], "big"), *parts[1:])


@dataclass(frozen=True)
class SumList:
    """The devices in one sum, by their index in the enrolment, ascending. `sha256` names it, header included."""

    header: Header
    entries: tuple[Entry, ...]

    @cached_property
    def canonical(self) -> bytes:
        """The entries' bytes, one behind the other."""
        return b"".join(entry.canonical for entry in self.entries)

    @cached_property
    def sha256(self) -> bytes:
        return hashlib.sha256(b"ebbtide sum list v1\n" + self.header.sha256 + self.canonical).digest()

    @classmethod
    def of(cls, header: Header, entries: Sequence[Entry]) -> SumList:
        return cls(header, tuple(sorted(entries, key=lambda entry: entry.index)))

    @classmethod
    def from_bytes(cls, header: Header, data: bytes) -> SumList:
        """The list of `canonical`, nothing of which is checked but its length."""
        if len(data) % ENTRY_BYTES:
            raise SumError("list", f"expected entries of {ENTRY_BYTES} bytes each, got {len(data)} bytes")
        return cls(header, tuple(Entry.from_bytes(data[i : i + ENTRY_BYTES]) for i in range(0, len(data), ENTRY_BYTES)))

    def expect_right(self) -> None:
        """SumError unless at least `min_survivors` devices are listed, each once, in order, and each signed for this sum.
        Whether they are enrolled is for who has the enrolment to say (`shared.secure_sum.merkle`)."""
        if len(self.entries) < max(1, self.header.min_survivors):
            raise SumError("few", f"expected {self.header.min_survivors} devices in a sum, got {len(self.entries)}")
        pairs = list(zip(self.entries, self.entries[1:], strict=False))
        if any(a.index == b.index for a, b in pairs) or len({entry.leaf for entry in self.entries}) < len(self.entries):
            raise SumError("twice", "expected every device once in a sum")
        if any(a.index > b.index for a, b in pairs):
            raise SumError("order", "expected the devices of a sum in the order of the enrolment")
        for entry in self.entries:
            entry.expect_signed(self.header)


def _signed(header: Header, leaf: bytes, ephemeral: bytes, digest: bytes) -> bytes:
    return _TAG + header.sha256 + leaf + ephemeral + digest
