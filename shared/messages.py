"""The register: every message that may leave a device, field by field; the requests it answers; and their envelope.

What is not declared here cannot leave: `shared.codec` refuses to encode it and `client.gate` lets nothing else out.
Bounds are checked on both ends. `sensitivity` says what one field can tell about a user, `purpose` why it exists.

What follows from the kind of a message is decided here, and read by everybody else: what it costs (`Spends`, the
ledger), which consent it needs, for what it is answered once, whether it is kept to be sent again (the gate), which
request it answers and where that arrives (the apps, the server's channel, simulated hosts).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .errors import RefusalCode
from .events import MAX_CATEGORIES
from .register.bounds import (
    MAX_ALERTS,
    MAX_BIT_EPSILON_MICRO,
    MAX_HEAD_INPUTS,
    MAX_HEADS,
    MAX_MODEL_BYTES,
    MAX_PARAMETERS,
    MAX_PLAN_BYTES,
    MAX_READINGS,
    MAX_REQUEST_BYTES,
    MAX_STEP,
    MAX_TIME_S,
)
from .register.kinds import (
    HASH,
    PUBLIC,
    ROUND,
    RUN,
    STEP,
    Bytes,
    Field,
    Int,
    ListOf,
    MessageKind,
    Spends,
    reply_kind,
    request_kind,
    signed_by_server,
)
from .register.recipes import LEARNED, QUERIES
from .register.sums import SUM_REPLIES, SUM_REQUESTS

_COIN = Field(Int(1, MAX_BIT_EPSILON_MICRO), "none: the server asked for it", "the coin's epsilon, in millionths")


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
            *SUM_REPLIES,
            reply_kind(
                "alerts",
                Spends.OUTSIDE_EPSILON,
                cost="outside epsilon: identified, by dated and revocable consent only; otherwise the list is empty",
                purpose="turning interests, for a user who agreed to tell",
                consent="identified",
                emptied="alerts",
                step=STEP,
                alerts=Field(ListOf(_ALERT, MAX_ALERTS), "raw: see its fields", "early warning"),
            ),
            reply_kind(
                "alert_bit",
                Spends.EPSILON,
                cost="one coin of that epsilon: pure local differential privacy, spent whatever the bit",
                purpose="rates of turning interests over many devices, for a user who agreed to a randomised bit",
                consent="randomised",
                once_per="step",
                step=STEP,
                epsilon_micro=_COIN,
                bit=Field(
                    Int(0, 1),
                    "any alert in the schedule's last steps, or the opposite: odds e^epsilon to 1; sent either way",
                    "debiased into rates",
                ),
            ),
            reply_kind(
                "receipt",
                Spends.NOTHING,
                cost="nothing: says only that a public file arrived",
                purpose="the device has the model and the plan",
                plan_sha256=HASH,
            ),
            reply_kind(
                "deletion",
                Spends.NOTHING,
                cost="nothing: says only that the user had this device forgotten",
                purpose="the device is gone: enrol it no more",
            ),
            reply_kind(
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


#: Everything that a device answers.
REQUESTS: Mapping[str, MessageKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            request_kind(
                "model_offer",
                "query.model",
                "receipt",
                purpose="install a model, a plan and weights; the file may be left out when it is there already",
                run=RUN,
                step=STEP,
                round=ROUND,
                plan=Field(Bytes(1, MAX_PLAN_BYTES), PUBLIC, "the plan's canonical bytes"),
                model=Field(Bytes(0, MAX_MODEL_BYTES), PUBLIC, "the .tflite file, or nothing"),
                theta=Field(Bytes(4, 4 * MAX_PARAMETERS, unit=4), PUBLIC, "weights, little-endian float32"),
                risk=Field(Bytes(0, 4 * MAX_READINGS, unit=4), PUBLIC, "phi's weights, or nothing yet"),
            ),
            request_kind(
                "heads_offer",
                "query.heads",
                "receipt",
                purpose="install heads beside the model of a plan that learns them",
                run=RUN,
                step=STEP,
                round=ROUND,
                plan_sha256=HASH,
                start=Field(
                    Bytes(4, 4 * (MAX_HEADS * MAX_PARAMETERS + 8 * MAX_HEAD_INPUTS), unit=4),
                    PUBLIC,
                    "where they start, which the plan names by its hash",
                ),
                popularity=Field(Bytes(4, 4 * MAX_CATEGORIES, unit=4), PUBLIC, "log popularity of each category"),
                weights=Field(Bytes(4, 4 * MAX_HEADS * MAX_HEAD_INPUTS, unit=4), PUBLIC, "weights of the heads"),
            ),
            request_kind(
                "bits_query",
                "query.bits",
                "alert_bit",
                purpose="ask for the randomised bit of a scheduled step",
                step=STEP,
                epsilon_micro=Field(Int(1, MAX_BIT_EPSILON_MICRO), PUBLIC, "the coin's epsilon, in millionths"),
                every_steps=Field(Int(1, MAX_STEP), PUBLIC, "steps from one bit to the next"),
            ),
            *(recipe.request_kind for recipe in (*LEARNED, *QUERIES)),
            *SUM_REQUESTS,
            request_kind(
                "alerts_query",
                "query.alerts",
                "alerts",
                purpose="ask for alerts since the last query",
                step=STEP,
            ),
        )
    }
)

#: What a request travels in: see `shared.envelope`.
SIGNED: Mapping[str, MessageKind] = MappingProxyType(
    {
        "signed": signed_by_server(
            "signed",
            "",
            "",
            purpose="a request, and the server's word that it asked",
            body=Field(Bytes(1, MAX_REQUEST_BYTES), PUBLIC, "the request's canonical bytes"),
            time_s=Field(Int(0, MAX_TIME_S), PUBLIC, "when the server asked: a period of a ledger ends by it"),
            signature=Field(Bytes(64, 64), PUBLIC, "Ed25519, over the tag, the time and the body"),
        ),
        "witnessed": signed_by_server(
            "witnessed",
            "",
            "",
            purpose="the same, and how the server's log of its run stood: whoever is asked is a witness of it",
            body=Field(Bytes(1, MAX_REQUEST_BYTES), PUBLIC, "the request's canonical bytes"),
            time_s=Field(Int(0, MAX_TIME_S), PUBLIC, "when the server asked: a period of a ledger ends by it"),
            log_size=Field(Int(0, MAX_TIME_S), PUBLIC, "leaves of the log, that of this request included"),
            log_root=Field(Bytes(32, 32), PUBLIC, "their root, RFC 6962: the log goes on from there, or was changed"),
            signature=Field(Bytes(64, 64), PUBLIC, "Ed25519, over another tag, the time, the log's head and the body"),
        ),
    }
)
