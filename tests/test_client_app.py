"""Bytes in, bytes out: for any request and any device, what comes out is declared, allowed, and says nothing else.

The property test sends right, damaged and wrong-typed requests to devices of different lives, decodes each answer with the
register, and compares it field by field with what the request and the device's public state allow.
"""

import shutil
import struct
from pathlib import Path

import cbor2
import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from client import app as client_app
from client.app import HANDLERS, answer, build_app, open_in_data_dir
from client.consent import Consent
from client.device import Device, Profile
from client.runtime import pinned_model
from shared.codec import decode, encode, pack_floats
from shared.errors import ConfigError, Refusal, RefusalCode, WireError
from shared.events import BehaviourEvent, EventKind, Step
from shared.messages import MAX_STEP, REGISTER, REQUESTS, VERSION
from shared.network import NetworkSpec
from shared.plan import Plan
from shared.risk import N_COEFFICIENTS, READINGS

from .conftest import (
    CATALOGUE,
    N_CATEGORIES,
    NETWORK,
    activity_theta,
    event_stream,
    examples,
    make_plan,
    make_profile,
    make_risk,
    ready,
    replayed_entropy,
)
from .fake_grid import FakeGrid, context_of, wire, with_wire

PLAN, OTHER_PLAN = make_plan(risk=make_risk()), make_plan(training={"rows": 17})
STRANGE_PLANS = [make_plan(catalogue_sha256=bytes(32)), make_plan(network=NetworkSpec(27, (8,)))]
ENDPOINTS = sorted(HANDLERS)
#: What a risk_request has beside a train_request's fields.
COEFFICIENTS = {
    "basis": pack_floats(np.ones((len(READINGS), N_COEFFICIENTS), np.float32)),
    "coefficients": pack_floats(np.array([-1, 0.5], np.float32)),
}
N_STEPS = 20

#: Amounts and moments that no reply may hold, in any of the ways that a program would write a number.
CANARY_AMOUNTS, CANARY_TIME_S = (31337.171875, 271828.1875), 5.123456789 * Step.DAY.seconds
CANARIES = [
    spelled
    for value in (*CANARY_AMOUNTS, sum(CANARY_AMOUNTS), CANARY_TIME_S)
    for spelled in (struct.pack("<d", value), struct.pack(">d", value), repr(value).encode(), f"{value:.2f}".encode())
] + [b"canary"]


def live(device: Device, life: str) -> None:
    """`empty`: nothing ever; `light`: one event; `busy`: a stream that raised alerts."""
    if life == "light":
        device.record(BehaviourEvent(EventKind.PURCHASE, 2, CANARY_TIME_S, CANARY_AMOUNTS[0]))
    if life == "busy":
        for event in event_stream(np.random.default_rng(3), N_STEPS, 0.25):
            device.record(event)
        for amount in CANARY_AMOUNTS:
            device.record(BehaviourEvent(EventKind.PURCHASE, 2, CANARY_TIME_S, amount))
    device.close_until(N_STEPS)


LIVES = {
    "empty": (Consent.LOCAL, "empty", PLAN),
    "light": (Consent.LOCAL, "light", PLAN),
    "busy": (Consent.LOCAL, "busy", PLAN),
    "busy and telling": (Consent.IDENTIFIED, "busy", PLAN),
    "busy without a model": (Consent.LOCAL, "busy", None),
    "empty without a model": (Consent.LOCAL, "empty", None),
}


@pytest.fixture(scope="module")
def homes(tmp_path_factory) -> Path:
    """A saved device for each life; tests work on copies."""
    root = tmp_path_factory.mktemp("canary-folder")
    for name, (consent, life, plan) in LIVES.items():
        device = Device.open(root / name, make_profile(consent))
        if plan is not None:
            ready(device, plan)
        live(device, life)
        device.save()
    return root


class Phone:
    """A device that answers, as the node would run it: opened for each request, saved by `answer`."""

    def __init__(self, homes: Path, life: str) -> None:
        self.folder = homes / "copies" / life
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(homes / life, self.folder)
        self.life, self.draws = life, 0

    def open(self, context=None, step: int = 0) -> Device:
        self.draws += 1
        return Device.open(self.folder, entropy=replayed_entropy((self.life, self.draws)))

    def answer(self, data: bytes, endpoint: str) -> bytes:
        return answer(data, endpoint, context_of(1), self.open)


# ---- requests: right ones, and everything near them

thetas = st.sampled_from([activity_theta(), NETWORK.initial_theta(1), np.full(1441, 3e38, np.float32)]).map(pack_floats)
wrong_thetas = st.sampled_from(
    [pack_floats(np.zeros(n, np.float32)) for n in (1, 1440, 1442)]
    + [pack_floats(np.full(1441, bad, np.float32)) for bad in (np.nan, np.inf)]
    + [pack_floats(NetworkSpec(27, (8,)).initial_theta(0))]
)
hashes = st.sampled_from([PLAN.sha256, OTHER_PLAN.sha256, bytes(32)])
steps, rounds = st.integers(0, MAX_STEP), st.integers(0, 2**31)
plans = st.sampled_from([p.canonical for p in (PLAN, OTHER_PLAN, *STRANGE_PLANS)] + [b"\xa0", PLAN.canonical[:-1]])
tampered = bytes([pinned_model()[0] ^ 1]) + pinned_model()[1:]
models = st.sampled_from([b"", b"", pinned_model(), tampered])
any_theta = thetas | thetas | wrong_thetas
N_READINGS, N_BASIS = len(READINGS), len(READINGS) * N_COEFFICIENTS
risks = st.sampled_from(
    [b""] + [pack_floats(np.full(n, v, np.float32)) for n in (1, N_READINGS) for v in (0.5, np.nan)]
)
bases = st.sampled_from([pack_floats(np.full(n, v, np.float32)) for n in (1, N_BASIS, N_BASIS) for v in (0.5, 3e38)])
coefficients = st.sampled_from(
    [pack_floats(np.full(n, v, np.float32)) for n in (1, 2, 2, 3) for v in (0.5, 3e38, np.inf)]
)
right_requests = st.one_of(
    st.tuples(st.just("alerts_query"), st.fixed_dictionaries({"step": steps})),
    st.tuples(
        st.just("train_request"),
        st.fixed_dictionaries({"step": steps, "round": rounds, "plan_sha256": hashes, "theta": any_theta}),
    ),
    st.tuples(
        st.just("risk_request"),
        st.fixed_dictionaries(
            {
                "step": steps,
                "round": rounds,
                "plan_sha256": hashes,
                "theta": any_theta,
                "basis": bases,
                "coefficients": coefficients,
            }
        ),
    ),
    st.tuples(
        st.just("model_offer"),
        st.fixed_dictionaries(
            {"step": steps, "round": rounds, "plan": plans, "model": models, "theta": any_theta, "risk": risks}
        ),
    ),
)
wrong_types = st.sampled_from(
    [None, True, 1.5, -1, 2**40, "canary", b"", b"abc", [], {}, [[]], cbor2.CBORTag(35, "a+")]
)


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
        data = cbor2.dumps([name, VERSION, wrong], canonical=True)
    elif how == "field":
        data = cbor2.dumps([name, VERSION, {**fields, "debug": "canary"}], canonical=True)
    elif how == "reply":
        data = encode(REGISTER, "receipt", {"plan_sha256": PLAN.sha256})
    elif how == "random":
        data = draw(st.binary(max_size=40))
    return Request((data, endpoint))


def allowed(data: bytes, endpoint: str, device: Device) -> tuple[str, dict]:
    """What may be answered: the message's name and its fields, from the request and the device's public state alone.
    `values` and `alerts` are a length, and the list of what this device could tell."""

    def refusal(code: RefusalCode) -> tuple[str, dict]:
        return "refusal", {"code": int(code)}

    try:
        name, request = decode(REQUESTS, data)
    except WireError:
        return refusal(RefusalCode.MALFORMED)
    if name != endpoint:
        return refusal(RefusalCode.UNDECLARED)
    installed = device._installed and device._installed.plan
    if name == "alerts_query":
        told = [alert for alert, _ in device._alerts] if device.profile.consent is Consent.IDENTIFIED else []
        return "alerts", {"step": request["step"], "alerts": [vars(alert) for alert in told]}
    theta = np.frombuffer(request["theta"], "<f4")
    finite = all(
        np.isfinite(np.frombuffer(request.get(name, b""), "<f4")).all()
        for name in ("theta", "risk", "basis", "coefficients")
    )
    if name in ("train_request", "risk_request"):
        if not finite:
            return refusal(RefusalCode.MALFORMED)
        if installed is None or installed.sha256 != request["plan_sha256"] or theta.size != NETWORK.n_parameters:
            return refusal(RefusalCode.PLAN_MISMATCH)
        sizes = [len(request.get(name, b"")) for name in ("basis", "coefficients")]
        if name == "risk_request" and (installed.risk is None or sizes != [4 * N_BASIS, 4 * N_COEFFICIENTS]):
            return refusal(RefusalCode.PLAN_MISMATCH)
        reply, n_values = {
            "train_request": ("update", NETWORK.n_parameters),
            "risk_request": ("risk_update", N_COEFFICIENTS),
        }[name]
        return reply, {"round": request["round"], "plan_sha256": installed.sha256, "values": 4 * n_values}
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


@examples(300)
@given(requests(), st.sampled_from(sorted(LIVES)))
def test_no_handler_emits_a_byte_that_the_register_does_not_declare(homes, request_, life):
    data, endpoint = request_
    phone = Phone(homes, life)
    expected_name, expected = allowed(data, endpoint, phone.open())
    out = phone.answer(data, endpoint)
    name, fields = decode(REGISTER, out)  # one spelling: nothing beside the fields fits in
    assert name == expected_name
    for field, value in fields.items():
        if field == "values":
            assert len(value) == expected[field]
        elif field == "alerts":
            assert all(alert in expected[field] for alert in value)
            assert life == "busy and telling" or value == []
        else:
            assert value == expected[field], field
    assert fields.keys() == expected.keys()
    assert not any(canary in out for canary in CANARIES)


FORM = {"values": len, "alerts": lambda alerts: None}


@examples(100)
@given(requests())
def test_the_form_of_an_answer_is_the_same_for_every_life(homes, request_):
    """The request decides whether and what is answered; behaviour decides neither the kind, nor the length, nor a field."""
    forms = set()
    for life in ("empty", "light", "busy"):
        out = Phone(homes, life).answer(*request_)
        name, fields = decode(REGISTER, out)
        forms.add((name, len(out), tuple((f, FORM.get(f, lambda v: v)(v)) for f, v in sorted(fields.items()))))
    assert len(forms) == 1
    bare = {Phone(homes, life).answer(*request_) for life in ("empty without a model", "busy without a model")}
    assert len(bare) == 1, "without a model there is no noise: the very same bytes"


def test_the_right_requests_are_answered(homes):
    """The property above is not about refusals only."""
    phone = Phone(homes, "busy and telling")
    offer = {
        "step": 3,
        "round": 1,
        "plan": PLAN.canonical,
        "model": b"",
        "theta": pack_floats(activity_theta()),
        "risk": b"",
    }
    request = {"step": 3, "round": 2, "plan_sha256": PLAN.sha256, "theta": pack_floats(activity_theta())}
    answers = [
        decode(REGISTER, phone.answer(encode(REQUESTS, name, fields), name))
        for name, fields in (
            ("model_offer", offer),
            ("train_request", request),
            ("risk_request", {**request, **COEFFICIENTS}),
            ("alerts_query", {"step": 9}),
            ("alerts_query", {"step": 9}),
            ("alerts_query", {"step": 10}),
        )
    ]
    assert [name for name, _ in answers] == ["receipt", "update", "risk_update", "alerts", "alerts", "alerts"]
    assert len(answers[3][1]["alerts"]) > 0, "identified alerts do leave"
    assert answers[3] == answers[4], "asked twice for one step"
    assert answers[5][1]["alerts"] == [], "told once, also after the device was closed and opened"


def test_nothing_recorded_is_in_any_answer_whatever_goes_wrong(homes, monkeypatch):
    """Texts of exceptions would hold raw values: none leaves, whoever raises."""
    request = encode(REQUESTS, "alerts_query", {"step": 3})
    internal = ("refusal", {"code": int(RefusalCode.INTERNAL)})

    def raising(error: BaseException):
        def fail(*_, **__):
            raise error

        return fail

    errors = [
        ValueError("canary 31337.17"),
        KeyError("canary"),
        MemoryError("canary"),
        RecursionError("canary"),
        OSError("canary"),
    ]
    for error in errors:
        assert decode(REGISTER, answer(request, "alerts_query", context_of(1), raising(error))) == internal
        with monkeypatch.context() as patch:
            patch.setitem(client_app.HANDLERS, "alerts_query", raising(error))
            assert decode(REGISTER, Phone(homes, "busy").answer(request, "alerts_query")) == internal
        with monkeypatch.context() as patch:
            patch.setattr(Device, "save", raising(error))
            out = Phone(homes, "busy and telling").answer(request, "alerts_query")
            assert decode(REGISTER, out) == internal, "what could not be written down is not told"
    with monkeypatch.context() as patch:
        patch.setitem(client_app.HANDLERS, "alerts_query", raising(Refusal(RefusalCode.CONSENT)))
        out = Phone(homes, "busy").answer(request, "alerts_query")
        assert decode(REGISTER, out) == ("refusal", {"code": int(RefusalCode.CONSENT)})
    assert len(out) == len(Phone(homes, "busy").answer(b"canary", "alerts_query"))


def test_a_damaged_device_answers_internal_and_nothing_else(homes):
    phone = Phone(homes, "busy")
    for file in phone.folder.iterdir():
        file.write_bytes(b"canary")
    out = phone.answer(encode(REQUESTS, "alerts_query", {"step": 3}), "alerts_query")
    assert decode(REGISTER, out) == ("refusal", {"code": int(RefusalCode.INTERNAL)})


# ---- through Flower's own ClientApp


def ask(app, content: RecordDict, message_type: str, context=None) -> Message:
    FakeGrid({})
    return app(Message(content, dst_node_id=1, message_type=message_type), context or context_of(1))


ROUTES = {
    "train": "train_request",
    "train.risk": "risk_request",
    "query.model": "model_offer",
    "query.alerts": "alerts_query",
}


def test_the_app_s_routes_reach_their_handlers_and_a_reply_holds_one_array(homes):
    phone = Phone(homes, "busy")
    app = build_app(phone.open)
    theta = pack_floats(activity_theta())
    right = {
        "query.model": {
            "step": 1,
            "round": 0,
            "plan": PLAN.canonical,
            "model": pinned_model(),
            "theta": theta,
            "risk": b"",
        },
        "train": {"step": 1, "round": 1, "plan_sha256": PLAN.sha256, "theta": theta},
        "train.risk": {"step": 1, "round": 2, "plan_sha256": PLAN.sha256, "theta": theta, **COEFFICIENTS},
        "query.alerts": {"step": 1},
    }
    for route, expected in zip(right, ("receipt", "update", "risk_update", "alerts"), strict=True):
        reply = ask(app, with_wire(encode(REQUESTS, ROUTES[route], right[route])), route)
        assert not reply.has_error()
        assert {k: list(v) for k, v in reply.content.items()} == {"wire": ["bytes"]}
        assert reply.content["wire"]["bytes"].numpy().dtype == np.uint8
        assert decode(REGISTER, wire(reply))[0] == expected


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({"wire": ConfigRecord({"bytes": b"x"})}),
        RecordDict({"wire": ArrayRecord()}),
        RecordDict({"other": ArrayRecord()}),
    ],
    ids=["nothing", "another record", "no array", "another name"],
)
def test_a_message_of_another_shape_is_malformed(homes, route, content):
    reply = ask(build_app(Phone(homes, "busy").open), content, route)
    assert decode(REGISTER, wire(reply)) == ("refusal", {"code": int(RefusalCode.MALFORMED)})


def test_a_bare_node_s_device_lives_in_its_data_dir_and_follows_the_wall_clock(tmp_path, monkeypatch):
    origin_s = 1_000_000.0
    profile = Profile(Step.DAY, N_CATEGORIES, CATALOGUE.sha256, number=4, origin_s=origin_s)
    Device.open(tmp_path, profile).save()
    monkeypatch.setattr(client_app.WallClock, "now_s", lambda self: origin_s + 3.5 * Step.DAY.seconds)
    device = open_in_data_dir(context_of(1, **{"data-dir": str(tmp_path)}), 0)
    assert device.profile == profile and device.n_closed_steps == 3
    query = with_wire(encode(REQUESTS, "alerts_query", {"step": 3}))
    reply = ask(client_app.app, query, "query.alerts", context_of(1, **{"data-dir": str(tmp_path)}))
    assert decode(REGISTER, wire(reply)) == ("alerts", {"step": 3, "alerts": []})
    assert Device.open(tmp_path).n_closed_steps == 3, "saved"
    for nowhere in ({}, {"data-dir": str(tmp_path / "nobody")}):
        reply = ask(client_app.app, query, "query.alerts", context_of(1, **nowhere))
        assert decode(REGISTER, wire(reply)) == ("refusal", {"code": int(RefusalCode.INTERNAL)})
