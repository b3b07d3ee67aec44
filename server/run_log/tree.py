"""The root of a list of leaves that grows: Merkle trees as in RFC 6962, section 2.1, with proofs as in 2.1.1 and 2.1.2."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from shared.errors import ConfigError

_LEAF, _NODE = b"\x00", b"\x01"
#: The root of no leaf.
EMPTY = sha256(b"").digest()


class GrowingTree:
    """The root of the leaves that were appended so far. Keeps one hash for each one in the binary form of their number: the
    roots of the complete trees that they make, the largest first."""

    def __init__(self, leaves: Sequence[bytes] = ()) -> None:
        self.size = 0
        self._peaks: list[bytes] = []
        for leaf in leaves:
            self.append(leaf)

    def append(self, leaf: bytes) -> None:
        peak, size = leaf_hash(leaf), self.size
        while size & 1:
            peak, size = _node(self._peaks.pop(), peak), size >> 1
        self._peaks.append(peak)
        self.size += 1

    @property
    def root(self) -> bytes:
        """32 bytes."""
        if not self._peaks:
            return EMPTY
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = _node(peak, root)
        return root


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(_LEAF + leaf).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root of a list of leaves, 32 bytes."""
    return GrowingTree(leaves).root


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes that show a leaf to be in the list, from below: `PATH(m, D[n])`. ConfigError for an index that is not there."""
    if not 0 <= index < len(leaves):
        raise ConfigError(f"expected an index in 0..{len(leaves) - 1}, got {index}")
    if len(leaves) == 1:
        return []
    cut = _cut(len(leaves))
    left, right = leaves[:cut], leaves[cut:]
    if index < cut:
        return [*inclusion_proof(left, index), root_of(right)]
    return [*inclusion_proof(right, index - cut), root_of(left)]


def consistency_proof(leaves: Sequence[bytes], size: int) -> list[bytes]:
    """The hashes that show the list to go on from its first `size` leaves: `PROOF(m, D[n])`. ConfigError for a size that it
    never had."""
    if not 0 < size <= len(leaves):
        raise ConfigError(f"expected a size in 1..{len(leaves)}, got {size}")
    return _subproof(leaves, size, whole=True)


def _subproof(leaves: Sequence[bytes], size: int, *, whole: bool) -> list[bytes]:
    if size == len(leaves):
        return [] if whole else [root_of(leaves)]
    cut = _cut(len(leaves))
    left, right = leaves[:cut], leaves[cut:]
    if size <= cut:
        return [*_subproof(left, size, whole=whole), root_of(right)]
    return [*_subproof(right, size - cut, whole=False), root_of(left)]


def _cut(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()
