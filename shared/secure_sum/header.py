"""What one sum is about: the words that every key of it, every signature and every answer is bound to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from .. import cbor
from ..cbor import Limits
from ..errors import InputError, SumError, WireError
from ..register.bounds import MAX_PARAMETERS
from .field import Field
from .leaves import LEAF_BYTES
from .packed_shamir import Code

MAX_SEATS = 256
_MOST = Limits((MAX_SEATS + 16) * (LEAF_BYTES + 16) + 4096, most_items=4 * MAX_SEATS, most_depth=2)


@dataclass(frozen=True)
class Header:
    """One sum: `kind`, the ledger line of what is summed; the plan and the round; `epoch_sha256`, the enrolment that its
    keys are from; `seats`, the leaves of those who add it up, in their order; `absent`, the indices of device seats that were
    passed over; `pads`, the leaves of helpers whose streams lie over the vector before it is shared; `prime`, `t_priv`,
    `t_rec` and `n_values`, how it is shared (`shared.secure_sum.packed_shamir`); `min_survivors`, the fewest devices that may
    be in it; `body_sha256`, of the request that devices answer, weights included.

    A device makes it of the request that it answers; a seat is handed it, and counts the devices that signed it.
    """

    kind: str
    plan_sha256: bytes
    round: int
    epoch_sha256: bytes
    seats: tuple[bytes, ...]
    absent: tuple[int, ...]
    pads: tuple[bytes, ...]
    prime: int
    t_priv: int
    t_rec: int
    n_values: int
    min_survivors: int
    body_sha256: bytes

    @cached_property
    def canonical(self) -> bytes:
        fields = [
            self.kind,
            self.plan_sha256,
            self.round,
            self.epoch_sha256,
            list(self.seats),
            list(self.absent),
            list(self.pads),
            self.prime,
            self.t_priv,
            self.t_rec,
            self.n_values,
            self.min_survivors,
            self.body_sha256,
        ]
        return cbor.encode(fields, _MOST)

    @cached_property
    def sha256(self) -> bytes:
        return hashlib.sha256(b"ebbtide sum header v1\n" + self.canonical).digest()

    @cached_property
    def code(self) -> Code:
        """How a vector is shared out among the seats; SumError for what is no such code."""
        try:
            return Code(Field(self.prime), len(self.seats), self.t_priv, self.t_rec)
        except InputError:
            raise SumError("header", "expected a prime and thresholds that fit the seats of a sum") from None

    @property
    def slot(self) -> tuple[bytes, bytes, str, int]:
        """What a seat answers for once: (epoch, plan, kind, round)."""
        return self.epoch_sha256, self.plan_sha256, self.kind, self.round

    def position_of(self, leaf: bytes) -> int:
        """Where this leaf sits: seats first, then pads. SumError for one that has no seat, or that has two."""
        places = [place for place, seat in enumerate((*self.seats, *self.pads)) if seat == leaf]
        if len(places) != 1:
            raise SumError("seat", "expected a header in which this seat sits once")
        return places[0]

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """The header of `canonical`; SumError for anything else."""
        try:
            fields = cbor.decode(data, _MOST)
            kind, plan, number, epoch, seats, absent, pads, prime, t_priv, t_rec, n_values, least, body = fields
            right = (
                type(kind) is str
                and 0 < len(kind) <= 64
                and all(type(h) is bytes and len(h) == 32 for h in (plan, epoch, body))
                and all(type(n) is int and 0 <= n < 1 << 40 for n in (number, prime, n_values, least))
                and type(t_priv) is type(t_rec) is int
                and type(seats) is type(absent) is type(pads) is list
                and all(type(leaf) is bytes and len(leaf) == LEAF_BYTES for leaf in (*seats, *pads))
                and all(type(i) is int and 0 <= i < 1 << 40 for i in absent)
                and 0 < t_priv < t_rec <= len(seats) <= MAX_SEATS - len(pads)
                and 0 < n_values <= MAX_PARAMETERS
            )
        except (WireError, ValueError, TypeError):
            right = False
        if not right:
            raise SumError("header", "expected the header of a sum")
        sharing = (prime, t_priv, t_rec, n_values)
        found = cls(kind, plan, number, epoch, tuple(seats), tuple(absent), tuple(pads), *sharing, least, body)
        _ = found.code  # a sharing that is none is refused here
        return found
