"""A seat's part in a sum: to say which devices cannot be in it, and then, once, the sum of its shares.

Nothing here remembers that a seat answered: who holds the seat's key keeps the register (`client/sums.py`,
`server/helper/`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ..arrays import Words
from ..errors import SumError, WireError
from .consistency import mixed
from .entry import Entry, SumList
from .keys import PAD, STREAM, Tie, agreed, uniform
from .share import box_bytes

_TAG = b"ebbtide seat answer v1\n"


@dataclass(frozen=True)
class Opinion:
    """What a seat says of a list before it is final: the places in it of the devices whose share it cannot read, and of every
    device the words of its consistency test, uint32 (n, tests), zero for those."""

    refused: tuple[int, ...]
    tests: Words


@dataclass(frozen=True)
class Seat:
    """One seat of one sum: the leaf that sits there, and its secret key."""

    leaf: bytes
    private: X25519PrivateKey

    def opinion(self, listed: SumList, boxes: bytes) -> Opinion:
        """Which of the listed devices cannot be in the sum. It uses nothing up.

        `boxes`: of a sealed seat, one for each entry, in their order; of others, nothing. No device can make it raise: a bad
        signature, a low-order key, a box that does not open or holds no words, each refuses its own entry. SumError for
        a wrong length of `boxes`, or a header without this seat.

        Guarantees. The test words of a device are one linear form of its share, fixed by its signed entry and masked by words that
        are used for nothing else: they say nothing of its vector, however often they are asked for.
        """
        code = listed.header.code
        n_words, tests = code.n_words(listed.header.n_values), code.tests
        shares = np.zeros((len(listed.entries), n_words), np.uint32)
        coefficients = np.zeros((len(listed.entries), tests, n_words - tests), np.uint32)
        refused = []
        is_pad = self._place(listed) >= len(listed.header.seats)
        for i, (entry, box) in enumerate(self._with_boxes(listed, boxes)):
            try:
                entry.expect_signed(listed.header)
                share = self._share(listed, entry, box)
            except (SumError, WireError):
                refused.append(i)
                continue
            if tests and not is_pad:
                shares[i] = share
                drawn = uniform(entry.test_key, code.field, tests * (n_words - tests))
                coefficients[i] = drawn.reshape(tests, n_words - tests)
        tests_told = mixed(code, coefficients, shares) if tests else np.empty((len(shares), 0), np.uint32)
        return Opinion(tuple(refused), tests_told)

    def total(self, listed: SumList, boxes: bytes) -> Words:
        """The sum of this seat's shares over the list: uint32 (n_blocks,), of a pad (n_values,). SumError unless the list is right
        and every share can be read. The caller has written down that this seat answers for this list and no other."""
        listed.expect_right()
        header, code = listed.header, listed.header.code
        n = header.n_values if self._place(listed) >= len(header.seats) else code.n_blocks(header.n_values)
        sums = np.zeros(n, np.uint64)
        for entry, box in self._with_boxes(listed, boxes):
            sums += self._share(listed, entry, box)[:n]
        return (sums % np.uint64(code.field.prime)).astype(np.uint32)

    def _place(self, listed: SumList) -> int:
        return listed.header.position_of(self.leaf)

    def _with_boxes(self, listed: SumList, boxes: bytes) -> Iterator[tuple[Entry, bytes]]:
        """Every entry with its box, which is empty for a streamed seat."""
        sealed = listed.header.t_priv <= self._place(listed) < len(listed.header.seats)
        size = box_bytes(listed.header) if sealed else 0
        if len(boxes) != size * len(listed.entries):
            raise SumError("boxes", f"expected {size} bytes of box for each of {len(listed.entries)} entries")
        for i, entry in enumerate(listed.entries):
            yield entry, boxes[i * size : (i + 1) * size]

    def _share(self, listed: SumList, entry: Entry, box: bytes) -> Words:
        """This seat's share of one device: uint32 (n_words,), of a pad (n_values,); SumError if it cannot be read."""
        header, code = listed.header, listed.header.code
        place = self._place(listed)
        tie, secret = Tie(header, place, entry.leaf, entry.ephemeral), agreed(self.private, entry.ephemeral)
        n_words = code.n_words(header.n_values)
        if place >= len(header.seats):
            return tie.stream(PAD, secret, code.field, header.n_values)
        if place < header.t_priv:
            return tie.stream(STREAM, secret, code.field, n_words)
        return code.field.unpack(tie.unseal(secret, box), n_words)


def sign_answer(listed: SumList, place: int, values: bytes, identity: Ed25519PrivateKey) -> bytes:
    """A seat's signature over its answer: the packed sum of its shares over one list."""
    return identity.sign(_signed(listed, place, values))


def expect_answer(listed: SumList, place: int, values: bytes, signature: bytes) -> None:
    """SumError unless the seat at this place signed this answer for this list."""
    leaf = (*listed.header.seats, *listed.header.pads)[place]
    try:
        Ed25519PublicKey.from_public_bytes(leaf[:32]).verify(signature, _signed(listed, place, values))
    except (InvalidSignature, ValueError):
        raise SumError("answer", "expected an answer that its seat signed for this list") from None


def _signed(listed: SumList, place: int, values: bytes) -> bytes:
    return _TAG + listed.header.sha256 + listed.sha256 + place.to_bytes(2, "big") + values


def read_boxes(sealed: Sequence[bytes], header_box_bytes: int, place_among_sealed: int) -> bytes:
    """Of the boxes that devices sent, those of one sealed seat, in the order of `sealed`."""
    at = place_among_sealed * header_box_bytes
    return b"".join(boxes[at : at + header_box_bytes] for boxes in sealed)
