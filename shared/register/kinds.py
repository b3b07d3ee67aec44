"""How a message is declared: the types of its fields, and all that is decided by its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from .bounds import (
    MAX_ABSENT_BYTES,
    MAX_AUDIENCE_BYTES,
    MAX_PROOF_BYTES,
    MAX_SEALED_BYTES,
    MAX_SEATS_BYTES,
    MAX_STEP,
    MAX_TIME_S,
)


@dataclass(frozen=True)
class Int:
    """An integer in low..high, both included."""

    low: int
    high: int


@dataclass(frozen=True)
class Bytes:
    """A byte string of low..high bytes, a multiple of `unit`."""

    low: int
    high: int
    unit: int = 1


@dataclass(frozen=True)
class Text:
    """A text of at most `high` bytes in UTF-8."""

    high: int


@dataclass(frozen=True)
class ListOf:
    """At most `most` maps with exactly these fields."""

    fields: Mapping[str, Field]
    most: int


@dataclass(frozen=True)
class Field:
    """One declared field."""

    type: Int | Bytes | Text | ListOf
    sensitivity: str
    purpose: str


#: What an epsilon of rounds holds under: a device adds a share of the noise, and seats that keep their keys to themselves
#: open no sum but one that the shares of enough others are in.
IF_HONEST = "if a helper, or enough of the seats, are honest"


class Spends(Enum):
    """What one message of a kind costs the device that sends it."""

    NOTHING = "nothing: it says nothing about behaviour"
    OUTSIDE_EPSILON = "nothing that epsilon covers: it leaves by consent alone"
    EPSILON = "epsilon, on the ledger line of its name"
    PARTICIPATION = "epsilon, on the ledger line of its name, as a round of a plan"


@dataclass(frozen=True, eq=False)
class MessageKind:
    """One declared message: its name, its fields, and all that is decided by its kind. Equal to itself alone.

    Of a reply: `spends`; `consent`, the one under which alone it leaves ("": under any); `emptied`, the list that is
    emptied without this consent, so that the reply has the form of a device that saw nothing ("": it is refused);
    `once_per`, the field that says which round or step it is for: each is answered once, and none before an earlier one.

    Of a request: `endpoint`, Flower's message type; `reply`, the kind that answers it.

    ValueError for a kind that could leave unpaid by mistake: one that spends nothing though a field of it says something
    (its sensitivity is not "none"), or leaves outside epsilon without a consent.
    """

    name: str
    fields: Mapping[str, Field]
    cost: str
    purpose: str
    spends: Spends
    consent: str = ""
    emptied: str = ""
    once_per: str = ""
    endpoint: str = ""
    reply: str = ""

    def __post_init__(self) -> None:
        if self.spends is Spends.NOTHING and (
            telling := [k for k, f in self.fields.items() if f.sensitivity[:4] != "none"]
        ):
            raise ValueError(f"{self.name}: expected fields that say nothing for what spends nothing, got {telling}")
        if self.spends is Spends.OUTSIDE_EPSILON and not self.consent:
            raise ValueError(f"{self.name}: expected a consent for what leaves outside epsilon, got none")

    @property
    def charged(self) -> bool:
        """Whether a ledger line has its name."""
        return self.spends in (Spends.EPSILON, Spends.PARTICIPATION)

    @property
    def condition(self) -> str:
        """What the epsilon of such a message holds under, in words; "" if under nothing: the coin protects alone."""
        return IF_HONEST if self.spends is Spends.PARTICIPATION else ""

    @property
    def kept(self) -> bool:
        """Whether the outbox keeps its bytes: asked again, the same go out, at no cost. What says nothing about behaviour
        is answered anew."""
        return self.spends is not Spends.NOTHING


def reply_kind(
    name: str,
    spends: Spends,
    *,
    cost: str,
    purpose: str,
    consent: str = "",
    emptied: str = "",
    once_per: str = "",
    **fields: Field,
) -> MessageKind:
    return MessageKind(name, MappingProxyType(fields), cost, purpose, spends, consent, emptied, once_per)


PUBLIC = "none: public"
ROUND = Field(Int(0, 1 << 31), "none: the server chose it", "ties the reply to its round")
HASH = Field(Bytes(32, 32), "none: public", "plan that both sides mean")
STEP = Field(Int(0, MAX_STEP), "none: the server's public calendar", "the step that is answered for")
RUN = Field(Int(0, MAX_TIME_S), "none: the server's own", "the second at which the server's run began: runs only rise")
EPOCH = Field(Int(1, (1 << 32) - 1), "none: the server's own", "number of the epoch of enrolment: they only rise")
SIGNATURE = Field(Bytes(64, 64), "none: over public fields", "the enrolled device sent it")
AUDIENCE = Field(
    Text(MAX_AUDIENCE_BYTES),
    "none: the same for everybody who is asked",
    "whom the request is for: a device answers its own deployment's or group's alone. Which of them are in a round's "
    "cohort no request says: the server picks them, and seats add up no fewer than the plan's least",
)


def signed_by_server(name: str, endpoint: str, reply: str, *, purpose: str, **fields: Field) -> MessageKind:
    """What the server sends, which says nothing about anybody."""
    return MessageKind(
        name, MappingProxyType(fields), "nothing", purpose, Spends.NOTHING, endpoint=endpoint, reply=reply
    )


def request_kind(name: str, endpoint: str, reply: str, *, purpose: str, **fields: Field) -> MessageKind:
    """What the server asks of the devices of one audience."""
    return signed_by_server(name, endpoint, reply, purpose=purpose, audience=AUDIENCE, **fields)


#: Of a request that devices answer into a sum.
SEATED = MappingProxyType(
    {
        "epoch": EPOCH,
        "seats": Field(Bytes(0, MAX_SEATS_BYTES, unit=64), PUBLIC, "keys of the devices that hold its seats"),
        "seats_proof": Field(Bytes(0, MAX_PROOF_BYTES), PUBLIC, "they are enrolled"),
        "absent": Field(Bytes(0, MAX_ABSENT_BYTES, unit=4), PUBLIC, "seats passed over, by index, as they were drawn"),
    }
)
_EPHEMERAL = Field(Bytes(32, 32), "none: drawn for this message", "the seats' keys follow from it")
_SEALED = Field(
    Bytes(0, MAX_SEALED_BYTES),
    "shares of a vector of L2 norm <= steps_per_clip with its discrete Gaussian share added, each sealed to one seat",
    "added up by the seats",
)


def summed_kind(name: str, *, cost: str, purpose: str, consent: str = "") -> MessageKind:
    """What a device sends into a secure sum."""
    return reply_kind(
        name,
        Spends.PARTICIPATION,
        cost=cost,
        purpose=purpose,
        consent=consent,
        once_per="round",
        round=ROUND,
        plan_sha256=HASH,
        ephemeral=_EPHEMERAL,
        sealed=_SEALED,
        signature=SIGNATURE,
    )
