"""The messages of a secure sum: enrolment, what devices send into it, and what seats are asked (`shared/secure_sum/`)."""

from __future__ import annotations

from types import MappingProxyType

from .bounds import (
    MAX_ABSENT_BYTES,
    MAX_BOXES_BYTES,
    MAX_ENTRIES_BYTES,
    MAX_EPOCH_BYTES,
    MAX_HEADER_BYTES,
    MAX_PROOF_BYTES,
    MAX_SEALED_BYTES,
    MAX_SEATS_BYTES,
)
from .kinds import HASH, PUBLIC, ROUND, Bytes, Field, Int, MessageKind, Spends, reply_kind, request_kind

_EPOCH = Field(Int(1, (1 << 32) - 1), "none: the server's own", "number of the epoch of enrolment: they only rise")
_LIST_HASH = Field(Bytes(32, 32), "none: of public fields", "list of devices that both sides mean")
_EPHEMERAL = Field(Bytes(32, 32), "none: drawn for this message", "the seats' keys follow from it")
_SIGNATURE = Field(Bytes(64, 64), "none: over public fields", "the enrolled device sent it")
_SEALED = Field(
    Bytes(0, MAX_SEALED_BYTES),
    "shares of a vector of L2 norm <= steps_per_clip with its discrete Gaussian share added, each sealed to one seat",
    "added up by the seats",
)
#: Of a request that devices answer into a sum.
SEATED = MappingProxyType(
    {
        "epoch": _EPOCH,
        "seats": Field(Bytes(0, MAX_SEATS_BYTES, unit=64), PUBLIC, "keys of the devices that hold its seats"),
        "seats_proof": Field(Bytes(0, MAX_PROOF_BYTES), PUBLIC, "they are enrolled"),
        "absent": Field(Bytes(0, MAX_ABSENT_BYTES, unit=4), PUBLIC, "seats passed over, by index, as they were drawn"),
    }
)
#: Of a request to a seat.
_LISTED = MappingProxyType(
    {
        "epoch": _EPOCH,
        "header": Field(Bytes(1, MAX_HEADER_BYTES), PUBLIC, "what the sum is about"),
        "entries": Field(Bytes(0, MAX_ENTRIES_BYTES), "none: signed for the seats to see", "whose shares are added"),
        "proof": Field(Bytes(0, MAX_PROOF_BYTES), PUBLIC, "they are enrolled"),
        "boxes": Field(Bytes(0, MAX_BOXES_BYTES), "none, but to the key of this seat", "this seat's shares"),
    }
)


def _summed(name: str, *, cost: str, purpose: str) -> MessageKind:
    """What a device sends into a secure sum."""
    return reply_kind(
        name,
        Spends.PARTICIPATION,
        cost=cost,
        purpose=purpose,
        once_per="round",
        round=ROUND,
        plan_sha256=HASH,
        ephemeral=_EPHEMERAL,
        sealed=_SEALED,
        signature=_SIGNATURE,
    )


#: What leaves a device, or a helper.
SUM_REPLIES = (
    _summed(
        "update",
        cost="one participation of the plan: clip_norm against the round's noise",
        purpose="one device's share of a training round",
    ),
    _summed(
        "risk_update",
        cost="one participation of the plan's phi: its clip_norm against its round's noise",
        purpose="one device's share of a round that learns phi",
    ),
    reply_kind(
        "enrolment",
        Spends.NOTHING,
        cost="nothing: keys that are drawn for one epoch say nothing of a user",
        purpose="the keys of a device, or of a helper, in one epoch of enrolment",
        epoch=_EPOCH,
        identity=Field(Bytes(32, 32), "none: drawn for this epoch", "what it signs is known to be its own"),
        seat=Field(Bytes(32, 32), "none: drawn for this epoch", "shares are sealed to it"),
    ),
    reply_kind(
        "epoch_receipt",
        Spends.NOTHING,
        cost="nothing: says only that a public list arrived",
        purpose="the device has the epoch's signed enrolment",
        epoch=_EPOCH,
    ),
    reply_kind(
        "opinion",
        Spends.NOTHING,
        cost="nothing: what others sent is of the right form, or is not; uniform words mask what is added",
        purpose="which devices cannot be in a sum, as one seat sees it",
        list_sha256=_LIST_HASH,
        refused=Field(Bytes(0, MAX_ENTRIES_BYTES, unit=4), "none: of others' bytes", "places in the list"),
        tests=Field(Bytes(0, MAX_ENTRIES_BYTES), "none: masked by uniform words", "finds shares of no vector"),
    ),
    reply_kind(
        "seat_sum",
        Spends.NOTHING,
        cost="nothing: a share of a sum over many devices, of which too few shares say nothing",
        purpose="one seat's share of a sum",
        list_sha256=_LIST_HASH,
        values=Field(
            Bytes(2, MAX_SEALED_BYTES), "none: uniform, for who has too few of them", "enough of them open the sum"
        ),
        signature=_SIGNATURE,
    ),
)

#: What the server asks for it; training requests hold `SEATED`, and stand with the others.
SUM_REQUESTS = (
    request_kind(
        "enrolment_query",
        "query.enrolment",
        "enrolment",
        purpose="ask for the keys of a coming epoch",
        epoch=_EPOCH,
    ),
    request_kind(
        "epoch_offer",
        "query.epoch",
        "epoch_receipt",
        purpose="tell who is enrolled, as it was signed offline",
        epoch=_EPOCH,
        signed=Field(Bytes(1, MAX_EPOCH_BYTES), PUBLIC, "the epoch and its signature"),
    ),
    request_kind(
        "opinion_request",
        "query.opinion",
        "opinion",
        purpose="ask a seat which of the listed devices cannot be in a sum",
        **_LISTED,
    ),
    request_kind(
        "sum_request",
        "query.total",
        "seat_sum",
        purpose="ask a seat for the sum of its shares over a list of devices",
        **_LISTED,
    ),
)
