"""Bytes in, bytes out: for any request and any device, what comes out is declared, allowed, and says nothing else.

The property test sends right, damaged and wrong-typed requests to devices of different lives, decodes each answer with the
register, and compares it field by field with what the request and the device's public state allow.
"""

import tempfile
import tracemalloc
from io import BytesIO

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from numpy.lib import format as npy

from client import app as client_app
from client.answers import HANDLERS, open_and_answer
from client.app import build_app, open_in_data_dir
from client.device import Profile
from client.model.runtime import pinned_model
from client.vault.journal import Journal
from shared.codec import decode, limits_of, pack_floats
from shared.errors import ConfigError, Refusal, RefusalCode
from shared.events import Step
from shared.messages import REGISTER, REQUESTS, SIGNED
from tests.world.basics import CATALOGUE, N_CATEGORIES, activity_theta, examples, open_device
from tests.world.client_requests import COEFFICIENTS, PLAN, RIGHT, SEAT_REQUEST, SIGNED_EPOCH, allowed, requests
from tests.world.fake_grid import FakeGrid, context_of, wire, with_wire
from tests.world.phones import CANARIES, LIVES, Phone, homes
from tests.world.signing import SERVER_KEY, signed_request

__all__ = ["homes"]


@pytest.fixture(scope="module")
def temporary(homes, tmp_path_factory):
    """Where this process would put temporary files, while the tests of this module run."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TMPDIR", "SQLITE_TMPDIR"):
            patch.setenv(name, str(folder))
        patch.setattr(tempfile, "tempdir", None)
        yield folder


@examples(300, suppress_health_check=[HealthCheck.function_scoped_fixture])  # they are read after each example
@given(requests(), st.sampled_from(sorted(LIVES)))
def test_no_handler_emits_a_byte_that_the_register_does_not_declare(homes, temporary, caplog, capfd, request_, life):
    """Nor writes anything of what was recorded: not to the disk, in the vault or beside it, and not to a log."""
    data, endpoint = request_
    phone = Phone(homes, life)
    with phone.open() as device:
        expected_name, expected = allowed(data, endpoint, device)
    out = phone.answer(data, endpoint)
    written = phone.at_rest() + caplog.text.encode() + "".join(capfd.readouterr()).encode()
    assert not any(canary in written for canary in CANARIES) and not list(temporary.rglob("*"))
    name, fields = decode(REGISTER, out)  # one spelling: nothing beside the fields fits in
    assert name == expected_name
    for field, value in fields.items():
        if type(value) is bytes and type(expected[field]) is int:
            assert len(value) == expected[field], field
        elif field == "alerts":
            assert all(alert in expected[field] for alert in value)
            assert life == "busy and telling" or value == []
        elif field == "bit":
            assert value in (0, 1) and life == "busy and tossing coins"
        else:
            assert value == expected[field], field
    assert fields.keys() == expected.keys()
    assert not any(canary in out for canary in CANARIES)


def test_every_request_is_among_those_that_are_tried():
    assert set(RIGHT) == set(REQUESTS) and {kind.endpoint: kind.name for kind in REQUESTS.values()} == ROUTES


FORM = {**dict.fromkeys(("ephemeral", "sealed", "signature", "identity", "seat"), len), "alerts": lambda alerts: None}


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
    is_fresh = {decode(REGISTER, out)[0] for out in bare} == {"enrolment"}
    assert len(bare) == 1 or is_fresh, (
        "without a model there is no noise: the very same bytes, but for keys of a new epoch"
    )


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
        decode(REGISTER, phone.answer(signed_request(name, fields), name))
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
    request = signed_request("alerts_query", {"step": 3})
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
        assert (
            decode(
                REGISTER,
                open_and_answer(request, "alerts_query", lambda error=error: raising(error)(context_of(1), request)),
            )
            == internal
        )
        with monkeypatch.context() as patch:
            patch.setitem(HANDLERS, "alerts_query", raising(error))
            assert decode(REGISTER, Phone(homes, "busy").answer(request, "alerts_query")) == internal
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "add", raising(error))
            out = Phone(homes, "busy and telling").answer(request, "alerts_query")
            assert decode(REGISTER, out) == internal, "what could not be written down is not told"
    with monkeypatch.context() as patch:
        patch.setitem(HANDLERS, "alerts_query", raising(Refusal(RefusalCode.CONSENT)))
        out = Phone(homes, "busy").answer(request, "alerts_query")
        assert decode(REGISTER, out) == ("refusal", {"code": int(RefusalCode.CONSENT)})
    assert len(out) == len(Phone(homes, "busy").answer(b"canary", "alerts_query"))


def test_a_damaged_device_answers_internal_and_nothing_else(homes):
    phone = Phone(homes, "busy")
    for file in phone.folder.iterdir():
        file.write_bytes(b"canary")
    out = phone.answer(signed_request("alerts_query", {"step": 3}), "alerts_query")
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
    "query.bits": "bits_query",
    "query.enrolment": "enrolment_query",
    "query.epoch": "epoch_offer",
    "query.opinion": "opinion_request",
    "query.total": "sum_request",
    "query.evaluation": "evaluation_request",
    "query.alert_counts": "alert_counts_request",
    "train.crowd": "crowd_request",
    "train.curvature": "curvature_request",
    "train.heads": "head_request",
    "query.heads": "heads_offer",
}


def test_the_app_s_routes_reach_their_handlers_and_a_reply_holds_one_array(homes):
    phone = Phone(homes, "busy and tossing coins")
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
        "query.bits": {"step": 1, "epsilon_micro": 1_000_000, "every_steps": 1},
        "query.enrolment": {"epoch": 1},
        "query.epoch": {"signed": SIGNED_EPOCH},
        "query.opinion": SEAT_REQUEST,
        "query.total": SEAT_REQUEST,
        **{
            f"query.{name}": {"step": 4, "round": n, "plan_sha256": PLAN.sha256, "model_round": 0}
            for n, name in ((3, "evaluation"), (4, "alert_counts"))
        },
    }
    of_heads = {"train.crowd", "train.curvature", "train.heads", "query.heads"}  # tests/client/test_heads.py
    assert right.keys() == ROUTES.keys() - of_heads
    for route in right:
        expected = REQUESTS[ROUTES[route]].reply
        reply = ask(app, with_wire(signed_request(ROUTES[route], right[route])), route)
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
def test_a_message_of_another_shape_is_from_nobody(homes, route, content):
    reply = ask(build_app(Phone(homes, "busy").open), content, route)
    assert decode(REGISTER, wire(reply)) == ("refusal", {"code": int(RefusalCode.SIGNATURE)})


def test_a_bare_node_s_device_lives_in_its_data_dir_and_follows_the_wall_clock(tmp_path, monkeypatch):
    origin_s = 1_000_000.0
    profile = Profile(Step.DAY, N_CATEGORIES, CATALOGUE.sha256, SERVER_KEY, number=4, origin_s=origin_s)
    passphrase = tmp_path / "elsewhere"
    passphrase.write_bytes(b"correct horse\n")
    home = {"data-dir": str(tmp_path / "vault"), "passphrase-file": str(passphrase)}
    open_device(tmp_path / "vault", profile).close()
    monkeypatch.setattr(client_app.WallClock, "now_s", lambda self: origin_s + 3.5 * Step.DAY.seconds)
    with open_in_data_dir(context_of(1, **home), b"") as device:
        assert device.profile == profile and device.n_closed_steps == 3
    query = with_wire(signed_request("alerts_query", {"step": 3}))
    reply = ask(client_app.app, query, "query.alerts", context_of(1, **home))
    assert decode(REGISTER, wire(reply)) == ("alerts", {"step": 3, "alerts": []})
    with open_device(tmp_path / "vault") as device:
        assert device.n_closed_steps == 3, "kept"
    for nowhere in ({}, {**home, "data-dir": str(tmp_path / "nobody")}, {"data-dir": home["data-dir"]}):
        reply = ask(client_app.app, query, "query.alerts", context_of(1, **nowhere))
        assert decode(REGISTER, wire(reply)) == ("refusal", {"code": int(RefusalCode.INTERNAL)})


@pytest.mark.parametrize("shape", [(2**33,), (2**40,), (11,), (2, 5), ()])
def test_what_an_array_says_of_its_size_is_held_against_its_bytes_before_anything_is_allocated(shape):
    header = BytesIO()
    npy.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    array = Array("uint8", (10,), "numpy.ndarray", header.getvalue() + bytes(10))
    message = Message(RecordDict({"wire": ArrayRecord({"bytes": array})}), 1, "train")
    tracemalloc.start()
    try:
        assert client_app.carried(message) == b""
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_more_than_any_request_has_is_nothing_and_the_largest_is_read():
    most = limits_of(SIGNED["signed"]).most_bytes
    for size, read in ((most, most), (most + 1, 0), (1 << 26, 0)):
        message = Message(RecordDict({"wire": ArrayRecord({"bytes": Array(np.zeros(size, np.uint8))})}), 1, "train")
        assert len(client_app.carried(message)) == read
    floats = Message(RecordDict({"wire": ArrayRecord({"bytes": Array(np.zeros(8))})}), 1, "train")
    assert client_app.carried(floats) == b""


def test_a_node_s_own_configuration_alone_names_another_app(tmp_path):
    """A helper's node: what is asked of it there, it answers; a name of nothing is an error by name, and never the device's answer."""
    query = with_wire(signed_request("enrolment_query", {"epoch": 1}))
    told = {"data-dir": str(tmp_path / "helper"), "server-key": SERVER_KEY.hex(), "enrolment-key": SERVER_KEY.hex()}
    context = context_of(1, clientapp="server.helper.app:app", **told)
    assert decode(REGISTER, wire(ask(client_app.app, query, "query.enrolment", context)))[0] == "enrolment"
    assert (tmp_path / "helper" / "helper.db").exists()
    for wrong in ("nowhere.at.all:app", "client.app:nothing", "client.app", "client.app:WAIT_S", "a b:c"):
        with pytest.raises(ConfigError, match="clientapp|ClientApp"):
            ask(client_app.app, query, "query.enrolment", context_of(1, clientapp=wrong))
