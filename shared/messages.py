"""The register: every message that may leave a device, field by field; the requests it answers; and their envelope.

What is not declared here cannot leave: `shared.codec` refuses to encode it and `client.gate` lets nothing else out.
Bounds are checked on both ends. `sensitivity` says what one field can tell about a user, `purpose` why it exists.

What follows from the kind of a message is decided here, and read by everybody else: what it costs (`Spends`, the
ledger), which consent it needs, for what it is answered once, whether it is kept to be sent again (the gate), which
request it answers and where that arrives (the apps, the server's channel, simulated hosts).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from .errors import RefusalCode
from .events import MAX_CATEGORIES

MAX_PARAMETERS = 1 << 18
MAX_MODEL_BYTES = 1 << 20
MAX_PLAN_BYTES = 1 << 16
MAX_ALERTS = 4096
#: An alert stays on the device for so many steps, for its user to see; no older one is told.
KEEP_ALERTS_STEPS = 366
MAX_READINGS = 64
MAX_COEFFICIENTS = 16
MAX_STEP = 1 << 20
MAX_AUDIENCE_BYTES = 64
MAX_BIT_EPSILON_MICRO = 20_000_000
MAX_REQUEST_BYTES = MAX_MODEL_BYTES + 4 * MAX_PARAMETERS + MAX_PLAN_BYTES + (1 << 12)
#: No clock shows more.
MAX_TIME_S = (1 << 53) - 1
VERSION = 1


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


#: What an epsilon of rounds holds under, as long as no secure sum carries them: a device adds a share of the noise, and
#: has the server's word alone that the shares of others were added to it.
IF_HONEST = "if the server is honest"


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


def _reply(
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


def _signed_by_server(name: str, endpoint: str, reply: str, *, purpose: str, **fields: Field) -> MessageKind:
    """What the server sends, which says nothing about anybody."""
    return MessageKind(
        name, MappingProxyType(fields), "nothing", purpose, Spends.NOTHING, endpoint=endpoint, reply=reply
    )


def _request(name: str, endpoint: str, reply: str, *, purpose: str, **fields: Field) -> MessageKind:
    """What the server asks of the devices of one audience."""
    return _signed_by_server(name, endpoint, reply, purpose=purpose, audience=_AUDIENCE, **fields)


_ROUND = Field(Int(0, 1 << 31), "none: the server chose it", "ties the reply to its round")
_STEP = Field(Int(0, MAX_STEP), "none: the server's public calendar", "the step that is answered for")
_HASH = Field(Bytes(32, 32), "none: public", "plan that both sides mean")
_AUDIENCE = Field(
    Text(MAX_AUDIENCE_BYTES),
    "none: the same for everybody who is asked",
    "whom the request is for: a device answers its own deployment's or group's alone. Which of them are in a round's "
    "cohort no request says yet: it will commit to that once a secure sum carries rounds",
)
_RUN = Field(Int(0, MAX_TIME_S), "none: the server's own", "the second at which the server's run began: runs only rise")
_COIN = Field(Int(1, MAX_BIT_EPSILON_MICRO), "none: the server asked for it", "the coin's epsilon, in millionths")


def _protected(most: int) -> Field:
    """A vector of at most `most` values, clipped and noised."""
    return Field(
        Bytes(4, 4 * most, unit=4),
        "L2 norm <= steps_per_clip before noise; discrete Gaussian share added; little-endian uint32",
        "summed over the cohort",
    )


_ALERT = MappingProxyType(
    {
        "direction": Field(Int(0, 1), "raw: a fall (0) or a rise (1) of interest", "lapse or opportunity"),
        "category": Field(Int(0, MAX_CATEGORIES - 1), "raw: which interest", "which offer to prepare"),
        "level": Field(Int(0, 2), "raw: low, medium, high", "how urgent"),
        "step": Field(Int(0, MAX_STEP), "raw: when, to the step", "order of alerts"),
        "model_round": Field(Int(0, 1 << 31), "none: which model scored", "which model to blame"),
    }
)

#: Everything that may leave a device.
REGISTER: Mapping[str, MessageKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            _reply(
                "update",
                Spends.PARTICIPATION,
                cost="one participation of the plan: clip_norm against the round's noise",
                purpose="one device's share of a training round",
                once_per="round",
                round=_ROUND,
                plan_sha256=_HASH,
                values=_protected(MAX_PARAMETERS),
            ),
            _reply(
                "risk_update",
                Spends.PARTICIPATION,
                cost="one participation of the plan's phi: its clip_norm against its round's noise",
                purpose="one device's share of a round that learns phi",
                once_per="round",
                round=_ROUND,
                plan_sha256=_HASH,
                values=_protected(MAX_COEFFICIENTS),
            ),
            _reply(
                "alerts",
                Spends.OUTSIDE_EPSILON,
                cost="outside epsilon: identified, by dated and revocable consent only; otherwise the list is empty",
                purpose="turning interests, for a user who agreed to tell",
                consent="identified",
                emptied="alerts",
                step=_STEP,
                alerts=Field(ListOf(_ALERT, MAX_ALERTS), "raw: see its fields", "early warning"),
            ),
            _reply(
                "alert_bit",
                Spends.EPSILON,
                cost="one coin of that epsilon: pure local differential privacy, spent whatever the bit",
                purpose="rates of turning interests over many devices, for a user who agreed to a randomised bit",
                consent="randomised",
                once_per="step",
                step=_STEP,
                epsilon_micro=_COIN,
                bit=Field(
                    Int(0, 1),
                    "any alert in the schedule's last steps, or the opposite: odds e^epsilon to 1; sent either way",
                    "debiased into rates",
                ),
            ),
            _reply(
                "receipt",
                Spends.NOTHING,
                cost="nothing: says only that a public file arrived",
                purpose="the device has the model and the plan",
                plan_sha256=_HASH,
            ),
            _reply(
                "deletion",
                Spends.NOTHING,
                cost="nothing: says only that the user had this device forgotten",
                purpose="the device is gone: enrol it no more",
            ),
            _reply(
                "refusal",
                Spends.NOTHING,
                cost="nothing: depends on the request, never on behaviour",
                purpose="the device declines",
                code=Field(
                    Int(min(RefusalCode), max(RefusalCode)), "none: follows from the request", "why, from a closed set"
                ),
            ),
        )
    }
)

_PUBLIC = "none: public"

#: Everything that a device answers.
REQUESTS: Mapping[str, MessageKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            _request(
                "model_offer",
                "query.model",
                "receipt",
                purpose="install a model, a plan and weights; the file may be left out when it is there already",
                run=_RUN,
                step=_STEP,
                round=_ROUND,
                plan=Field(Bytes(1, MAX_PLAN_BYTES), _PUBLIC, "the plan's canonical bytes"),
                model=Field(Bytes(0, MAX_MODEL_BYTES), _PUBLIC, "the .tflite file, or nothing"),
                theta=Field(Bytes(4, 4 * MAX_PARAMETERS, unit=4), _PUBLIC, "weights, little-endian float32"),
                risk=Field(Bytes(0, 4 * MAX_READINGS, unit=4), _PUBLIC, "phi's weights, or nothing yet"),
            ),
            _request(
                "train_request",
                "train",
                "update",
                purpose="ask for one update",
                run=_RUN,
                step=_STEP,
                round=_ROUND,
                plan_sha256=_HASH,
                theta=Field(Bytes(4, 4 * MAX_PARAMETERS, unit=4), _PUBLIC, "weights, little-endian float32"),
            ),
            _request(
                "bits_query",
                "query.bits",
                "alert_bit",
                purpose="ask for the randomised bit of a scheduled step",
                step=_STEP,
                epsilon_micro=Field(Int(1, MAX_BIT_EPSILON_MICRO), _PUBLIC, "the coin's epsilon, in millionths"),
                every_steps=Field(Int(1, MAX_STEP), _PUBLIC, "steps from one bit to the next"),
            ),
            _request(
                "risk_request",
                "train.risk",
                "risk_update",
                purpose="ask for one update of phi",
                run=_RUN,
                step=_STEP,
                round=_ROUND,
                plan_sha256=_HASH,
                theta=Field(Bytes(4, 4 * MAX_PARAMETERS, unit=4), _PUBLIC, "weights that make p"),
                basis=Field(
                    Bytes(4, 4 * MAX_READINGS * MAX_COEFFICIENTS, unit=4),
                    _PUBLIC,
                    "phi's weights are basis @ coefficients",
                ),
                coefficients=Field(Bytes(4, 4 * MAX_COEFFICIENTS, unit=4), _PUBLIC, "what the rounds learn"),
            ),
            _request(
                "alerts_query",
                "query.alerts",
                "alerts",
                purpose="ask for alerts since the last query",
                step=_STEP,
            ),
        )
    }
)

#: What a request travels in: see `shared.envelope`.
SIGNED: Mapping[str, MessageKind] = MappingProxyType(
    {
        "signed": _signed_by_server(
            "signed",
            "",
            "",
            purpose="a request, and the server's word that it asked",
            body=Field(Bytes(1, MAX_REQUEST_BYTES), _PUBLIC, "the request's canonical bytes"),
            time_s=Field(Int(0, MAX_TIME_S), _PUBLIC, "when the server asked: a period of a ledger ends by it"),
            signature=Field(Bytes(64, 64), _PUBLIC, "Ed25519, over the tag, the time and the body"),
        )
    }
)
