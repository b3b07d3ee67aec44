"""A list of leaves under one hash, and a proof that some of them are in it: Merkle trees as in RFC 6962, section 2.1.

A tree of n leaves hashes each with 0x00 before it, and each pair of nodes with 0x01, so a node is never taken for a leaf. On
every level nodes are paired from the left; one that is left over goes up as it is. That is the tree of the RFC, which splits n
leaves at the largest power of two below n.

One proof is for any number of leaves at once: the hashes that cannot be computed from the leaves, level by level from
below, from left to right. Given n and the positions, its length is known, and so a right proof has one spelling.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from ..errors import ConfigError, ProofError

HASH_BYTES = 32
#: Leaves of one tree, at most: the devices of one epoch.
MOST_LEAVES = 1 << 24
_LEAF, _NODE = b"\x00", b"\x01"


def root(leaves: Sequence[bytes]) -> bytes:
    """The hash of a list of leaves, in their order, 32 bytes; ConfigError for none, or more than 2^24."""
    level = _level_of(leaves)
    while len(level) > 1:
        level = _above(level)
    return level[0]


def prove(leaves: Sequence[bytes], positions: Iterable[int]) -> bytes:
    """The proof that the leaves at these positions are in the list, for `expect_members`; ConfigError for positions that are
    none of the list's, or none at all."""
    level, proof = _level_of(leaves), bytearray()
    known = _checked(positions, len(level))
    while len(level) > 1:
        for missing in _missing(known, len(level)):
            proof += level[missing]
        level, known = _above(level), _parents(known)
    return bytes(proof)


def proof_bytes(n_leaves: int, positions: Iterable[int]) -> int:
    """How long the proof for these positions is, in bytes; ConfigError as `prove`."""
    known, total = _checked(positions, n_leaves), 0
    while n_leaves > 1:
        total += len(_missing(known, n_leaves))
        known, n_leaves = _parents(known), (n_leaves + 1) // 2
    return total * HASH_BYTES


def expect_members(top: bytes, n_leaves: int, members: Mapping[int, bytes], proof: bytes) -> None:
    """ProofError unless `members`, leaves by position, are in the list of `n_leaves` leaves whose hash is `top`.

    Guarantees. Who finds other members or another proof that pass has found a collision of SHA-256. Positions and the
    length of the proof are compared before anything is hashed; work is linear in members times levels, and levels are 24
    at most. Edge cases. `n_leaves` must come from whom `top` comes from: a tree does not say its own size.
    """
    try:
        expected = proof_bytes(n_leaves, members)
    except ConfigError as error:
        raise ProofError(str(error)) from None
    if len(proof) != expected:
        raise ProofError(f"expected a proof of {expected} bytes, got {len(proof)}")
    level = {at: sha256(_LEAF + members[at]).digest() for at in sorted(members)}
    offset = 0
    while n_leaves > 1:
        for missing in _missing(list(level), n_leaves):
            level[missing] = proof[offset : offset + HASH_BYTES]
            offset += HASH_BYTES
        level = {
            at // 2: sha256(_NODE + level[at] + level[at + 1]).digest() if at + 1 < n_leaves else level[at]
            for at in sorted(level)
            if not at & 1
        }
        n_leaves = (n_leaves + 1) // 2
    if level != {0: top}:
        raise ProofError("expected leaves of the list, got others, or a proof of others")


def _level_of(leaves: Sequence[bytes]) -> list[bytes]:
    """The lowest level of the tree."""
    if not 1 <= len(leaves) <= MOST_LEAVES:
        raise ConfigError(f"expected 1 to {MOST_LEAVES} leaves, got {len(leaves)}")
    return [sha256(_LEAF + leaf).digest() for leaf in leaves]


def _above(level: list[bytes]) -> list[bytes]:
    """The next level: pairs hashed, the one left over as it is."""
    pairs = zip(level[::2], level[1::2], strict=False)
    up = [sha256(_NODE + left + right).digest() for left, right in pairs]
    return up + level[-1:] if len(level) & 1 else up


def _missing(known: list[int], size: int) -> list[int]:
    """The neighbours of known nodes on a level of this size that are not known themselves, from left to right."""
    there = set(known)
    return sorted(at ^ 1 for at in known if at ^ 1 < size and at ^ 1 not in there)


def _parents(known: list[int]) -> list[int]:
    return sorted({at // 2 for at in known})


def _checked(positions: Iterable[int], n_leaves: int) -> list[int]:
    """The positions, sorted; ConfigError unless they are some of a list of so many leaves, each once."""
    given = list(positions)
    if type(n_leaves) is not int or not 1 <= n_leaves <= MOST_LEAVES:
        raise ConfigError(f"expected a list of 1 to {MOST_LEAVES} leaves")
    if not given or any(type(at) is not int or not 0 <= at < n_leaves for at in given) or len(set(given)) < len(given):
        raise ConfigError(f"expected positions in 0..{n_leaves - 1}, each once, and at least one")
    return sorted(given)
