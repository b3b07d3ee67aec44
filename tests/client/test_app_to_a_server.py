"""Pause, consent, budget and forget, as a server meets them: through bytes, with the client as shipped."""

import pytest

from client.answers import open_and_answer
from client.privacy.alert_bit import own_schedule
from client.privacy.caps import Caps
from client.vault.consent import Consent
from shared.codec import decode, pack_floats
from shared.errors import RefusalCode
from shared.events import Step
from shared.messages import REGISTER
from tests.world.basics import activity_theta, open_device
from tests.world.client_requests import COEFFICIENTS, PLAN
from tests.world.fake_grid import context_of
from tests.world.phones import CANARIES, Phone, homes
from tests.world.signing import OTHER_PRIVATE_KEY, signed, signed_request
from tests.world.spellings import spelled

__all__ = ["homes"]

PROFILE_STEP_S = Step.DAY.seconds

QUERY, OTHER_QUERY = (signed_request("alerts_query", {"step": step}) for step in (3, 4))


def refused(code: RefusalCode) -> tuple[str, dict]:
    return "refusal", {"code": int(code)}


def test_every_refusal_is_in_the_journal_with_its_own_code(homes):
    phone = Phone(homes, "busy without a model")
    sent = [
        (b"canary", "alerts_query", RefusalCode.SIGNATURE),
        (signed(b"canary"), "alerts_query", RefusalCode.MALFORMED),
        (QUERY, "train_request", RefusalCode.UNDECLARED),
        (signed(spelled(["diagnostics_request", 1, {}])), "alerts_query", RefusalCode.UNDECLARED),
        (
            signed(spelled(["alerts_query", 1, {"step": 3, "why": "canary"}])),
            "alerts_query",
            RefusalCode.MALFORMED,
        ),
        (
            signed_request(
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


@pytest.mark.parametrize(
    ("name", "reply", "code"),
    [
        ("train_request", "update", RefusalCode.PERIOD_BUDGET),
        ("risk_request", "risk_update", RefusalCode.LIFETIME_BUDGET),
    ],
)
def test_the_ledger_of_a_device_says_no_in_the_end(homes, name, reply, code):
    """Default caps, noise multiplier 1: the first update is above what a period may cost, phi's above a lifetime's."""
    phone = Phone(homes, "busy")
    theta = pack_floats(activity_theta())
    fields = {"step": 3, "round": 2, "plan_sha256": PLAN.sha256, "theta": theta}
    request = signed_request(name, {**fields, **(COEFFICIENTS if name == "risk_request" else {})})

    def open_capped(context, data):
        return open_device(phone.folder, caps=Caps(), entropy=lambda n: pytest.fail("computed what it cannot pay for"))

    assert decode(REGISTER, open_and_answer(request, name, lambda: open_capped(context_of(1), request))) == refused(
        code
    )
    sent = phone.answer(request, name)
    assert decode(REGISTER, sent)[0] == reply
    assert phone.answer(request, name) == sent, "asked again: the same bytes, at no cost"
    with phone.open() as device:
        (entry,) = (entry for entry in device.what_left() if entry.kind == reply)
        assert entry.epsilon > 0


@pytest.mark.parametrize("restarted", [True, False])
def test_a_forgotten_device_says_so_once_and_then_refuses_every_round(homes, restarted):
    phone = Phone(homes, "busy and telling")
    device = phone.open()
    assert device.forget()
    open_again = (lambda context, data: device) if not restarted else (lambda context, data: phone.open())
    train = signed_request(
        "train_request",
        {"step": 3, "round": 2, "plan_sha256": PLAN.sha256, "theta": pack_floats(activity_theta())},
    )
    for stranger in (b"canary", signed(b"canary", key=OTHER_PRIVATE_KEY)):
        out = open_and_answer(stranger, "train_request", lambda data=stranger: open_again(context_of(1), data))
        assert decode(REGISTER, out) == refused(RefusalCode.SIGNATURE), "and the notice is still due"
    answers = [
        decode(REGISTER, open_and_answer(data, name, lambda data=data: open_again(context_of(1), data)))
        for data, name in ((train, "train_request"), (QUERY, "alerts_query"), (train, "train_request"))
    ]
    assert answers == [("deletion", {}), refused(RefusalCode.FORGOTTEN), refused(RefusalCode.FORGOTTEN)]


def bits_query(step: int, epsilon_micro: int, every_steps: int) -> bytes:
    fields = {"step": step, "epsilon_micro": epsilon_micro, "every_steps": every_steps}
    return signed_request("bits_query", fields)


def test_a_bit_goes_out_at_its_step_once_paid_for_and_only_from_who_agreed(homes):
    own = own_schedule(Caps(), PROFILE_STEP_S)
    step = own.every_steps - 1
    due = bits_query(step, own.epsilon_micro, own.every_steps)
    wishes = [
        bits_query(step - 1, own.epsilon_micro, own.every_steps),
        bits_query(step, own.epsilon_micro + 1, own.every_steps),
    ]
    for life in ("busy", "light", "empty"):
        phone = Phone(homes, life)

        def opened(context, data, phone=phone):
            return open_device(phone.folder, caps=Caps())

        def ask(data, opened=opened):
            return open_and_answer(data, "bits_query", lambda: opened(context_of(1), data))

        assert decode(REGISTER, ask(due)) == refused(RefusalCode.CONSENT)
        with phone.open() as device:
            device.consent(Consent.RANDOMISED)
        first = ask(due)
        name, fields = decode(REGISTER, first)
        assert name == "alert_bit" and fields["step"] == step and fields["bit"] in (0, 1)
        assert all(ask(due) == first for _ in range(5)), "one coin: asked again, it is not thrown again"
        assert [decode(REGISTER, ask(wish)) for wish in wishes] == [
            refused(RefusalCode.SCHEDULE),
            refused(RefusalCode.BIT_EPSILON),
        ]
        with opened(None, None) as device:
            assert device.gate.ledger.releases["alert_bit"] == 1
            assert [e.kind for e in device.what_left()] == ["refusal", "alert_bit", "refusal", "refusal"]


@pytest.mark.parametrize("asked_before", [True, False])
def test_alerts_stay_with_their_device_and_consent_tells_from_now_on(homes, asked_before):
    """A query that told none of them takes none of them away, from the user or from the bit."""
    phone = Phone(homes, "busy")
    with phone.open() as device:
        seen = device.alerts()
    assert seen
    if asked_before:
        for query in (QUERY, OTHER_QUERY):
            phone.answer(query, "alerts_query")
    with phone.open() as device:
        assert device.alerts() == seen
        assert device.consent(Consent.IDENTIFIED) is Consent.IDENTIFIED
    later = signed_request("alerts_query", {"step": 5})
    assert decode(REGISTER, phone.answer(later, "alerts_query"))[1]["alerts"] == [], "told from now on, not the past"


def test_nothing_recorded_is_in_the_journal(homes):
    """After an answer of every kind: no amount and no time of an event, in any spelling, in what the user can export."""
    phone = Phone(homes, "busy and telling")
    theta = pack_floats(activity_theta())
    for name, fields in (
        ("model_offer", {"step": 3, "round": 1, "plan": PLAN.canonical, "model": b"", "theta": theta, "risk": b""}),
        ("train_request", {"step": 3, "round": 2, "plan_sha256": PLAN.sha256, "theta": theta}),
        ("risk_request", {"step": 3, "round": 3, "plan_sha256": PLAN.sha256, "theta": theta, **COEFFICIENTS}),
        ("alerts_query", {"step": 19}),
        ("bits_query", {"step": 6, "epsilon_micro": 1, "every_steps": 7}),
    ):
        phone.answer(signed_request(name, fields), name)
    phone.answer(b"canary", "train_request")
    with phone.open() as device:
        entries = device.what_left()
    assert {entry.kind for entry in entries} == {"receipt", "update", "risk_update", "alerts", "refusal"}
    exported = spelled([[value for value in vars(entry).values()] for entry in entries]) + repr(entries).encode()
    assert not [canary for canary in CANARIES if canary in exported]
    updates = [entry for entry in entries if entry.kind in ("update", "risk_update")]
    assert len(updates) == 2 and all(update.epsilon > 0 for update in updates)
    assert set(updates[0].content["sealed"]) == {"size_bytes", "sha256"}, "the body of an update is kept as its hash"
