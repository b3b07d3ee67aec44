"""Pause, consent, budget and forget, as a server meets them: through bytes, with the client as shipped."""

import pytest

from client.app import answer
from client.caps import Caps
from client.consent import Consent
from shared.codec import decode, encode, pack_floats
from shared.errors import RefusalCode
from shared.messages import REGISTER, REQUESTS

from .conftest import activity_theta, open_device
from .fake_grid import context_of
from .test_client_app import PLAN, Phone, homes

__all__ = ["homes"]

QUERY, OTHER_QUERY = (encode(REQUESTS, "alerts_query", {"step": step}) for step in (3, 4))


def refused(code: RefusalCode) -> tuple[str, dict]:
    return "refusal", {"code": int(code)}


def test_every_refusal_is_in_the_journal_with_its_own_code(homes):
    phone = Phone(homes, "busy without a model")
    sent = [
        (b"canary", "alerts_query", RefusalCode.MALFORMED),
        (QUERY, "train_request", RefusalCode.UNDECLARED),
        (
            encode(
                REQUESTS,
                "train_request",
                {"step": 3, "round": 1, "plan_sha256": bytes(32), "theta": pack_floats(activity_theta())},
            ),
            "train_request",
            RefusalCode.PLAN_MISMATCH,
        ),
    ]
    for data, endpoint, code in sent:
        assert decode(REGISTER, phone.answer(data, endpoint)) == refused(code)
    with phone.open() as device:
        left = device.what_left()
        assert [entry.content["code"] for entry in left] == [int(code) for _, _, code in sent]
        device.pause()
    assert decode(REGISTER, phone.answer(QUERY, "alerts_query")) == refused(RefusalCode.PAUSED)
    with phone.open() as device:
        device.pause(False)
    assert decode(REGISTER, phone.answer(QUERY, "alerts_query"))[0] == "alerts"


def test_consent_that_is_revoked_takes_back_what_was_not_asked_yet_and_what_is_asked_again(homes):
    phone = Phone(homes, "busy and telling")
    told = decode(REGISTER, phone.answer(QUERY, "alerts_query"))[1]["alerts"]
    assert told and decode(REGISTER, phone.answer(QUERY, "alerts_query"))[1]["alerts"] == told
    with phone.open() as device:
        assert device.consent(Consent.LOCAL) is Consent.LOCAL
    for query in (QUERY, OTHER_QUERY):
        assert decode(REGISTER, phone.answer(query, "alerts_query"))[1]["alerts"] == []


def test_the_ledger_of_a_device_says_no_in_the_end(homes):
    """Default caps, noise multiplier 1: the first update is above what a period may cost."""
    phone = Phone(homes, "busy")
    request = encode(
        REQUESTS,
        "train_request",
        {"step": 3, "round": 2, "plan_sha256": PLAN.sha256, "theta": pack_floats(activity_theta())},
    )

    def open_capped(context, step):
        return open_device(phone.folder, caps=Caps(), entropy=lambda n: pytest.fail("computed what it cannot pay for"))

    assert decode(REGISTER, answer(request, "train_request", context_of(1), open_capped)) == refused(
        RefusalCode.PERIOD_BUDGET
    )
    assert decode(REGISTER, phone.answer(request, "train_request"))[0] == "update"


@pytest.mark.parametrize("restarted", [True, False])
def test_a_forgotten_device_says_so_once_and_then_refuses_every_round(homes, restarted):
    phone = Phone(homes, "busy and telling")
    device = phone.open()
    assert device.forget()
    open_again = (lambda context, step: device) if not restarted else (lambda context, step: phone.open())
    train = encode(
        REQUESTS,
        "train_request",
        {"step": 3, "round": 2, "plan_sha256": PLAN.sha256, "theta": pack_floats(activity_theta())},
    )
    answers = [
        decode(REGISTER, answer(data, name, context_of(1), open_again))
        for data, name in ((train, "train_request"), (QUERY, "alerts_query"), (train, "train_request"))
    ]
    assert answers == [("deletion", {}), refused(RefusalCode.FORGOTTEN), refused(RefusalCode.FORGOTTEN)]
