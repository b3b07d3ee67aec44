"""Some devices of an ideal sum, through the real protocol: in this process, with keys, shares, lists and seats as the plan has them.

An ideal sum adds vectors up as a secure sum would show them. That the protocol does come to the same is not taken on trust: once
a run, vectors that its devices made go through both.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from shared.arrays import Ints, Words, as_declared
from shared.errors import EbbtideError, RunError
from shared.files import replace_content, text_of
from shared.plan import Plan, SumPlan, UpdateKind
from shared.secure_sum.assembly import code_of
from shared.secure_sum.correction import opened
from shared.secure_sum.duty import Duty, Slot
from shared.secure_sum.entry import Entry, SumList
from shared.secure_sum.epoch import Epoch
from shared.secure_sum.header import Header
from shared.secure_sum.leaves import leaf_of, members
from shared.secure_sum.merkle import prove
from shared.secure_sum.seat import expect_answer, read_boxes
from shared.secure_sum.share import box_bytes, contribute

from ..run_folder import AUDIENCE

#: What every artefact of `hosts` fidelity says of its sums.
IDEAL = "ideal sum: no key was exchanged"
#: So many devices of a run go through the real protocol, or all of a host if it has fewer.
CHECKED_DEVICES = 64


@dataclass(frozen=True)
class Holder:
    """Who is in the epoch of a check, with its private keys, and for which list it answered."""

    identity: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    seat: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    lists: dict[Slot, bytes] = field(default_factory=dict)

    @property
    def leaf(self) -> bytes:
        return leaf_of(*(key.public_key().public_bytes_raw() for key in (self.identity, self.seat)))

    def answered(self, slot: Slot) -> bytes | None:
        """See `shared.secure_sum.duty.SeatRegister`."""
        return self.lists.get(slot)


@as_declared
def expect_equal_sums(plan: Plan, kind: UpdateKind, vectors: Words) -> str:
    """Check that the real protocol's sum of protected vectors, uint32 (n, n_values) modulo 2^32, is their plain sum; who added them
    up, in words.

    RunError if it is another, or if the protocol refuses. The seats are the plan's in number and thresholds, with keys of their
    own; they sit in their order and nobody is absent. Of device seats as many answer as a round needs; all helpers do.
    """
    if plan.sum is None:
        raise RunError("expected a plan whose rounds are sums")
    values = vectors.view(np.int32).astype(np.int64)
    try:
        found = _through_the_protocol(plan, kind, values)
    except EbbtideError as error:
        raise RunError(
            f"expected the real protocol to add up what the ideal sum did, but it refused: {error}"
        ) from None
    if not np.array_equal(found, values.sum(axis=0)):
        raise RunError("expected the real protocol's sum to equal the ideal sum, got another one")
    return held_by(plan.sum)


def held_by(planned: SumPlan) -> str:
    """Who adds rounds up, in words."""
    seats, helpers = planned.seats, planned.helpers
    parts = [f"{seats} device seats"] * bool(seats) + [f"{helpers} helper{'s' * (helpers > 1)}"] * bool(helpers)
    return " and ".join(parts)


def _through_the_protocol(plan: Plan, kind: UpdateKind, values: Ints) -> Ints:
    """The opened sum of `values`, int64 (n, n_values), as int64 (n_values,)."""
    assert plan.sum is not None
    code, n_devices = code_of(plan.sum, kind), len(values)
    devices = {one.leaf: one for one in (Holder() for _ in range(n_devices))}
    helpers = {one.leaf: one for one in (Holder() for _ in range(plan.sum.helpers))}
    sitting = {one.leaf: one for one in (Holder() for _ in range(plan.sum.seats))}
    leaves = members([*devices, *sitting])
    epoch = Epoch.close(AUDIENCE, 1, 0, 1, leaves, helpers, 1)
    header = Header(
        kind.reply,
        plan.sha256,
        1,
        epoch.sha256,
        tuple(sitting) or epoch.helpers,
        (),
        epoch.helpers if sitting else (),
        code.field.prime,
        code.t_priv,
        code.t_rec,
        kind.n_values,
        n_devices,
        bytes(32),
    )
    places = {leaf: index for index, leaf in enumerate(leaves)}
    sent, entries = {}, []
    for (leaf, device), vector in zip(devices.items(), values, strict=True):
        said = contribute(header, leaf, device.identity, vector)
        digest = hashlib.sha256(said.sealed).digest()
        entries.append(Entry(places[leaf], leaf, said.ephemeral, digest, said.signature))
        sent[leaf] = said.sealed
    listed = SumList.of(header, entries)
    request = {
        "header": header.canonical,
        "entries": listed.canonical,
        "proof": prove(leaves, [entry.index for entry in listed.entries]),
    }
    boxes = [sent[entry.leaf] for entry in listed.entries]
    answers = {}
    for place, leaf in _answering(header, plan.sum.answers):
        own = read_boxes(boxes, box_bytes(header), place - header.t_priv) if _has_boxes(header, place) else b""
        holder = (sitting or helpers)[leaf] if place < len(header.seats) else helpers[leaf]
        duty = Duty(epoch, leaf, holder.identity, holder.seat, holder)
        answer = duty.answer({**request, "boxes": own})
        expect_answer(listed, place, answer.values, answer.signature)
        n_words = kind.n_values if place >= len(header.seats) else code.n_blocks(kind.n_values)
        answers[place] = code.field.unpack(answer.values, n_words)
    places_of_sums = np.array([place for place in answers if place < len(header.seats)], np.int64)
    total = opened(code, places_of_sums, np.stack([answers[place] for place in places_of_sums.tolist()]), kind.n_values)
    summed = total.values
    for place in range(len(header.seats), len(header.seats) + len(header.pads)):
        summed = code.field.minus(summed, answers[place])
    return code.field.to_signed(summed)


def _answering(header: Header, needed: int) -> Iterator[tuple[int, bytes]]:
    """The seats that are asked, as many as open the sum, and every pad: (place, leaf). Of the seats, the last ones: those whose
    shares travel."""
    seats = list(enumerate(header.seats))[-needed:]
    yield from seats
    yield from enumerate(header.pads, start=len(header.seats))


def _has_boxes(header: Header, place: int) -> bool:
    return header.t_priv <= place < len(header.seats)


@as_declared
def check(plan: Plan, kind: UpdateKind, vectors: Words, file: Path) -> None:
    """`expect_equal_sums` of at most `CHECKED_DEVICES` of the vectors; what came of it is written down in `file`."""
    checked = vectors[:CHECKED_DEVICES]
    try:
        holders = expect_equal_sums(plan, kind, checked)
    except RunError as error:
        _write(file, {"failed": str(error)})
        raise
    _write(file, {"devices": len(checked), "held_by": holders})


def _write(file: Path, found: dict[str, Any]) -> None:
    """Put it into `file`, whole, also where two hosts do so at once: each by way of a file of its own."""
    own = file.with_name(f"{file.stem}-{os.getpid()}{file.suffix}")
    replace_content(own, json.dumps(found))
    own.replace(file)


def read_check(file: Path) -> str:
    """What a check found, in words; RunError if it failed or was not made: then there is no result."""
    try:
        found = json.loads(text_of(file))
        if "failed" not in found:
            return f"{found['devices']} of the devices went through the real one, over {found['held_by']}, with the same sum"
        why = str(found["failed"])
    except (OSError, ValueError, LookupError, TypeError):
        why = f"expected {file.name}, a check of ideal sums against the real protocol, got none"
    raise RunError(why)
