"""A helper as a Flower node: the bytes of a message in, the bytes of a reply out, whatever comes; and what a node is told."""

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from server.helper.answers import HANDLERS
from server.helper.app import build_app, helper_of
from shared.codec import decode
from shared.errors import ConfigError, RefusalCode
from shared.messages import REGISTER, REQUESTS
from tests.world.fake_grid import context_of, wire, with_wire
from tests.world.seats import FIRST_HELPER
from tests.world.signing import body_of, signed

from .housed import open_helper, world_with


def send(app, content: RecordDict, endpoint: str) -> tuple[str, dict]:
    message = Message(content, dst_node_id=5, message_type=endpoint)
    message.metadata.__dict__["_message_id"] = "1"
    return decode(REGISTER, wire(app(message, context_of(5))))


def test_a_round_goes_through_its_node(tmp_path):
    world, housed = world_with(tmp_path)
    app = build_app(lambda context, data: housed.helper)
    world.grid.nodes[FIRST_HELPER] = lambda message: app(message, context_of(FIRST_HELPER))
    total, _ = world.collect()
    np.testing.assert_array_equal(total, world.plain_sum(world.cohort))
    assert not world.traffic.dropped


def test_it_is_asked_at_every_endpoint_that_it_answers_and_at_no_other(tmp_path):
    helper = open_helper(tmp_path)
    app = build_app(lambda context, data: helper)
    for name in HANDLERS:
        said, fields = send(app, with_wire(b"canary"), REQUESTS[name].endpoint)
        assert (said, fields["code"]) == ("refusal", RefusalCode.SIGNATURE)
    data = signed(body_of("enrolment_query", {"epoch": 1}))
    assert send(app, with_wire(data), "query.enrolment")[0] == "enrolment"
    for name in set(REQUESTS) - set(HANDLERS):
        with pytest.raises(Exception, match=r"[Nn]o .*(registered|found|function)"):
            send(app, with_wire(data), REQUESTS[name].endpoint)


@pytest.mark.parametrize("content", [RecordDict({}), RecordDict({"wire": ConfigRecord({"bytes": b"canary"})})])
def test_a_message_of_another_form_is_refused_like_an_unsigned_one(tmp_path, content):
    helper = open_helper(tmp_path)
    said, fields = send(build_app(lambda context, data: helper), content, "query.total")
    assert (said, fields["code"]) == ("refusal", RefusalCode.SIGNATURE)


def test_a_node_is_told_where_it_keeps_things_and_whom_it_answers(tmp_path):
    right = {"data-dir": str(tmp_path / "h"), "server-key": "aa" * 32, "enrolment-key": "bb" * 32, "audience": "shop"}

    def opened(config: dict):
        return helper_of(Context(run_id=1, node_id=1, node_config=config, state=RecordDict(), run_config={}), b"")

    helper = opened(right)
    assert (helper.server_key, helper.enrolment_key, helper.audience) == (b"\xaa" * 32, b"\xbb" * 32, "shop")
    for missing in ("data-dir", "server-key", "enrolment-key"):
        with pytest.raises(ConfigError, match=missing):
            opened({name: value for name, value in right.items() if name != missing})
    for wrong in ("", "aa", "zz" * 32, "aa" * 33):
        with pytest.raises(ConfigError, match="server-key"):
            opened({**right, "server-key": wrong})
