"""The messages of a secure sum: enrolment, what devices send into it, and what seats are asked (`shared/secure_sum/`)."""

from __future__ import annotations

from types import MappingProxyType

from .bounds import (
    MAX_BOXES_BYTES,
    MAX_ENTRIES_BYTES,
    MAX_EPOCH_BYTES,
    MAX_HEADER_BYTES,
    MAX_PROOF_BYTES,
    MAX_SEALED_BYTES,
)
from .kinds import EPOCH, PUBLIC, SIGNATURE, Bytes, Field, Spends, reply_kind, request_kind
from .recipes import RECIPES

_LIST_HASH = Field(Bytes(32, 32), "none: of public fields", "list of devices that both sides mean")
#: Of a request to a seat.
_LISTED = MappingProxyType(
    {
        "epoch": EPOCH,
        "header": Field(Bytes(1, MAX_HEADER_BYTES), PUBLIC, "what the sum is about"),
        "entries": Field(Bytes(0, MAX_ENTRIES_BYTES), "none: signed for the seats to see", "whose shares are added"),
        "proof": Field(Bytes(0, MAX_PROOF_BYTES), PUBLIC, "they are enrolled"),
        "boxes": Field(Bytes(0, MAX_BOXES_BYTES), "none, but to the key of this seat", "this seat's shares"),
    }
)


#: What leaves a device, or a helper.
SUM_REPLIES = (
    *(recipe.reply_kind for recipe in RECIPES.values()),
    reply_kind(
        "enrolment",
        Spends.NOTHING,
        cost="nothing: keys that are drawn for one epoch say nothing of a user",
        purpose="the keys of a device, or of a helper, in one epoch of enrolment",
        epoch=EPOCH,
        identity=Field(Bytes(32, 32), "none: drawn for this epoch", "what it signs is known to be its own"),
        seat=Field(Bytes(32, 32), "none: drawn for this epoch", "shares are sealed to it"),
    ),
    reply_kind(
        "epoch_receipt",
        Spends.NOTHING,
        cost="nothing: says only that a public list arrived",
        purpose="the device has the epoch's signed enrolment",
        epoch=EPOCH,
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
        signature=SIGNATURE,
    ),
)

#: What the server asks for it, besides the vectors themselves (`shared/register/recipes.py`).
SUM_REQUESTS = (
    request_kind(
        "enrolment_query",
        "query.enrolment",
        "enrolment",
        purpose="ask for the keys of a coming epoch",
        epoch=EPOCH,
    ),
    request_kind(
        "epoch_offer",
        "query.epoch",
        "epoch_receipt",
        purpose="tell who is enrolled, as it was signed offline",
        epoch=EPOCH,
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
