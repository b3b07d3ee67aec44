"""Requests to a device: right ones, and everything near them; and what may be answered, by the rules alone."""

from dataclasses import replace

import numpy as np
from cryptography.exceptions import InvalidSignature
from hypothesis import strategies as st

from client.answers import HANDLERS
from client.device import Device
from client.model.runtime import pinned_model
from client.privacy.membership import Members, duty_of
from client.refusals import code_of
from client.vault.consent import Consent
from shared.codec import decode, encode, pack_floats
from shared.envelope import TAG, unwrap, wrap
from shared.errors import ConfigError, RefusalCode, SumError, UndeclaredError, WireError
from shared.events import Step
from shared.lapse_risk import N_COEFFICIENTS, READINGS
from shared.messages import REGISTER, REQUESTS, SIGNED
from shared.network import NetworkSpec
from shared.plan import Plan, UpdateKind
from shared.register.bounds import MAX_BIT_EPSILON_MICRO, MAX_REQUEST_BYTES, MAX_STEP, MAX_TIME_S, VERSION
from shared.register.recipes import BY_REQUEST
from shared.register.recipes import QUERIES as ASKED
from shared.secure_sum.assembly import sent_bytes
from shared.secure_sum.epoch import MOST_WINDOW_S, unverified
from tests.world.basics import CATALOGUE, NETWORK, NOW_STEP, activity_theta, make_plan, make_risk
from tests.world.enrolled import OTHER_ENROLLER, keys_of, listed_for, seat_header, seat_request, signed_epoch
from tests.world.queries import counts, evaluation
from tests.world.signing import ASKED_AT_S, OTHER_PRIVATE_KEY, PRIVATE_KEY, RUN, signed
from tests.world.spellings import TAGGED, spelled

#: Noise enough for a cost, and as many devices as the other tests' plans count on.
QUERIES = tuple(one(noise_multiplier=4.0, steps_per_clip=1024) for one in (evaluation, counts))
PLAN, OTHER_PLAN = make_plan(risk=make_risk(), queries=QUERIES), make_plan(training={"rows": 17})
STRANGE_PLANS = [make_plan(catalogue_sha256=bytes(32)), make_plan(network=NetworkSpec(27, (8,)))]
ENDPOINTS = sorted(HANDLERS)
#: What a risk_request has beside a train_request's fields.
COEFFICIENTS = {
    "basis": pack_floats(np.ones((len(READINGS), N_COEFFICIENTS), np.float32)),
    "coefficients": pack_floats(np.array([-1, 0.5], np.float32)),
}

#: What the phones are in their epoch, the same in every process; and who signed it.
MEMBER = keys_of("phone", 0)
_NOW_S = float(NOW_STEP * Step.DAY.seconds)
SIGNED_EPOCH = signed_epoch([MEMBER.leaf], _NOW_S, seed=bytes(range(32)))
EPOCH = unverified(SIGNED_EPOCH)
MEMBERS = Members((replace(MEMBER, signed=SIGNED_EPOCH),))
#: Epochs that none of the phones is in: another list, another signer, over, yet to come, of another number.
OTHER_EPOCHS = [
    signed_epoch([MEMBER.leaf], _NOW_S, seed=bytes(32)),
    signed_epoch([MEMBER.leaf], _NOW_S, seed=bytes(range(32)), key=OTHER_ENROLLER),
    signed_epoch([MEMBER.leaf], _NOW_S - 2 * MOST_WINDOW_S, seed=bytes(range(32))),
    signed_epoch([MEMBER.leaf], _NOW_S + 2 * MOST_WINDOW_S, seed=bytes(range(32))),
    signed_epoch([MEMBER.leaf], _NOW_S, 2, seed=bytes(range(32))),
    signed_epoch([MEMBER.leaf], _NOW_S, audience="others", seed=bytes(range(32))),
    SIGNED_EPOCH[:-1],
]
#: A sum in which the phones hold a seat.
SUM_HEADER = seat_header(PLAN, MEMBER.leaf, EPOCH)
SUM_LIST, SUM_BOXES = listed_for(SUM_HEADER, EPOCH, {}, at_least=3)
SEAT_REQUEST = seat_request(SUM_LIST, SUM_BOXES, EPOCH, 5)

thetas = st.sampled_from([activity_theta(), NETWORK.initial_theta(1), np.full(1441, 3e38, np.float32)]).map(pack_floats)
wrong_thetas = st.sampled_from(
    [pack_floats(np.zeros(n, np.float32)) for n in (1, 1440, 1442)]
    + [pack_floats(np.full(1441, bad, np.float32)) for bad in (np.nan, np.inf)]
    + [pack_floats(NetworkSpec(27, (8,)).initial_theta(0))]
)
hashes = st.sampled_from([PLAN.sha256, OTHER_PLAN.sha256, bytes(32)])
steps, rounds = st.integers(0, MAX_STEP), st.integers(0, 2**31)
audiences = st.sampled_from([""] * 6 + ["others"])
runs = st.sampled_from([RUN] * 6 + [0, RUN - 1, RUN + 1, MAX_TIME_S])
plans = st.sampled_from([p.canonical for p in (PLAN, OTHER_PLAN, *STRANGE_PLANS)] + [b"\xa0", PLAN.canonical[:-1]])
tampered = bytes([pinned_model()[0] ^ 1]) + pinned_model()[1:]
models = st.sampled_from([b"", b"", pinned_model(), tampered])
any_theta = thetas | thetas | wrong_thetas
bit_requests = st.fixed_dictionaries(
    {
        "audience": audiences,
        "step": steps,
        "epsilon_micro": st.integers(1, MAX_BIT_EPSILON_MICRO),
        "every_steps": st.integers(1, 400),
    }
)
N_READINGS, N_BASIS = len(READINGS), len(READINGS) * N_COEFFICIENTS
risks = st.sampled_from(
    [b""] + [pack_floats(np.full(n, v, np.float32)) for n in (1, N_READINGS) for v in (0.5, np.nan)]
)
bases = st.sampled_from([pack_floats(np.full(n, v, np.float32)) for n in (1, N_BASIS, N_BASIS) for v in (0.5, 3e38)])
coefficients = st.sampled_from(
    [pack_floats(np.full(n, v, np.float32)) for n in (1, 2, 2, 3) for v in (0.5, 3e38, np.inf)]
)
#: Who adds a round up: helpers, six times in seven.
seated = {
    "epoch": st.sampled_from([1] * 6 + [2, 2**32 - 1]),
    "seats": st.sampled_from([b""] * 12 + [MEMBER.leaf]),
    "seats_proof": st.sampled_from([b""] * 12 + [bytes(32)]),
    "absent": st.sampled_from([b""] * 12 + [bytes(4)]),
}
seat_requests = st.fixed_dictionaries(
    {
        "audience": audiences,
        "epoch": seated["epoch"],
        "header": st.sampled_from([SUM_HEADER.canonical] * 9 + [replace(SUM_HEADER, **other).canonical for other in (
            {"round": 2}, {"epoch_sha256": bytes(32)}, {"seats": SUM_HEADER.seats[:5]}, {"min_survivors": 4})] + [b"\xa0"]),
        "entries": st.sampled_from([SUM_LIST.canonical] * 9 + [SUM_LIST.canonical[:-1], b"", SUM_LIST.canonical * 2]),
        "proof": st.sampled_from([SEAT_REQUEST["proof"]] * 9 + [b"", SEAT_REQUEST["proof"][::-1]]),
        "boxes": st.sampled_from([SEAT_REQUEST["boxes"]] * 9 + [b"", SEAT_REQUEST["boxes"][::-1]]),
    }
)  # fmt: skip
queries = st.fixed_dictionaries(
    {
        "audience": audiences,
        "run": runs,
        "step": steps | st.sampled_from([4, 9, 14]),
        "round": rounds,
        "plan_sha256": st.just(PLAN.sha256) | hashes,
        "model_round": st.sampled_from([0, 0, 0, 1]),
        **seated,
    }
)
#: Their plan learns no heads: tests/client/test_heads.py has one that does.
of_heads = st.fixed_dictionaries(
    {"audience": audiences, "run": runs, "step": steps, "round": rounds, "plan_sha256": hashes, **seated}
)
#: Fields of a right request, by its name.
RIGHT = {
    **dict.fromkeys([recipe.request for recipe in ASKED], queries),
    "enrolment_query": st.fixed_dictionaries({"audience": audiences, "epoch": st.sampled_from([1, 2, 3, 2**32 - 1])}),
    "epoch_offer": st.fixed_dictionaries(
        {
            "audience": audiences,
            "epoch": st.sampled_from([1, 1, 2]),
            "signed": st.sampled_from([SIGNED_EPOCH] * len(OTHER_EPOCHS) + OTHER_EPOCHS),
        }
    ),
    "opinion_request": seat_requests,
    "sum_request": seat_requests,
    "alerts_query": st.fixed_dictionaries({"audience": audiences, "step": steps}),
    "bits_query": bit_requests,
    "train_request": st.fixed_dictionaries(
        {
            "audience": audiences,
            "run": runs,
            "step": steps,
            "round": rounds,
            "plan_sha256": hashes,
            "theta": any_theta,
            **seated,
        }
    ),
    "risk_request": st.fixed_dictionaries(
        {
            "audience": audiences,
            "run": runs,
            "step": steps,
            "round": rounds,
            "plan_sha256": hashes,
            "theta": any_theta,
            "basis": bases,
            "coefficients": coefficients,
            **seated,
        }
    ),
    "crowd_request": of_heads,
    "curvature_request": of_heads,
    "head_request": st.tuples(of_heads, st.fixed_dictionaries({"basis": bases, "coefficients": coefficients})).map(
        lambda both: both[0] | both[1]
    ),
    "heads_offer": st.fixed_dictionaries(
        {
            "audience": audiences,
            "run": runs,
            "step": steps,
            "round": rounds,
            "plan_sha256": hashes,
            "start": st.sampled_from([bytes(4), bytes(400)]),
            "popularity": coefficients,
            "weights": coefficients,
        }
    ),
    "model_offer": st.fixed_dictionaries(
        {
            "audience": audiences,
            "run": runs,
            "step": steps,
            "round": rounds,
            "plan": plans,
            "model": models,
            "theta": any_theta,
            "risk": risks,
        }
    ),
}
right_requests = st.one_of([st.tuples(st.just(name), fields) for name, fields in RIGHT.items()])
wrong_types = st.sampled_from([None, True, 1.5, -1, 2**40, "canary", b"", b"abc", [], {}, [[]], TAGGED])


class Request(tuple):
    """Request bytes, and the endpoint they are sent to; a failing example shows the beginning."""

    def __repr__(self) -> str:
        return f"Request({self[0][:60]!r}... {len(self[0])} bytes, to {self[1]})"


@st.composite
def requests(draw) -> Request:
    name, fields = draw(right_requests)
    endpoint = draw(st.sampled_from([name] * 6 + ENDPOINTS))
    data = encode(REQUESTS, name, fields)
    how = draw(st.sampled_from(["right"] * 4 + ["flip", "cut", "tail", "type", "field", "reply", "random"]))
    if how == "flip":
        damaged = bytearray(data)
        for _ in range(draw(st.integers(1, 3))):
            damaged[draw(st.integers(0, min(len(data), 200) - 1))] ^= draw(st.integers(1, 255))
        data = bytes(damaged)
    elif how == "cut":
        data = data[: draw(st.integers(0, len(data) - 1))]
    elif how == "tail":
        data += draw(st.binary(min_size=1, max_size=4))
    elif how == "type":
        wrong = {**fields, draw(st.sampled_from(sorted(fields))): draw(wrong_types)}
        data = spelled([name, VERSION, wrong])
    elif how == "field":
        data = spelled([name, VERSION, {**fields, "debug": "canary"}])
    elif how == "reply":
        data = encode(REGISTER, "receipt", {"plan_sha256": PLAN.sha256})
    elif how == "random":
        data = draw(st.binary(max_size=40))
    return Request((draw(envelopes(data)), endpoint))


#: Envelopes that no device opens, by what is wrong with them; and one that it does.
ENVELOPES = ("unsigned", "other key", "no signature", "time", "body", "flip", "cut", "tail", "type", "field", "huge")


@st.composite
def envelopes(draw, body: bytes) -> bytes:
    """What a body travels in: this server's envelope three times in four, else one with something wrong."""
    how = draw(st.sampled_from(["right"] * 3 * len(ENVELOPES) + list(ENVELOPES)))
    time_s = draw(st.sampled_from([0, ASKED_AT_S, MAX_TIME_S]))
    if not body or how == "unsigned":
        return body
    if how == "right":
        return signed(body, time_s)
    if how == "other key":
        return signed(body, time_s, OTHER_PRIVATE_KEY)
    if how == "no signature":
        return wrap(body, time_s, lambda _: bytes(64))
    right = signed(body, ASKED_AT_S)
    fields = decode(SIGNED, right)[1]
    if how == "time":
        return encode(SIGNED, "signed", {**fields, "time_s": ASKED_AT_S + draw(st.sampled_from([-1, 1, 86_400]))})
    if how == "body":
        return encode(SIGNED, "signed", {**fields, "body": body[:-1] + bytes([body[-1] ^ 1])})
    if how == "flip":
        damaged = bytearray(right)
        damaged[draw(st.integers(0, len(right) - 1))] ^= draw(st.integers(1, 255))
        return bytes(damaged)
    if how == "cut":
        return right[: draw(st.integers(0, len(right) - 1))]
    if how == "tail":
        return right + draw(st.binary(min_size=1, max_size=4))
    if how == "type":
        wrong = {**fields, draw(st.sampled_from(sorted(fields))): draw(wrong_types)}
        return spelled(["signed", VERSION, wrong])
    if how == "field":
        return spelled(["signed", VERSION, {**fields, "debug": "canary"}])
    body = bytes(MAX_REQUEST_BYTES + draw(st.sampled_from([0, 1, 1 << 17])))
    return spelled(["signed", VERSION, {**fields, "body": body}])


def is_signed(data: bytes) -> bytes | None:
    """The body that the tests' server signed, None if it did not: from the layout, without the client's code."""
    try:
        envelope = unwrap(data)
        signed_part = TAG + envelope.time_s.to_bytes(8, "big") + envelope.body
        PRIVATE_KEY.public_key().verify(envelope.signature, signed_part)
    except (WireError, InvalidSignature):
        return None
    return envelope.body


#: What of an alert may leave.
TOLD = ("direction", "category", "level", "step", "model_round")


def allowed(data: bytes, endpoint: str, device: Device) -> tuple[str, dict]:
    """What may be answered: the message's name and its fields, from the request and the device's public state alone.
    What is drawn for a reply is a length, and `alerts` the list of what this device could tell."""

    def refusal(code: RefusalCode) -> tuple[str, dict]:
        return "refusal", {"code": int(code)}

    def summed(request: dict, plan: Plan, kind: UpdateKind) -> tuple[str, dict]:
        """A vector on its way into a sum that is as plan and epoch say."""
        if request["epoch"] != 1:
            return refusal(RefusalCode.EPOCH)
        if request["seats"] or request["seats_proof"] or request["absent"]:
            return refusal(RefusalCode.SEATS)
        drawn = {"ephemeral": 32, "sealed": sent_bytes(plan.sum, kind), "signature": 64}
        return kind.reply, {"round": request["round"], "plan_sha256": plan.sha256, **drawn}

    if (body := is_signed(data)) is None:
        return refusal(RefusalCode.SIGNATURE)
    try:
        name, request = decode(REQUESTS, body)
    except UndeclaredError:
        return refusal(RefusalCode.UNDECLARED)
    except WireError:
        return refusal(RefusalCode.MALFORMED)
    if name != endpoint:
        return refusal(RefusalCode.UNDECLARED)
    if request["audience"]:
        return refusal(RefusalCode.AUDIENCE)
    installed = device._state.installed and device._state.installed.plan
    run = request.get("run", RUN)
    if name != "model_offer" and "run" in request and (installed is None or run > RUN):
        return refusal(RefusalCode.PLAN_MISMATCH)
    if installed is not None and run < RUN:  # theirs is the only offer that was taken, signed at second 0
        return refusal(RefusalCode.STALE)
    if name == "alerts_query":
        told = device.alerts() if device.profile.consent is Consent.IDENTIFIED else []
        return "alerts", {"step": request["step"], "alerts": [{k: getattr(alert, k) for k in TOLD} for alert in told]}
    if name == "bits_query":
        if device.profile.consent is not Consent.RANDOMISED:
            return refusal(RefusalCode.CONSENT)
        if (request["step"] + 1) % request[
            "every_steps"
        ]:  # the tests' owner lifted every cap: any coin at any due step
            return refusal(RefusalCode.SCHEDULE)
        return "alert_bit", {"step": request["step"], "epsilon_micro": request["epsilon_micro"], "bit": None}
    if name in BY_REQUEST and (recipe := BY_REQUEST[name]) in ASKED:
        if not device.profile.consent.covers(recipe.consent):
            return refusal(RefusalCode.CONSENT)
        wanted = installed.query(recipe.name) if installed.sha256 == request["plan_sha256"] else None
        if wanted is None or request["model_round"] != device._state.installed.round_number:
            return refusal(RefusalCode.PLAN_MISMATCH)
        if not wanted.is_due(request["step"]):
            return refusal(RefusalCode.SCHEDULE)
        return summed(request, installed, installed.kind_of(name))
    if name == "enrolment_query":
        keys = (MEMBER.leaf[:32], MEMBER.leaf[32:]) if request["epoch"] == 1 else (32, 32)
        return "enrolment", {"epoch": request["epoch"], "identity": keys[0], "seat": keys[1]}
    if name == "epoch_offer":
        right = request["signed"] == SIGNED_EPOCH
        return ("epoch_receipt", {"epoch": 1}) if right else refusal(RefusalCode.EPOCH)
    if name in ("opinion_request", "sum_request"):
        if request["epoch"] != 1:
            return refusal(RefusalCode.EPOCH)
        try:
            duty = duty_of(MEMBER, EPOCH)
            if name == "opinion_request":
                return "opinion", duty.opinion(request)
            return "seat_sum", duty.answer(request).fields
        except SumError as error:
            return refusal(code_of(error))
    finite = all(
        np.isfinite(np.frombuffer(request.get(name, b""), "<f4")).all()
        for name in ("theta", "risk", "basis", "coefficients", "popularity", "weights")
    )
    if name in ("crowd_request", "curvature_request", "head_request", "heads_offer"):
        return refusal(RefusalCode.PLAN_MISMATCH if finite else RefusalCode.MALFORMED)
    theta = np.frombuffer(request["theta"], "<f4")
    if name in ("train_request", "risk_request"):
        if not finite:
            return refusal(RefusalCode.MALFORMED)
        if installed is None or installed.sha256 != request["plan_sha256"] or theta.size != NETWORK.n_parameters:
            return refusal(RefusalCode.PLAN_MISMATCH)
        sizes = [len(request.get(name, b"")) for name in ("basis", "coefficients")]
        if name == "risk_request" and (installed.risk is None or sizes != [4 * N_BASIS, 4 * N_COEFFICIENTS]):
            return refusal(RefusalCode.PLAN_MISMATCH)
        return summed(request, installed, installed.updates[name == "risk_request"])
    try:
        plan = Plan.from_bytes(request["plan"])
    except ConfigError:
        return refusal(RefusalCode.PLAN_REFUSED)
    if not finite:
        return refusal(RefusalCode.MALFORMED)
    fits = theta.size == plan.network.n_parameters and len(request["risk"]) in (0, 4 * N_READINGS)
    if plan.catalogue_sha256 != CATALOGUE.sha256 or not fits:
        return refusal(RefusalCode.PLAN_REFUSED)
    if request["model"] not in (b"", pinned_model()):
        return refusal(RefusalCode.MODEL_REFUSED)
    if plan.network != NETWORK:
        return refusal(RefusalCode.PLAN_REFUSED)
    return "receipt", {"plan_sha256": plan.sha256}
