"""The tests' enrolment: an offline key, helpers, devices beside the test's own, an epoch of them all; and what seats make of what
devices sent, by the code that they run. Imports only what a device has.

    enrolled(device)                          the device is in an epoch that runs now
    opened_update(device, request, reply)     the vector that it sent, as its helpers open it
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.device import Device
from client.privacy.membership import Member, Members, duty_of
from shared.arrays import Ints
from shared.codec import decode
from shared.envelope import unwrap
from shared.messages import REGISTER, REQUESTS
from shared.plan import Plan, SumPlan, UpdateKind
from shared.secure_sum.assembly import header_of, seats_drawn
from shared.secure_sum.correction import opened
from shared.secure_sum.entry import Entry, SumList
from shared.secure_sum.epoch import MOST_WINDOW_S, Epoch, sign, unverified
from shared.secure_sum.field import Field
from shared.secure_sum.header import Header
from shared.secure_sum.leaves import members
from shared.secure_sum.merkle import prove, root
from shared.secure_sum.seat import expect_answer, read_boxes
from shared.secure_sum.share import box_bytes, contribute

#: Who signs epochs, and what the tests' devices pin of it.
ENROLLER, OTHER_ENROLLER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (3, 4))
ENROLMENT_KEY = ENROLLER.public_key().public_bytes_raw()
#: Three helpers hold the seats.
SUM = SumPlan()
#: Devices that are enrolled beside a test's own; where a sum takes more than a test has, they send zeros.
N_OTHERS = 64
DRAWS = 200


@cache
def keys_of(name: str, number: int) -> Member:
    """Keys that are the same in every process: of a helper, or of another device."""
    return Member(1, *(hashlib.sha256(f"{name} {number} {use}".encode()).digest() for use in ("identity", "seat")))


def helpers(n: int = SUM.helpers) -> list[Member]:
    return [keys_of("helper", number) for number in range(n)]


def others(n: int = N_OTHERS) -> list[Member]:
    return [keys_of("device", number) for number in range(n)]


@cache
def _leaves_of_others(n: int) -> tuple[bytes, ...]:
    return tuple(other.leaf for other in others(n))


#: The leaves of epochs that are of more than one device of a test, by the epoch's hash.
_LISTS: dict[bytes, list[bytes]] = {}


def signed_epoch(
    leaves: Sequence[bytes],
    now_s: float,
    number: int = 1,
    *,
    audience: str = "",
    n_helpers: int = SUM.helpers,
    n_others: int = N_OTHERS,
    draws: int = DRAWS,
    key: Ed25519PrivateKey = ENROLLER,
    seed: bytes = b"",
) -> bytes:
    """An epoch of these devices and of others, signed, as long as one can be, in the middle of which it is now. With a `seed`
    the bytes are the same each time."""
    begins_s = max(0, int(now_s) - MOST_WINDOW_S // 2)
    listed = [*leaves, *_leaves_of_others(n_others)]
    helping = [helper.leaf for helper in helpers(n_helpers)]
    epoch = Epoch.close(audience, number, begins_s, begins_s + MOST_WINDOW_S, listed, helping, draws)
    epoch = replace(epoch, seed=seed) if seed else epoch
    _LISTS[epoch.sha256] = members(listed)
    return sign(epoch, key)


def enrolled(device: Device, number: int | None = None, **more: Any) -> Device:
    """The device with fresh keys in an epoch that runs now, by its clock; one that it is in already is as good. Written
    straight into its vault: nothing leaves it."""
    now_s, profile = device.gate.clock.now_s(), device.profile
    before = device.gate.members.without_past(now_s)
    if number is None:
        if serving(before, now_s):
            return device
        number = max((member.number for member in device.gate.members.members), default=0) + 1
    drawn = before.drawn(number)
    leaf = next(member.leaf for member in drawn.members if member.number == number)
    signed = signed_epoch([leaf], now_s, number, audience=profile.audience, **more)
    joined, _ = drawn.joined(signed, profile.enrolment_key, profile.audience, now_s)
    return keep(device, joined)


def keep(device: Device, joined: Members) -> Device:
    with device._vault.writing("members"):
        device._vault.put("members", joined.plain())
    return device


def serving(members_: Members, now_s: float) -> list[Epoch]:
    """The epochs in which a device is now."""
    epochs = [unverified(member.signed) for member in members_.members if member.signed]
    return [epoch for epoch in epochs if epoch.begins_s <= now_s < epoch.ends_s]


def member_of(device: Device, number: int) -> Member:
    return next(member for member in device.gate.members.members if member.number == number)


def leaves_of(epoch: Epoch, *leaves: bytes) -> list[bytes]:
    """The list of an epoch; of one that another process signed, of these devices of a test."""
    if (listed := _LISTS.get(epoch.sha256)) is None:
        listed = members([*leaves, *(other.leaf for other in others(epoch.n_devices - len(leaves)))])
    assert root(listed) == epoch.root, "another list"
    return listed


def seated(plan: Plan, kind: UpdateKind, round_number: int, epoch: Epoch, *leaves: bytes) -> dict[str, Any]:
    """The fields of a training request that say who adds it up, with nobody absent."""
    fields = {"epoch": epoch.number, "seats": b"", "seats_proof": b"", "absent": b""}
    if drawn := seats_drawn(plan, kind, round_number, epoch):
        assert plan.sum is not None
        listed, at = leaves_of(epoch, *leaves), drawn[: plan.sum.seats]
        fields |= {"seats": b"".join(listed[i] for i in at), "seats_proof": prove(listed, at)}
    return fields


def seat_header(plan: Plan, leaf: bytes, epoch: Epoch, round_number: int = 1) -> Header:
    """A sum of three values of at least two devices, in which a device of a test holds the last of six seats."""
    seats = (*(other.leaf for other in others(5)), leaf)
    named = ("update", plan.sha256, round_number, epoch.sha256, seats, (), ())
    return Header(*named, Field.holding(plan.privacy.largest_sum).prime, 3, 4, 3, 2, bytes(32))


def header_for(plan: Plan, data: bytes, epoch: Epoch) -> tuple[Header, UpdateKind]:
    """The header of the sum that a signed training request asks for."""
    name, request = decode(REQUESTS, body := unwrap(data).body)
    kind = plan.kind_of(name)
    return header_of(plan, kind, request, hashlib.sha256(body).digest(), epoch), kind


def listed_for(
    header: Header, epoch: Epoch, sent: Mapping[bytes, Mapping[str, Any]], *, at_least: int | None = None
) -> tuple[SumList, list[bytes]]:
    """The list of what devices sent, by their leaves, and the boxes of each of its entries. Others send zeros until as many are in
    it as the sum takes."""
    listed = leaves_of(epoch, *sent)
    sent = dict(sent)
    least = header.min_survivors if at_least is None else at_least
    for other in others(epoch.n_devices):
        if len(sent) >= least:
            break
        if other.leaf in listed and other.leaf not in sent:
            nothing = np.zeros(header.n_values, np.int64)
            sent[other.leaf] = vars(contribute(header, other.leaf, other.identity_key, nothing))
    entries = {}
    for leaf, fields in sent.items():
        digest = hashlib.sha256(fields["sealed"]).digest()
        entry = Entry(listed.index(leaf), leaf, fields["ephemeral"], digest, fields["signature"])
        entries[entry] = fields["sealed"]
    whole = SumList.of(header, list(entries))
    return whole, [entries[entry] for entry in whole.entries]


def seat_request(listed: SumList, boxes: Sequence[bytes], epoch: Epoch, place: int) -> dict[str, Any]:
    """The fields of an opinion_request, and of a sum_request, to the seat at a place."""
    header = listed.header
    sealed = header.t_priv <= place < len(header.seats)
    leaves = leaves_of(epoch, *(entry.leaf for entry in listed.entries))
    return {
        "audience": epoch.audience,
        "epoch": epoch.number,
        "header": header.canonical,
        "entries": listed.canonical,
        "proof": prove(leaves, [entry.index for entry in listed.entries]),
        "boxes": read_boxes(boxes, box_bytes(header), place - header.t_priv) if sealed else b"",
    }


def opened_sum(
    plan: Plan,
    data: bytes,
    epoch: Epoch,
    sent: Mapping[bytes, Mapping[str, Any]],
    own: Sequence[Member] = (),
) -> Ints:
    """What the seats open of what devices sent, by their leaves, in answer to a signed request: int64 (n_values,). None of them
    may have anything against any of it. `own`: the keys of a test's devices, which may hold seats."""
    header, kind = header_for(plan, data, epoch)
    listed, boxes = listed_for(header, epoch, sent)
    holders = {member.leaf: member for member in (*helpers(len(epoch.helpers)), *others(epoch.n_devices), *own)}
    field, code = header.code.field, header.code
    answers = []
    for place, leaf in enumerate((*header.seats, *header.pads)):
        duty, request = duty_of(holders[leaf], epoch), seat_request(listed, boxes, epoch, place)
        assert duty.opinion(request)["refused"] == b""
        answer = duty.answer(request)
        expect_answer(listed, place, answer.values, answer.signature)
        is_pad = place >= len(header.seats)
        answers.append(field.unpack(answer.values, kind.n_values if is_pad else code.n_blocks(kind.n_values)))
    n_seats = len(header.seats)
    found = opened(code, np.arange(n_seats), np.array(answers[:n_seats]), kind.n_values)
    assert not len(found.liars)
    values = found.values
    for pad in answers[n_seats:]:
        values = field.minus(values, pad)
    return field.to_signed(values)


def opened_update(device: Device, data: bytes, reply: bytes) -> Ints:
    """The vector that a device sent in answer to a signed request, as its helpers open it: int64 (n_values,)."""
    name, request = decode(REQUESTS, unwrap(data).body)
    reply_name, fields = decode(REGISTER, reply)
    assert reply_name == REQUESTS[name].reply, fields
    member = member_of(device, request["epoch"])
    assert device._state.installed is not None
    plan = device._state.installed.plan
    return opened_sum(plan, data, unverified(member.signed), {member.leaf: fields}, [member])
