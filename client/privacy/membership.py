"""What a device is in epochs of enrolment: the keys that it drew for each, the signed list that it is in, and for which lists it
answered as a seat. All of an epoch goes when it is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from shared.errors import Refusal, RefusalCode, WireError
from shared.secure_sum.duty import Duty, Slot
from shared.secure_sum.epoch import Epoch, unverified, verified

#: The epoch that runs, and the next one.
MOST_EPOCHS = 2


@dataclass(frozen=True)
class Member:
    """A device in one epoch: `number`; the secret keys that it drew for it, 32 bytes each; `signed`, the epoch as the
    enrolment's key signed it, empty until it came; `answered`, by sum the list that it answered for as a seat."""

    number: int
    identity: bytes
    seat: bytes
    signed: bytes = b""
    answered: Mapping[str, bytes] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Member({self.number}, <secret>)"

    @classmethod
    def draw(cls, number: int) -> Self:
        """Fresh keys for an epoch, by the operating system's entropy."""
        identity, seat = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
        return cls(number, identity.private_bytes_raw(), seat.private_bytes_raw())

    @property
    def identity_key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.identity)

    @property
    def seat_key(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self.seat)

    @property
    def leaf(self) -> bytes:
        """What the list knows it as: both public keys."""
        keys = self.identity_key.public_key(), self.seat_key.public_key()
        return b"".join(key.public_bytes_raw() for key in keys)


@dataclass(frozen=True)
class Members:
    """The epochs that a device is, or will be, in: the older one first."""

    members: tuple[Member, ...] = ()

    def drawn(self, number: int) -> Self:
        """With keys for this epoch: those that are there, or fresh ones. Refusal for an epoch before the last: STALE. Keys of an
        epoch whose list never came stay until another one is asked for: nobody knows when it is over."""
        numbers = [member.number for member in self.members]
        if number in numbers:
            return self
        if numbers and number < numbers[-1]:
            raise Refusal(RefusalCode.STALE)
        # An epoch whose list was never signed makes room first: it holds nothing up.
        kept = [member for member in self.members if member.signed][-(MOST_EPOCHS - 1) :]
        return replace(self, members=(*kept, Member.draw(number)))

    def joined(self, signed: bytes, key: bytes, audience: str, now_s: float) -> tuple[Self, Epoch]:
        """With an epoch as it was signed, which is returned, too. Refusal(EPOCH) unless `key` signed it, for this audience, its
        time has not passed, this device drew keys for it, and no other list of the same epoch came before."""
        epoch = _opened(signed, key, audience, now_s)
        mine = next((member for member in self.members if member.number == epoch.number), None)
        if mine is None or (mine.signed and mine.signed != signed):
            raise Refusal(RefusalCode.EPOCH)
        return self._with(replace(mine, signed=signed)), epoch

    def serving(self, number: int, key: bytes, audience: str, now_s: float) -> tuple[Member, Epoch]:
        """This device in an epoch that runs now; Refusal(EPOCH) where it is not in it, or the epoch is over."""
        for member in self.members:
            if member.number == number and member.signed:
                return member, _opened(member.signed, key, audience, now_s)
        raise Refusal(RefusalCode.EPOCH)

    def having_answered(self, number: int, slot: Slot, list_sha256: bytes) -> Self:
        """With it written down that this device answered for a list in one sum."""
        mine = next(member for member in self.members if member.number == number)
        return self._with(replace(mine, answered={**mine.answered, name_of(slot): list_sha256}))

    def without_past(self, now_s: float) -> Self:
        """Without epochs that are over, keys and all."""
        kept = tuple(m for m in self.members if not (m.signed and unverified(m.signed).ends_s <= now_s))
        return self if len(kept) == len(self.members) else replace(self, members=kept)

    def _with(self, member: Member) -> Self:
        return replace(self, members=tuple(member if m.number == member.number else m for m in self.members))

    # ---- kept between two calls

    def plain(self) -> list[dict[str, Any]]:
        return [{**vars(member), "answered": dict(member.answered)} for member in self.members]

    @classmethod
    def of(cls, row: list[dict[str, Any]] | None) -> Self:
        """What `plain` said; no epoch for None."""
        return cls(tuple(Member(**fields) for fields in row or ()))


@dataclass(frozen=True)
class Answered:
    """The register of a device that holds a seat: see `shared.secure_sum.duty.SeatRegister`."""

    member: Member

    def answered(self, slot: Slot) -> bytes | None:
        return self.member.answered.get(name_of(slot))


def duty_of(member: Member, epoch: Epoch) -> Duty:
    """What a device does as a seat."""
    return Duty(epoch, member.leaf, member.identity_key, member.seat_key, Answered(member))


def name_of(slot: Slot) -> str:
    """One sum of an epoch, as text."""
    _, plan_sha256, kind, number = slot
    return f"{kind} {number} {plan_sha256.hex()}"


def _opened(signed: bytes, key: bytes, audience: str, now_s: float) -> Epoch:
    try:
        return verified(signed, key, now_s, audience)
    except WireError:
        raise Refusal(RefusalCode.EPOCH) from None
