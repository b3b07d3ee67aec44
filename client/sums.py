"""A device's part in secure sums: it enrols, sends shares of its vector, and holds a seat when it is drawn.

    enrolment_query -> keys for an epoch      epoch_offer -> the signed list is kept
    opinion_request, sum_request -> what this device says as a seat

Training requests are in `client/answers.py`: their vector goes through `sent_into`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from shared.arrays import Words
from shared.plan import Plan, UpdateKind
from shared.secure_sum.assembly import header_of
from shared.secure_sum.header import Header
from shared.secure_sum.share import contribute

from .device import Device
from .privacy.heard import Asked
from .privacy.membership import Member, Members, duty_of

Fields = dict[str, Any]


def enrol(device: Device, asked: Asked, request: Fields) -> bytes:
    """Answer an enrolment_query with this device's keys for an epoch, which lie in its vault before they leave."""
    members = _members(device).drawn(request["epoch"])
    leaf = next(member.leaf for member in members.members if member.number == request["epoch"])
    fields = {"epoch": request["epoch"], "identity": leaf[:32], "seat": leaf[32:]}
    return device.gate.release(asked.sha256, "enrolment", fields, said=asked, rows={"members": members.plain()})


def join(device: Device, asked: Asked, request: Fields) -> bytes:
    """Answer an epoch_offer: verified under the enrolment's key that the profile pins, and kept."""
    members, epoch = _members(device).joined(request["signed"], *_trusted(device))
    fields = {"epoch": epoch.number}
    return device.gate.release(asked.sha256, "epoch_receipt", fields, said=asked, rows={"members": members.plain()})


def give_opinion(device: Device, asked: Asked, request: Fields) -> bytes:
    """Answer an opinion_request as a seat."""
    member, epoch = _serving(device, request["epoch"])
    return device.gate.release(asked.sha256, "opinion", duty_of(member, epoch).opinion(request), said=asked)


def give_sum(device: Device, asked: Asked, request: Fields) -> bytes:
    """Answer a sum_request as a seat: for which list is written down in the transaction of the answer."""
    member, epoch = _serving(device, request["epoch"])
    answer = duty_of(member, epoch).answer(request)
    members = _members(device).having_answered(member.number, answer.slot, answer.list_sha256)
    rows = {"members": members.plain()}
    return device.gate.release(asked.sha256, "seat_sum", answer.fields, said=asked, rows=rows)


def sum_of(device: Device, asked: Asked, request: Fields, plan: Plan, kind: UpdateKind) -> tuple[Header, Member]:
    """The sum that a training request asks this device into, and who it is there; Refusal for a sum that is not as plan and
    epoch say."""
    member, epoch = _serving(device, request["epoch"])
    return header_of(plan, kind, request, asked.sha256, epoch), member


def sent_into(header: Header, member: Member, work: Callable[[], Words]) -> Fields:
    """The fields of a reply that carries a protected vector, uint32 (n_values,) modulo 2^32, into a sum."""
    values = np.asarray(work(), np.uint32).view(np.int32).astype(np.int64)
    return vars(contribute(header, member.leaf, member.identity_key, values))


def _members(device: Device) -> Members:
    """The epochs of a device that are not over."""
    return device.gate.members.without_past(device.gate.clock.now_s())


def _serving(device: Device, number: int) -> tuple[Member, Any]:
    return _members(device).serving(number, *_trusted(device))


def _trusted(device: Device) -> tuple[bytes, str, float]:
    """Whose word on enrolment counts, for whom, and now."""
    return device.profile.enrolment_key, device.profile.audience, device.gate.clock.now_s()
