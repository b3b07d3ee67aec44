"""The only door out: consent decides about alerts, the register about everything, and a breach becomes a bare refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.consent import Consent
from client.gate import Gate
from shared.codec import decode
from shared.errors import Refusal, RefusalCode
from shared.messages import MAX_ALERTS, REGISTER

ALERT = {"direction": 0, "category": 1, "level": 2, "step": 3, "model_round": 4}
CANARY = "canary-7f3a"


def test_without_consent_the_answer_is_that_of_a_device_that_saw_nothing():
    silent = Gate(Consent.LOCAL)
    busy = silent.release("alerts", {"step": 9, "alerts": [ALERT] * 5})
    assert busy == silent.release("alerts", {"step": 9, "alerts": []})
    assert decode(REGISTER, busy) == ("alerts", {"step": 9, "alerts": []})


def test_with_consent_the_alerts_themselves_leave():
    data = Gate(Consent.IDENTIFIED).release("alerts", {"step": 9, "alerts": [ALERT]})
    assert decode(REGISTER, data) == ("alerts", {"step": 9, "alerts": [ALERT]})


def test_local_is_the_default_and_there_are_only_two_answers():
    assert [str(c) for c in Consent] == ["local", "identified"]
    with pytest.raises(ValueError):
        Consent("everything")


REFUSED = ("refusal", {"code": int(RefusalCode.INTERNAL)})
BREACHES = [
    ("diagnostics", {"text": CANARY}),
    ("alerts_query", {"step": 1}),
    ("alerts", {"step": 1}),
    ("alerts", {"step": 1, "alerts": [], "note": CANARY}),
    ("alerts", {"step": 1, "alerts": [{**ALERT, "score": 0.25}]}),
    ("alerts", {"step": 1, "alerts": [{**ALERT, "category": CANARY}]}),
    ("alerts", {"step": 1, "alerts": [ALERT] * (MAX_ALERTS + 1)}),
    ("alerts", {"step": 1, "alerts": None}),
    ("alerts", {"step": CANARY, "alerts": []}),
    ("receipt", {"plan_sha256": CANARY.encode()}),
    ("receipt", {}),
    ("refusal", {"code": 99}),
    ("refusal", {"code": 1, "text": CANARY}),
    ("update", {"round": 1, "plan_sha256": bytes(32), "values": CANARY.encode()}),
    ("update", {"round": 1, "plan_sha256": bytes(32), "values": bytes(4), "n_examples": 12}),
]


@pytest.mark.parametrize(("name", "fields"), BREACHES)
def test_what_the_register_does_not_declare_becomes_a_refusal_without_text(name, fields):
    data = Gate(Consent.IDENTIFIED).release(name, fields)
    assert decode(REGISTER, data) == REFUSED
    assert CANARY.encode() not in data


@pytest.mark.parametrize("code", RefusalCode)
def test_a_refusal_is_its_code_and_nothing_else(code):
    data = Gate(Consent.LOCAL).refuse(Refusal(code))
    assert decode(REGISTER, data) == ("refusal", {"code": int(code)})
    assert len(data) == len(Gate(Consent.LOCAL).refuse(Refusal(RefusalCode.MALFORMED)))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=9),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=9), x, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(sorted(REGISTER)) | st.text(max_size=9),
    st.dictionaries(st.sampled_from(["step", "alerts", "round", "plan_sha256", "values", "code", "x"]), anything),
    st.sampled_from(Consent),
)
def test_the_gate_never_raises_and_whatever_it_returns_is_declared(name, fields, consent):
    sent, answered = decode(REGISTER, Gate(consent).release(name, fields))
    assert sent == name or (sent, answered) == REFUSED
    if sent == "alerts" and consent is Consent.LOCAL:
        assert answered["alerts"] == []


def test_the_gate_counts_what_it_released():
    gate = Gate(Consent.LOCAL)
    sent = [
        gate.release("alerts", {"step": 9, "alerts": []}),
        gate.release("nothing", {}),
        gate.refuse(Refusal(RefusalCode.CONSENT)),
    ]
    assert gate.released == {"alerts": 1, "refusal": 2}
    assert gate.released_bytes == sum(map(len, sent))
