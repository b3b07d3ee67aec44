"""The only door out: declared, consented to, paid for and written down before bytes; a breach becomes a bare refusal."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.answers import HANDLERS
from client.device import Device
from client.gate import declared
from client.privacy.caps import Caps, LedgerLine
from client.privacy.ledger import LIFETIME, PERIOD, Ledger
from client.refusals import bare_refusal
from client.vault.consent import Consent
from client.vault.journal import Journal
from client.vault.outbox import Outbox
from client.vault.store import Store
from client.vault.vault import Limits
from shared.clock import ReplayClock
from shared.codec import decode
from shared.errors import Refusal, RefusalCode, VaultFull, WireError
from shared.messages import REGISTER, REQUESTS
from shared.rdp import epsilon, update_cost
from shared.register.bounds import MAX_ALERTS
from shared.register.kinds import Spends
from shared.secure_sum.assembly import sent_bytes
from tests.world.basics import cheap_keys, make_plan, make_profile, open_device

ALERT = {"direction": 0, "category": 1, "level": 2, "step": 3, "model_round": 4}
CANARY = "canary-7f3a"
PLAN = make_plan(privacy={"noise_multiplier": 4.0, "min_survivors": 8})
COST = update_cost(PLAN.privacy, PLAN.network.n_parameters)
ASKED = bytes(range(32))


def update(round_number: int = 1) -> dict:
    sealed = np.arange(-(-sent_bytes(PLAN.sum, PLAN.updates[0]) // 4), dtype="<u4").tobytes()
    own = {"ephemeral": bytes(range(32)), "sealed": sealed, "signature": bytes(range(64))}
    return {"round": round_number, "plan_sha256": PLAN.sha256, **own}


def paid(device: Device, asked: bytes = ASKED, round_number: int = 1) -> bytes:
    return device.gate.release(asked, "update", update(round_number), COST, PLAN.sha256)


@pytest.fixture
def device(tmp_path):
    with open_device(tmp_path, make_profile(), caps=Caps()) as device:
        yield device


# ---- the form: register and consent


def test_without_consent_the_answer_is_that_of_a_device_that_saw_nothing():
    for consent in (Consent.LOCAL, Consent.RANDOMISED):
        busy = declared("alerts", {"step": 9, "alerts": [ALERT] * 5}, consent)
        assert busy == declared("alerts", {"step": 9, "alerts": []}, consent)
        assert decode(REGISTER, busy) == ("alerts", {"step": 9, "alerts": []})


def test_with_consent_the_alerts_themselves_leave():
    data = declared("alerts", {"step": 9, "alerts": [ALERT]}, Consent.IDENTIFIED)
    assert decode(REGISTER, data) == ("alerts", {"step": 9, "alerts": [ALERT]})


def test_a_bit_leaves_only_from_a_device_that_agreed_to_bits():
    bit = {"step": 9, "epsilon_micro": 1_000_000, "bit": 1}
    assert decode(REGISTER, declared("alert_bit", bit, Consent.RANDOMISED)) == ("alert_bit", bit)
    for consent in (Consent.LOCAL, Consent.IDENTIFIED):
        with pytest.raises(Refusal) as refused:
            declared("alert_bit", bit, consent)
        assert refused.value.code is RefusalCode.CONSENT


SEALED = {"round": 1, "plan_sha256": bytes(32), "ephemeral": bytes(32), "sealed": b"", "signature": bytes(64)}
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
    ("deletion", {"why": CANARY}),
    ("refusal", {"code": 99}),
    ("refusal", {"code": 1, "text": CANARY}),
    ("update", {"round": 1, "plan_sha256": bytes(32), "values": bytes(4)}),
    ("update", {**SEALED, "ephemeral": CANARY.encode()}),
    ("update", {**SEALED, "sealed": CANARY}),
    ("update", {**SEALED, "n_examples": 12}),
    ("seat_sum", {"list_sha256": bytes(32), "values": bytes(4), "signature": CANARY.encode()}),
    ("enrolment", {"epoch": 1, "identity": bytes(32), "seat": bytes(32), "secret": CANARY.encode()}),
]


@pytest.mark.parametrize(("name", "fields"), BREACHES)
def test_what_the_register_does_not_declare_becomes_a_refusal_without_text(tmp_path, name, fields):
    with open_device(tmp_path, make_profile(Consent.IDENTIFIED)) as device:
        data = device.gate.answer(ASKED, lambda: device.gate.release(ASKED, name, fields, COST, PLAN.sha256))
        assert decode(REGISTER, data) == ("refusal", {"code": int(RefusalCode.INTERNAL)})
        assert CANARY.encode() not in data
        assert not any(device.gate.ledger.releases.values()), "nothing was charged"
        assert [entry.kind for entry in device.what_left()] == ["refusal"]


@pytest.mark.parametrize("code", RefusalCode)
def test_a_refusal_is_its_code_and_nothing_else(device, code):
    data = device.gate.refuse(code)
    assert data == bare_refusal(code) == device.gate.decline(code)
    assert decode(REGISTER, data) == ("refusal", {"code": int(code)})
    assert len(data) == len(bare_refusal(RefusalCode.MALFORMED)) + (code > 23), (
        "CBOR spells larger numbers in two bytes"
    )


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(max_size=9),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=9), x, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(sorted(REGISTER)) | st.text(max_size=9),
    st.dictionaries(st.sampled_from(["step", "alerts", "round", "plan_sha256", "sealed", "code", "x"]), anything),
    st.sampled_from(Consent),
)
def test_the_form_is_declared_or_refused_whatever_comes(name, fields, consent):
    try:
        sent, answered = decode(REGISTER, declared(name, fields, consent))
    except Refusal:
        return
    assert sent == name
    assert sent != "alerts" or consent is Consent.IDENTIFIED or answered["alerts"] == []


# ---- the price: no release without a charge, one charge for the same request


def test_a_release_is_charged_journalled_and_in_the_outbox_before_its_bytes(device, tmp_path):
    data = paid(device)
    assert decode(REGISTER, data) == ("update", update())
    assert device.gate.ledger.releases["update"] == 1
    device.close()
    with open_device(tmp_path, caps=Caps()) as again:
        assert again.gate.ledger.releases["update"] == 1
        assert again.gate.ledger.epsilon(LIFETIME) == pytest.approx(float(epsilon(COST, 1e-5)))
        (entry,) = again.what_left()
        assert (entry.kind, entry.size_bytes) == ("update", len(data))
        assert entry.epsilon == pytest.approx(float(epsilon(COST, 1e-5)))
        assert again.gate.answer(ASKED, lambda: pytest.fail("asked again")) == data


def test_the_same_request_costs_nothing_more_and_another_one_does(device):
    first = paid(device)
    for _ in range(3):
        assert device.gate.answer(ASKED, lambda: paid(device)) == first
    assert device.gate.ledger.releases["update"] == 1 and len(device.what_left()) == 1
    assert device.gate.answer(bytes(32), lambda: paid(device, bytes(32), 2)) != first
    assert device.gate.ledger.releases["update"] == 2


def test_what_the_ledger_refuses_does_not_leave_and_is_in_the_journal(device):
    refused = []
    for round_number in range(20):
        asked = bytes([round_number]) * 32
        refused.append(decode(REGISTER, device.gate.answer(asked, lambda a=asked, r=round_number: paid(device, a, r))))
    codes = [fields["code"] for name, fields in refused if name == "refusal"]
    n = len(refused) - len(codes)
    assert 1 <= n <= 14 and set(codes) <= {RefusalCode.PERIOD_BUDGET, RefusalCode.PARTICIPATIONS}
    assert device.gate.ledger.releases["update"] == n
    left = Counter[str]()
    for entry in device.what_left():
        left[entry.kind] += entry.times
    assert left["update"] == n and sum(device.refused().values()) == 20 - n >= left["refusal"] >= (20 - n) / 2


def test_a_kind_without_a_line_or_a_cost_cannot_leave(device, monkeypatch):
    assert {kind.name for kind in REGISTER.values() if kind.charged} == set(LedgerLine), "a new kind needs a line"
    for cost, plan in ((None, PLAN.sha256), (COST, None), (-COST, PLAN.sha256), (COST[:3], PLAN.sha256)):
        with pytest.raises(Refusal) as refused:
            device.gate.release(ASKED, "update", update(), cost, plan)
        assert refused.value.code is RefusalCode.COST
    thoughtless = dataclasses.replace(REGISTER["receipt"], spends=Spends.EPSILON)
    monkeypatch.setattr("client.gate.REGISTER", {**REGISTER, "receipt": thoughtless})
    with pytest.raises(Refusal):
        device.gate.release(ASKED, "receipt", {"plan_sha256": bytes(32)}, COST)
    assert device.what_left() == [] and not any(device.gate.ledger.releases.values())


def test_every_kind_that_costs_says_which_round_or_step_it_is_for():
    assert all(kind.once_per in kind.fields for kind in REGISTER.values() if kind.charged)


def test_rules_of_a_kind_name_what_there_is():
    assert {kind.consent for kind in REGISTER.values()} - {""} <= set(Consent)
    assert all(kind.emptied in kind.fields for kind in REGISTER.values() if kind.emptied)
    assert {kind.reply for kind in REQUESTS.values()} == set(REGISTER) - {"deletion", "refusal"}
    assert len({kind.endpoint for kind in REQUESTS.values()}) == len(REQUESTS)
    assert set(HANDLERS) == set(REQUESTS), "a handler for each request"


def test_a_round_is_released_once_also_when_the_outbox_let_go_of_it(tmp_path):
    with open_device(tmp_path, make_profile(), caps=Caps(), limits=Limits(outbox_entries=1)) as device:
        for round_number in (1, 5):
            paid(device, bytes([round_number]) * 32, round_number)
        for again in (1, 3, 5):
            data = device.gate.answer(bytes(32), lambda r=again: paid(device, bytes(32), r))
            assert decode(REGISTER, data) == ("refusal", {"code": int(RefusalCode.STALE)})
        assert device.gate.ledger.releases["update"] == 2


def test_a_receipt_is_answered_anew_each_time(device):
    """It says nothing, and the model that it is a receipt for may have been replaced since."""
    answers = []
    for _ in range(2):
        device.gate.answer(
            ASKED, lambda: answers.append(1) or device.gate.release(ASKED, "receipt", {"plan_sha256": ASKED})
        )
    assert len(answers) == 2


def test_a_period_ends_when_two_clocks_agree_and_that_is_on_disk(tmp_path):
    period_s = Caps().period_s
    clock = ReplayClock(1e9)
    with open_device(tmp_path, dataclasses.replace(make_profile(), origin_s=9e8), caps=Caps(), clock=clock) as device:
        device.gate.meet(1e9)
        paid(device)
        before = device.gate.ledger
        device.gate.meet(1e9 + 2 * period_s)
        assert device.gate.ledger is before, "the device's own clock does not agree"
        clock.wait_until(1e9 + period_s + 5)
        device.gate.meet(1e9 + period_s + 10)
        assert device.gate.ledger.epsilon(PERIOD) == 0 < device.gate.ledger.epsilon(LIFETIME)
    with open_device(tmp_path, caps=Caps()) as again:
        assert again.gate.ledger.epsilon(PERIOD) == 0 < again.gate.ledger.epsilon(LIFETIME)


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs, no handler catches it."""


@pytest.mark.parametrize("where", ["ledger", "journal", "outbox", "commit", "anchor"])
def test_killed_at_any_point_of_a_release_there_is_all_of_it_or_nothing(tmp_path, monkeypatch, where):
    device = open_device(tmp_path, make_profile(), caps=Caps())

    def killed(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        target = {
            "ledger": (Store, "put"),
            "journal": (Journal, "add"),
            "outbox": (Outbox, "keep"),
            "commit": (Store, "_write_heads"),
            "anchor": (type(cheap_keys(tmp_path)), "advance"),
        }[where]
        patch.setattr(*target, killed)
        with pytest.raises(Killed):
            paid(device)
    device._vault.close()
    with open_device(tmp_path, caps=Caps()) as again:
        charged = again.gate.ledger.releases["update"]
        assert charged == len(again.what_left()) == (where == "anchor"), "committed, or never begun"
        again.gate.answer(ASKED, lambda: paid(again))
        assert again.gate.ledger.releases["update"] == 1, "one charge for one release, whatever happened"


def test_a_device_whose_journal_cannot_be_written_sends_nothing_but_a_refusal(device, monkeypatch):
    def full(*_, **__):
        raise VaultFull("expected room")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", full)
        data = device.gate.answer(ASKED, lambda: paid(device))
        assert data == bare_refusal(RefusalCode.INTERNAL)
        assert device.problems == {"VaultFull": 2}, "the release, and its refusal"
    assert device.gate.ledger.to_bytes() == Ledger.from_bytes(None, Caps()).to_bytes(), "what is on disk counts"
    assert decode(REGISTER, device.gate.answer(ASKED, lambda: paid(device)))[0] == "update"


def test_when_the_anchor_cannot_rise_bytes_wait_until_it_can(device, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(type(cheap_keys(tmp_path)), "advance", lambda *_: (_ for _ in ()).throw(OSError("no")))
        for _ in range(2):
            assert device.gate.answer(ASKED, lambda: paid(device)) == bare_refusal(RefusalCode.INTERNAL)
    assert device.gate.ledger.releases["update"] == 1, "spent, on disk, and handed over now:"
    assert decode(REGISTER, device.gate.answer(ASKED, lambda: pytest.fail("kept")))[0] == "update"
    assert device.gate.ledger.releases["update"] == 1


@pytest.mark.parametrize("error", [ValueError("canary 3.5"), OSError("canary"), MemoryError("canary"), WireError("c")])
def test_an_exception_becomes_a_code(device, error):
    def fail():
        raise error

    code = RefusalCode.MALFORMED if isinstance(error, WireError) else RefusalCode.INTERNAL
    assert device.gate.answer(ASKED, fail) == bare_refusal(code)
