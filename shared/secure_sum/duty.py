"""What a seat does with a request: everything is checked before its key is touched, and it answers for one list alone.

register = ...                       # kept by a device in its vault, by a helper in its own store
Duty(epoch, leaf, identity, private, register).answer(request)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ..errors import SumError, WireError
from .entry import SumList
from .epoch import Epoch
from .header import Header
from .merkle import expect_members
from .seat import Seat, sign_answer

Slot = tuple[bytes, bytes, str, int]


class SeatRegister(Protocol):
    """For which list a seat answers in each sum, for as long as its epoch lasts: what stands there is never changed."""

    def answered(self, slot: Slot) -> bytes | None:
        """The SHA-256 of the list that was answered for; None if none was."""
        ...


@dataclass(frozen=True)
class Answer:
    """A seat's answer, which may leave once its slot is written down, durably, in the register."""

    slot: Slot
    list_sha256: bytes
    values: bytes
    signature: bytes

    @property
    def fields(self) -> dict[str, Any]:
        return {"list_sha256": self.list_sha256, "values": self.values, "signature": self.signature}


@dataclass(frozen=True)
class Duty:
    """One holder of a seat in one epoch: its leaf and keys, and what it answered."""

    epoch: Epoch
    leaf: bytes
    identity: Ed25519PrivateKey
    private: X25519PrivateKey
    register: SeatRegister

    def opinion(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a reply to an opinion_request: which of the listed devices cannot be in the sum, and the words of
        their tests. Uses nothing up: asked again, of any list, it answers."""
        listed = self._listed(request)
        found = Seat(self.leaf, self.private).opinion(listed, request["boxes"])
        return {
            "list_sha256": listed.sha256,
            "refused": b"".join(place.to_bytes(4, "big") for place in found.refused),
            "tests": listed.header.code.field.pack(found.tests),
        }

    def answer(self, request: Mapping[str, Any]) -> Answer:
        """The answer to a sum_request.

        Guarantees. The header is of this epoch and this seat sits in it; every entry is an enrolled device's, listed once, signed
        for this sum, and at least `min_survivors` of them are there; and in this sum this seat answered for no other list.
        The same list and boxes get the same bytes: nothing here is drawn. SumError by name otherwise.

        Edge cases. What a seat checks of the order of the seats, and of those named absent, is what the devices signed: their
        headers hold both. A seat cannot hash the boxes of others, so for one list a hostile device can have sealed two shares
        to it: asked with both, the answers differ by what that device knows already.
        """
        listed = self._listed(request)
        before = self.register.answered(listed.header.slot)
        if before is not None and before != listed.sha256:
            raise SumError("second_list", "expected the list that this seat answered for before in this sum")
        seat = Seat(self.leaf, self.private)
        values = listed.header.code.field.pack(seat.total(listed, request["boxes"]))
        place = listed.header.position_of(self.leaf)
        return Answer(listed.header.slot, listed.sha256, values, sign_answer(listed, place, values, self.identity))

    def _listed(self, request: Mapping[str, Any]) -> SumList:
        """The list of a request, with every device in it enrolled."""
        header = Header.from_bytes(request["header"])
        if header.epoch_sha256 != self.epoch.sha256:
            raise SumError("epoch", "expected a sum of this seat's epoch")
        header.position_of(self.leaf)
        listed = SumList.from_bytes(header, request["entries"])
        leaves = {entry.index: entry.leaf for entry in listed.entries}
        if len(leaves) < len(listed.entries):
            raise SumError("twice", "expected every device once in a sum")
        try:
            expect_members(self.epoch.root, self.epoch.n_devices, leaves, request["proof"])
        except WireError:
            raise SumError("outside", "expected entries of enrolled devices") from None
        return listed
