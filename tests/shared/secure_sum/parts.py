"""Everybody in a secure sum, in one process, all drawn from a seed: devices, helpers, an epoch, what they send and are asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from shared.errors import SumError
from shared.secure_sum.correction import Opened, opened
from shared.secure_sum.duty import Answer, Duty
from shared.secure_sum.entry import Entry, SumList
from shared.secure_sum.epoch import Epoch
from shared.secure_sum.field import Field
from shared.secure_sum.header import Header
from shared.secure_sum.merkle import prove, root
from shared.secure_sum.seat import Seat, expect_answer, read_boxes
from shared.secure_sum.share import Contribution, box_bytes, contribute
from tests.world.basics import replayed_entropy

BEGINS_S, ENDS_S = 1_000_000, 2_000_000
PLAN, BODY = bytes([1]) * 32, bytes([2]) * 32


@dataclass(frozen=True)
class Person:
    """Whoever has a leaf: a device or a helper. Its keys follow from its name."""

    name: str

    @cached_property
    def identity(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"{self.name} identity".encode()).digest())

    @cached_property
    def seat(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(hashlib.sha256(f"{self.name} seat".encode()).digest())

    @cached_property
    def leaf(self) -> bytes:
        return b"".join(key.public_key().public_bytes_raw() for key in (self.identity, self.seat))


@dataclass
class Register:
    """What a seat answered, in memory."""

    lists: dict[Any, bytes] = field(default_factory=dict)

    def answered(self, slot: Any) -> bytes | None:
        return self.lists.get(slot)


@dataclass(frozen=True)
class World:
    """An epoch of `n_devices`, in the order of their leaves, with so many helpers; and how a sum of it is shared out. Without
    `thresholds` (seats, t_priv, t_rec) helpers hold the seats; with them the first devices do, and helpers lay pads."""

    n_devices: int
    n_helpers: int = 3
    thresholds: tuple[int, int, int] | None = None
    n_values: int = 7
    prime: int = Field.holding(2**22).prime
    min_survivors: int = 2
    seed: str = "sum"

    @cached_property
    def devices(self) -> tuple[Person, ...]:
        found = [Person(f"{self.seed} device {i}") for i in range(self.n_devices)]
        return tuple(sorted(found, key=lambda one: one.leaf))

    @cached_property
    def helpers(self) -> tuple[Person, ...]:
        found = [Person(f"{self.seed} helper {i}") for i in range(self.n_helpers)]
        return tuple(sorted(found, key=lambda one: one.leaf))

    @cached_property
    def leaves(self) -> list[bytes]:
        return [one.leaf for one in self.devices]

    @cached_property
    def epoch(self) -> Epoch:
        seed = hashlib.sha256(self.seed.encode()).digest()
        helpers = tuple(one.leaf for one in self.helpers)
        return Epoch("shop", 1, BEGINS_S, ENDS_S, seed, root(self.leaves), self.n_devices, helpers, 64)

    @cached_property
    def seats(self) -> tuple[Person, ...]:
        return self.devices[: self.thresholds[0]] if self.thresholds else self.helpers

    @cached_property
    def holders(self) -> tuple[Person, ...]:
        """Who holds seats, then who lays pads."""
        return (*self.seats, *self.helpers) if self.thresholds else self.seats

    @cached_property
    def header(self) -> Header:
        n = self.n_helpers
        _, t_priv, t_rec = self.thresholds or (n, n - 1, n)
        leaves = tuple(one.leaf for one in self.holders)
        seats, pads = leaves[: len(self.seats)], leaves[len(self.seats) :]
        sharing = (self.prime, t_priv, t_rec, self.n_values)
        return Header("update", PLAN, 3, self.epoch.sha256, seats, (), pads, *sharing, self.min_survivors, BODY)

    def values(self) -> np.ndarray:
        """Vectors (n_devices, n_values) whose sums the field holds, of both signs."""
        most = self.prime // 2 // self.n_devices
        return np.random.default_rng(7).integers(-most, most + 1, (self.n_devices, self.n_values))

    def sent(self, at: int, header: Header | None = None, values: np.ndarray | None = None) -> Sent:
        """What device `at` sends into a sum."""
        one, header = self.devices[at], header or self.header
        entropy = replayed_entropy(f"{self.seed} {at}")
        own = self.values()[at] if values is None else values
        return Sent.of(header, at, one, contribute(header, one.leaf, one.identity, own, entropy))

    def request(self, sent: Sequence[Sent], place: int, header: Header | None = None) -> dict[str, Any]:
        """What the seat, or pad, at a place is asked about a list."""
        header = header or self.header
        listed = SumList.of(header, [one.entry for one in sent])
        boxes = [one.sealed for one in sorted(sent, key=lambda one: one.entry.index)]
        sealed = header.t_priv <= place < len(header.seats)
        places = sorted({one.entry.index for one in sent if one.entry.index < self.n_devices})
        return {
            "epoch": self.epoch.number,
            "header": header.canonical,
            "entries": listed.canonical,
            "proof": prove(self.leaves, places) if places else b"",
            "boxes": read_boxes(boxes, box_bytes(header), place - header.t_priv) if sealed else b"",
        }

    def duty(self, place: int, register: Register | None = None) -> Duty:
        one = self.holders[place]
        return Duty(self.epoch, one.leaf, one.identity, one.seat, register or Register())

    def answered(self, sent: Sequence[Sent], places: Sequence[int]) -> dict[int, Answer]:
        return {place: self.duty(place).answer(self.request(sent, place)) for place in places}

    def opened(self, sent: Sequence[Sent], answers: dict[int, Answer]) -> Opened:
        """The sum of what was sent, by the answers of seats and pads: as signed whole numbers."""
        header, prime_field = self.header, self.header.code.field
        listed = SumList.of(header, [one.entry for one in sent])
        for place, answer in answers.items():
            expect_answer(listed, place, answer.values, answer.signature)
        seats = sorted(place for place in answers if place < len(header.seats))
        n_blocks = header.code.n_blocks(header.n_values)
        sums = np.stack([prime_field.unpack(answers[place].values, n_blocks) for place in seats])
        found = opened(header.code, np.array(seats), sums, header.n_values)
        total = found.values
        for place in range(len(header.seats), len(self.holders)):
            total = prime_field.minus(total, prime_field.unpack(answers[place].values, header.n_values))
        return found._replace(values=prime_field.to_signed(total))

    def seat(self, place: int) -> Seat:
        return Seat(self.holders[place].leaf, self.holders[place].seat)


@dataclass(frozen=True)
class Sent:
    """An entry and its boxes."""

    entry: Entry
    sealed: bytes

    @classmethod
    def of(cls, header: Header, index: int, one: Person, said: Contribution) -> Sent:
        digest = hashlib.sha256(said.sealed).digest()
        return cls(Entry(index, one.leaf, said.ephemeral, digest, said.signature), said.sealed)

    def changed(self, **fields: Any) -> Sent:
        return replace(self, entry=replace(self.entry, **fields))

    def resigned(self, header: Header, index: int, one: Person, *, ephemeral: bytes = b"", sealed: bytes = b"") -> Sent:
        """As another device, or with other content, signed by who sends it."""
        ephemeral, sealed = ephemeral or self.entry.ephemeral, sealed or self.sealed
        return Sent(replace(Entry.sign(header, one.leaf, one.identity, ephemeral, sealed), index=index), sealed)


def refusal_of(work: Callable[[], object]) -> str:
    """By which name something is refused; "" if it is not."""
    try:
        work()
    except SumError as error:
        return error.reason
    return ""
