"""Whose reply counts, and what of it is looked at: everything else is dropped, counted by its reason, and kept nowhere."""

import hashlib
import tracemalloc
from io import BytesIO

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from client.vault.consent import Consent
from server.channel import Channel, Traffic, carried_bytes
from server.device_nodes import DeviceNodes
from shared.codec import encode, limits_of, pack_floats
from shared.messages import REGISTER, REQUESTS
from shared.register.bounds import MAX_SEALED_BYTES
from shared.register.kinds import Spends
from shared.register.recipes import QUERIES
from tests.world.basics import activity_theta, examples, make_plan, make_profile, open_device
from tests.world.fake_grid import SIGNER, FakeGrid, device_node, fails, says, with_wire
from tests.world.signing import RUN

PLAN = make_plan()
THETA = pack_floats(activity_theta())
COIN = 1_000_000
EPOCH = 7
UNSEATED = {"epoch": EPOCH, "seats": b"", "seats_proof": b"", "absent": b""}
ROUND = {
    "audience": "",
    "run": RUN,
    "step": 20,
    "round": 2,
    "plan_sha256": PLAN.sha256,
    "theta": THETA,
    **UNSEATED,
}
QUERIED = {name: value for name, value in ROUND.items() if name != "theta"}
UNTAUGHT = {name: ROUND[name] for name in ("audience", "run", "step", "round", "plan_sha256")}
LISTED = {"audience": "", "epoch": EPOCH, "header": b"header", "entries": b"", "proof": b"", "boxes": b""}
#: A request of each kind, and the reply of a node that answers it.
ASKED = {
    "model_offer": {
        "audience": "",
        "run": RUN,
        "step": 20,
        "round": 2,
        "plan": PLAN.canonical,
        "model": b"",
        "theta": THETA,
        "risk": b"",
    },
    "train_request": ROUND,
    "risk_request": {**ROUND, "basis": bytes(8), "coefficients": bytes(8)},
    "heads_offer": {**UNTAUGHT, "start": bytes(4), "popularity": bytes(4), "weights": bytes(4)},
    "crowd_request": QUERIED,
    "curvature_request": QUERIED,
    "head_request": {**QUERIED, "basis": bytes(4), "coefficients": bytes(4)},
    **{recipe.request: {**QUERIED, "model_round": 1} for recipe in QUERIES},
    "enrolment_query": {"audience": "", "epoch": EPOCH},
    "epoch_offer": {"audience": "", "epoch": EPOCH, "signed": b"signed"},
    "opinion_request": LISTED,
    "sum_request": LISTED,
    "alerts_query": {"audience": "", "step": 20},
    "bits_query": {"audience": "", "step": 20, "epsilon_micro": COIN, "every_steps": 7},
}
UPDATE = {
    "round": 2,
    "plan_sha256": PLAN.sha256,
    "ephemeral": bytes(32),
    "sealed": bytes(8),
    "signature": bytes(64),
}
RIGHT = {
    "model_offer": {"plan_sha256": PLAN.sha256},
    "train_request": UPDATE,
    "risk_request": UPDATE,
    "heads_offer": {"plan_sha256": PLAN.sha256},
    **dict.fromkeys(("crowd_request", "curvature_request", "head_request"), UPDATE),
    **{recipe.request: UPDATE for recipe in QUERIES},
    "alerts_query": {"step": 20, "alerts": []},
    "bits_query": {"step": 20, "epsilon_micro": COIN, "bit": 1},
    "enrolment_query": {"epoch": EPOCH, "identity": bytes(32), "seat": bytes(32)},
    "epoch_offer": {"epoch": EPOCH},
    "opinion_request": {"list_sha256": bytes(32), "refused": b"", "tests": b""},
    "sum_request": {"list_sha256": bytes(32), "values": bytes(2), "signature": bytes(64)},
}
#: Replies that say which list they are for, which a request holds entry by entry: whoever asked looks (`server/sums/secure_sum.py`).
OF_A_LIST = ("opinion_request", "sum_request")
#: What says that a reply is for something else, and the reason that is counted.
OTHERWISE = {
    "plan_sha256": (bytes(32), "plan"),
    "round": (3, "round"),
    "step": (21, "step"),
    "epsilon_micro": (COIN + 1, "coin"),
    "epoch": (EPOCH + 1, "epoch"),
}


def reply_bytes(name: str, **changes) -> bytes:
    """The right reply to a request, but for `changes`."""
    return encode(REGISTER, REQUESTS[name].reply, {**RIGHT[name], **changes})


def most_bytes(kind: str) -> int:
    return limits_of(REGISTER[kind]).most_bytes


def ask(nodes, name: str = "alerts_query", asked=(1, 2)) -> tuple[dict, Traffic, Channel]:
    channel = Channel(FakeGrid(nodes), Traffic(), SIGNER)
    return channel.ask(asked, name, ASKED[name]), channel.traffic, channel


def test_requests_and_right_replies_of_every_kind_are_tried_here():
    assert set(ASKED) == set(RIGHT) == set(REQUESTS)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_right_reply_is_taken_and_one_for_something_else_is_counted_by_what_differs(name):
    found, traffic, _ = ask({1: says(reply_bytes(name)), 2: says(reply_bytes(name))}, name)
    assert found == {1: RIGHT[name], 2: RIGHT[name]} and not traffic.dropped
    tried = [field for field in RIGHT[name] if field in OTHERWISE]
    assert tried or name in OF_A_LIST, "every reply says what it is for"
    for field in tried:
        value, reason = OTHERWISE[field]
        nodes = {1: says(reply_bytes(name)), 2: says(reply_bytes(name, **{field: value}))}
        found, traffic, _ = ask(nodes, name)
        assert list(found) == [1] and traffic.dropped == {reason: 1}


def from_node(node, data: bytes, reply_to: str | None = None):
    """A node whose replies say that they are another's, or to another message."""

    def answer(message: Message) -> Message:
        reply = Message(with_wire(data), reply_to=message)
        reply.metadata.__dict__["_src_node_id"] = node
        if reply_to is not None:
            reply.metadata.__dict__["_reply_to_message_id"] = reply_to
        return reply

    return answer


@pytest.mark.parametrize("node", [999, 1, 2**64, -1, None, "2", 2.5, [2], {}])
def test_a_reply_from_whoever_was_not_asked_that_is_dropped(node):
    """Also one in the name of a node that was asked something else."""
    right = reply_bytes("alerts_query")
    found, traffic, _ = ask({1: says(right), 2: from_node(node, right)})
    assert list(found) == [1] and traffic.dropped == {"not_asked": 1} and traffic.received == {"alerts": 1}


@pytest.mark.parametrize("message_id", ["", "canary", None, 7, [], {}])
def test_a_reply_to_another_message_is_dropped(message_id):
    right = reply_bytes("alerts_query")

    def node(message: Message) -> Message:
        reply = says(right)(message)
        reply.metadata.__dict__["_reply_to_message_id"] = message_id
        return reply

    found, traffic, _ = ask({1: says(right), 2: node})
    assert list(found) == [1] and traffic.dropped == {"not_asked": 1}


def test_a_reply_to_an_earlier_message_is_dropped():
    """A node that was silent, and answers with the next message's reply."""
    kept: list[Message] = []

    def late(message: Message) -> list[Message]:
        kept.append(says(reply_bytes("alerts_query"))(message))
        return kept[:-1]

    channel = Channel(FakeGrid({1: late}), Traffic(), SIGNER)
    for expected in ({}, {"not_asked": 1}, {"not_asked": 3}):
        assert channel.ask([1], "alerts_query", ASKED["alerts_query"]) == {}
        assert channel.traffic.dropped == expected


def test_of_many_replies_the_first_counts_even_if_it_is_a_bad_one():
    right, bad = reply_bytes("alerts_query"), b"canary"

    def node(*datas: bytes):
        return lambda message: [says(data)(message) for data in datas]

    found, traffic, _ = ask({1: node(right, bad, right), 2: node(bad, right)})
    assert list(found) == [1] and traffic.dropped == {"twice": 3, "undecodable": 1}


@pytest.mark.parametrize("words", [encode(REGISTER, "deletion", {}), encode(REGISTER, "refusal", {"code": 10})])
def test_only_the_node_itself_says_that_its_device_is_gone(words):
    _, traffic, channel = ask({1: from_node(2, words), 2: says(reply_bytes("alerts_query"))})
    assert channel.still_here([1, 2, 3]) == [1, 2, 3] and traffic.dropped == {"not_asked": 1}
    _, traffic, channel = ask({1: from_node(3, words), 2: from_node(2, words)})
    assert channel.still_here([1, 2, 3]) == [1, 3]


def test_an_error_of_flower_s_own_counts_as_one_of_the_node_that_was_asked():
    def lost(message: Message) -> Message:
        reply = fails(message)
        reply.metadata.__dict__["_src_node_id"] = 1  # the SuperLink
        return reply

    def twice(message: Message) -> list[Message]:
        return [fails(message), says(reply_bytes("alerts_query"))(message)]

    found, traffic, _ = ask({1: lost, 2: lost})
    assert found == {} and traffic.dropped == {"error": 2}
    assert ask({1: twice, 2: twice})[1].dropped == {"error": 2, "twice": 2}


# ---- size and shape


def packed(array: np.ndarray) -> bytes:
    file = BytesIO()
    np.save(file, array, allow_pickle=array.dtype == object)
    return file.getvalue()


def claims(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """A numpy file whose header says what it likes."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data


RIGHT_BYTES = reply_bytes("alerts_query")
N = len(RIGHT_BYTES)
GOOD_HEADER = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({N},), }}"
FORMS = {
    "no record": RecordDict({}),
    "another record": RecordDict({"metrics": ConfigRecord({"loss": 0.5})}),
    "more records": RecordDict({"wire": with_wire(RIGHT_BYTES)["wire"], "canary": ConfigRecord({"a": 1})}),
    "no array": RecordDict({"wire": ArrayRecord({})}),
    "more arrays": RecordDict({"wire": ArrayRecord({"bytes": Array(np.zeros(1)), "canary": Array(np.zeros(1))})}),
    "another array": RecordDict({"wire": ArrayRecord({"canary": Array(np.frombuffer(RIGHT_BYTES, np.uint8))})}),
    "bytes in a config": RecordDict({"wire": ConfigRecord({"bytes": RIGHT_BYTES})}),
    "a number": RecordDict({"wire": MetricRecord({"bytes": 7})}),
}
ARRAYS = {
    "floats": packed(np.zeros(N)),
    "signed": packed(np.frombuffer(RIGHT_BYTES, np.int8)),
    "words": packed(np.frombuffer(RIGHT_BYTES + bytes(-N % 4), np.uint32)),
    "square": packed(np.frombuffer(RIGHT_BYTES, np.uint8)[None]),
    "scalar": packed(np.uint8(7)),
    "objects": packed(np.array([{"canary": 1}], object)),
    "text": packed(np.array("canary")),
    "nothing": b"",
    "no header": RIGHT_BYTES,
    "another version": claims(GOOD_HEADER, RIGHT_BYTES, b"\x02\x00"),
    "a longer header than is there": b"\x93NUMPY\x01\x00\xff\xff{}",
    "a header that says much": claims(GOOD_HEADER + " " * 300, RIGHT_BYTES),
    "a header of parentheses": claims("(" * 200, RIGHT_BYTES),
    "a header of minuses": claims("-" * 250 + "1", RIGHT_BYTES),
    "terabytes": claims(GOOD_HEADER.replace(f"({N},)", f"({1 << 42},)"), RIGHT_BYTES),
    "less than is there": claims(GOOD_HEADER, RIGHT_BYTES + b"\0"),
    "more than is there": claims(GOOD_HEADER, RIGHT_BYTES[:-1]),
    "a structure": claims(GOOD_HEADER.replace("'|u1'", "[('a', '|u1', (1000000,))]"), RIGHT_BYTES),
}


def carries(content: RecordDict | None):
    def node(message: Message) -> Message:
        reply = Message(RecordDict({}), reply_to=message)
        reply.__dict__["_content"] = content
        return reply

    return node


@pytest.mark.parametrize("content", [*FORMS.values(), None], ids=[*FORMS, "nothing at all"])
def test_another_form_is_dropped(content):
    found, traffic, _ = ask({1: says(RIGHT_BYTES), 2: carries(content)})
    assert list(found) == [1] and traffic.dropped == {"shape": 1}


@pytest.mark.parametrize("data", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("said", [("uint8", (N,)), ("float64", (1 << 60,))])
def test_what_an_array_says_of_itself_is_held_against_its_bytes(data, said):
    array = Array(dtype=said[0], shape=said[1], stype="numpy.ndarray", data=data)
    found, traffic, _ = ask({1: says(RIGHT_BYTES), 2: carries(RecordDict({"wire": ArrayRecord({"bytes": array})}))})
    assert list(found) == [1] and traffic.dropped == {"shape": 1}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_longest_reply_of_its_kind_fits_and_a_longer_one_is_not_even_looked_at(name):
    kind = REQUESTS[name].reply
    most = most_bytes(kind)
    for length, reason in ((most, "undecodable"), (most + 1, "oversized"), (most + 4096, "oversized")):
        _, traffic, _ = ask({1: says(bytes(length)), 2: says(reply_bytes(name))}, name)
        assert traffic.dropped == {reason: 1}
    if kind == "update":
        longest = reply_bytes(name, sealed=bytes(MAX_SEALED_BYTES))
        assert most - 8 <= len(longest) <= most
        assert ask({1: says(longest), 2: says(longest)}, name)[1].received == {"update": 2}


def test_short_replies_have_short_bounds():
    """Of what says nothing about behaviour, no reply of a device that holds no seat is longer than two keys, so nobody can send
    more."""
    short = [kind for kind in REGISTER.values() if kind.spends is Spends.NOTHING]
    of_seats = [kind for kind in short if "list_sha256" in kind.fields]
    assert {kind.name for kind in of_seats} == {REQUESTS[name].reply for name in OF_A_LIST}
    assert all(most_bytes(kind.name) < 100 for kind in short if kind not in of_seats and kind.name != "enrolment")
    assert most_bytes("enrolment") < 128
    assert most_bytes("alert_bit") < 100 < most_bytes("alerts") < 1 << 19


def test_nothing_is_allocated_for_what_a_reply_merely_claims():
    huge = Array(np.zeros(1 << 24, np.uint8))
    replies = [Message(RecordDict({"wire": ArrayRecord({"bytes": huge})}), 1, "train")]
    replies += [
        Message(RecordDict({"wire": ArrayRecord({"bytes": Array("uint8", (N,), "numpy.ndarray", data)})}), 1, "train")
        for data in ARRAYS.values()
    ]
    tracemalloc.start()
    try:
        reasons = [carried_bytes(reply, N) for reply in replies]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reasons[0] == "oversized" and set(reasons) == {"oversized", "shape"}
    assert peak < 1 << 20, "of 16 MB that were there, and of 4 TB that were not"


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda data: claims(GOOD_HEADER, data)))
@examples(200)
def test_whatever_bytes_an_array_has_the_reply_is_read_or_dropped(data):
    array = Array(dtype="uint8", shape=(len(data),), stype="numpy.ndarray", data=data)
    found, traffic, _ = ask({1: carries(RecordDict({"wire": ArrayRecord({"bytes": array})}))}, asked=(1,))
    assert len(found) + traffic.dropped.total() == 1


def test_nothing_of_a_dropped_reply_is_in_what_is_counted():
    canary = Error(code=1, reason="canary")
    nodes = {
        1: lambda message: Message(canary, reply_to=message),
        2: says(b"canary"),
        3: carries(FORMS["another record"]),
        4: from_node("canary", b"canary"),
    }
    _, traffic, _ = ask(nodes, asked=nodes)
    assert traffic.dropped.total() == 4 and "canary" not in repr(traffic.to_map())


# ---- with real devices


def test_a_real_device_s_receipt_is_for_the_plan_that_was_offered(tmp_path):
    device = open_device(tmp_path, make_profile(Consent.LOCAL, 1))
    federation = DeviceNodes(Channel(FakeGrid({1: device_node(1, device)}), Traffic(), SIGNER), [1])
    assert federation.offer(ASKED["model_offer"]) == 1 and not federation.traffic.dropped
    assert hashlib.sha256(PLAN.canonical).digest() == PLAN.sha256 == device._state.installed.plan.sha256
    liar = DeviceNodes(
        Channel(FakeGrid({1: says(reply_bytes("model_offer", plan_sha256=bytes(32)))}), Traffic(), SIGNER), [1]
    )
    assert liar.offer(ASKED["model_offer"]) == 0 and liar.traffic.dropped == {"plan": 1}
    device.close()
