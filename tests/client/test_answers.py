"""`answer`: an open device and the bytes of a request in, bytes of a reply out, as any transport would have them."""

import pytest

import client
from client.answers import HANDLERS, answer, open_and_answer
from shared.codec import decode, pack_floats
from shared.errors import RefusalCode
from shared.messages import REGISTER
from tests.world.basics import activity_theta, make_plan, make_profile, open_device, ready, view
from tests.world.enrolled import enrolled
from tests.world.signing import OTHER_PRIVATE_KEY, signed, signed_request

PLAN = make_plan()
THETA = pack_floats(activity_theta())
FIELDS = {
    "model_offer": {"step": 0, "round": 0, "plan": PLAN.canonical, "model": b"", "theta": THETA, "risk": b""},
    "train_request": {"step": 0, "round": 1, "plan_sha256": PLAN.sha256, "theta": THETA},
    "alerts_query": {"step": 1},
}


def refused(code: RefusalCode) -> tuple[str, dict]:
    return "refusal", {"code": int(code)}


def test_every_request_may_arrive_at_one_place(new_device):
    device = enrolled(new_device())
    replies = [answer(device, signed_request(name, fields)) for name, fields in FIELDS.items()]
    assert [decode(REGISTER, reply)[0] for reply in replies] == ["receipt", "update", "alerts"]
    assert [entry.kind for entry in device.what_left()] == ["receipt", "update", "alerts"]
    assert client.answer is answer and set(FIELDS) < set(HANDLERS)


@pytest.mark.parametrize("name", FIELDS)
def test_it_answers_as_one_that_opens_the_device_would(tmp_path, name):
    """An update is noise; asked again, it is the same bytes, from wherever."""
    with open_device(tmp_path, make_profile()) as device:
        said = answer(
            ready(device, PLAN) if name != "model_offer" else device, request := signed_request(name, FIELDS[name])
        )
        assert decode(REGISTER, said)[0] != "refusal"
    assert open_and_answer(request, name, lambda: open_device(tmp_path)) == said
    with open_device(tmp_path) as device:
        assert answer(device, request) == said == answer(device, request, name)


def test_what_is_wrong_is_refused_by_the_device_and_counted(new_device):
    device = ready(new_device(), PLAN)
    query = signed_request("alerts_query", FIELDS["alerts_query"])
    for data, expected, code in (
        (b"", None, RefusalCode.SIGNATURE),
        (None, None, RefusalCode.INTERNAL),
        (signed(b"nothing", key=OTHER_PRIVATE_KEY), None, RefusalCode.SIGNATURE),
        (signed(b"nothing"), None, RefusalCode.MALFORMED),
        (query, "train_request", RefusalCode.UNDECLARED),
        (query, "no such place", RefusalCode.UNDECLARED),
    ):
        assert decode(REGISTER, answer(device, data, expected)) == refused(code)
    assert sum(device.refused().values()) == 5 and device.record(view(0))


def test_a_device_that_is_closed_or_forgotten_still_has_an_answer(new_device):
    query = signed_request("alerts_query", FIELDS["alerts_query"])
    device, gone = ready(new_device(), PLAN), ready(new_device(), PLAN)
    device.close()
    assert decode(REGISTER, answer(device, query)) == refused(RefusalCode.INTERNAL)
    assert gone.forget()
    assert decode(REGISTER, answer(gone, query)) == ("deletion", {})
    assert decode(REGISTER, answer(gone, query)) == refused(RefusalCode.FORGOTTEN)
