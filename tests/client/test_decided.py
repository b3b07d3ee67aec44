"""Caps and policy are the device's: the app sets them, whoever opens it without any has those that are there."""

import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client import app
from client.answers import open_and_answer
from client.detection.alerts import NOT_TAKEN, Alert
from client.detection.policy import POLICY, Intervention, Policy, Segment
from client.detection.risk_levels import Direction, RiskLevel
from client.model.runtime import pinned_model
from client.privacy.caps import DAY_S, DEFAULT_LINES, MOST_DELTA, Cap, Caps, LedgerLine
from client.vault.consent import Consent, Decision
from client.vault.journal import DECISION
from client.vault.store import Store
from client.vault.vault import Limits, Vault
from shared.codec import decode, pack_floats
from shared.errors import ConfigError, Refusal, RefusalCode, VaultError, VaultNewer
from shared.messages import REGISTER
from tests.world.basics import NO_RISK, activity_theta, cheap_keys, make_plan, make_profile, open_device, ready
from tests.world.signing import signed_request

STRICT = Caps({**DEFAULT_LINES, LedgerLine.UPDATE: Cap(0.01, 0.01)})
N = Intervention.NOTHING
NOTHING = Policy([[[N] * 3] * 2] * 3)
PLAN = make_plan(privacy={"noise_multiplier": 4.0, "population": 64, "min_survivors": 32})

# Open with neither.
opened = partial(open_device, caps=None)


def decisions(device) -> list[dict]:
    return [dict(e.content) for e in device._vault.journal.entries() if e.kind == DECISION]


def test_what_the_app_set_holds_for_whoever_opens_the_device_and_is_in_the_journal(tmp_path):
    opened(tmp_path, make_profile(), caps=STRICT, policy=NOTHING).close()
    for _ in range(2):
        with opened(tmp_path) as device:
            assert device.gate.ledger.caps == STRICT and device._policy.plain() == NOTHING.plain()
            with pytest.raises(Refusal) as refused:
                device.install(PLAN, pinned_model(), activity_theta(), NO_RISK, 0)
            assert refused.value.code is RefusalCode.EPSILON
            assert decisions(device) == [{"caps": STRICT.plain()}, {"policy": NOTHING.plain()}]
            assert not device.what_left(), "a decision does not leave"
    with opened(tmp_path, caps=STRICT, policy=NOTHING) as device:
        assert len(decisions(device)) == 2, "said again, it is no decision"
    with opened(tmp_path, caps=Caps()) as device:
        assert device.gate.ledger.caps == Caps() and decisions(device)[2:] == [{"caps": Caps().plain()}]
        device.install(PLAN, pinned_model(), activity_theta(), NO_RISK, 0)
    with opened(tmp_path) as device:
        assert device.gate.ledger.caps == Caps() and device._policy.plain() == NOTHING.plain()


def test_a_device_that_nobody_set_anything_for_has_the_default_tables(tmp_path):
    for profile in (make_profile(), None):
        with opened(tmp_path, profile) as device:
            assert device.gate.ledger.caps == Caps() and device._policy.plain() == POLICY.plain()
            assert not decisions(device) and device._vault.get("caps") is None


def test_a_node_that_answers_the_server_has_the_app_s_caps(tmp_path, monkeypatch):
    """`client.app` opens the device under its data-dir, and passes none."""
    opened(tmp_path / "device", make_profile(), caps=STRICT).close()
    (tmp_path / "phrase").write_bytes(b"correct horse\n")
    monkeypatch.setattr(app, "FileKeys", partial(lambda folder, phrase: cheap_keys(folder, phrase)))
    context = SimpleNamespace(
        node_config={"data-dir": str(tmp_path / "device"), "passphrase-file": str(tmp_path / "phrase")}
    )
    monkeypatch.setattr(app.Device, "close_until", lambda *_: True)  # its calendar began in 1970
    fields = {"step": 3, "round": 0, "plan": PLAN.canonical, "model": b"", "risk": b""}
    data = signed_request("model_offer", {**fields, "theta": pack_floats(activity_theta())})
    out = open_and_answer(data, "model_offer", lambda: app.open_in_data_dir(context, data))
    assert decode(REGISTER, out) == ("refusal", {"code": int(RefusalCode.EPSILON)})


caps = st.builds(
    lambda pairs, total, delta, most, days, norm, survivors: Caps(
        dict(zip(LedgerLine, (Cap(*sorted(pair)) for pair in pairs), strict=True)),
        Cap(*sorted(total)),
        delta,
        most,
        days * DAY_S,
        norm,
        survivors,
    ),
    st.tuples(*[st.tuples(*[st.floats(0, math.inf)] * 2)] * len(LedgerLine)),
    st.tuples(*[st.floats(0, math.inf)] * 2),
    st.floats(1e-12, MOST_DELTA),
    st.integers(0, 2**31),
    st.integers(1, 1000),
    st.floats(1e-3, math.inf),
    st.integers(1, 2**62),
)


@given(caps, caps)
def test_caps_go_round_and_what_both_allow_is_no_more_than_either(one, other):
    assert Caps.of(one.plain()) == one
    both = one.stricter(other)
    assert both == other.stricter(one) == both.stricter(one)
    for of in (one, other):
        for line in LedgerLine:
            assert (both.epsilons(line) <= of.epsilons(line)).all()
        assert both.delta <= of.delta and both.period_s >= of.period_s and both.clip_norm <= of.clip_norm
        assert both.participations_per_plan <= of.participations_per_plan and both.survivors <= of.survivors


def test_a_line_without_a_cap_has_its_default_and_a_cap_on_an_unknown_line_is_a_later_app_s(tmp_path):
    fields = STRICT.plain()
    del fields["lines"][LedgerLine.PHI]
    assert Caps.of(fields) == STRICT, "as the default table says, whatever the others are"
    assert Caps.of({**Caps.none().plain(), "lines": {}}).lines == DEFAULT_LINES
    opened(tmp_path, make_profile(), caps=STRICT).close()
    vault = Vault(tmp_path, cheap_keys(tmp_path), Limits())
    with vault.writing("caps"):
        vault.put("caps", {**fields, "lines": {**fields["lines"], "sums": [1.0, 2.0]}})
    vault.close()
    for given_ in (None, Caps()):
        with pytest.raises(VaultNewer, match="caps of no line but"):
            opened(tmp_path, caps=given_)


def test_a_policy_of_a_later_app_is_not_guessed(tmp_path):
    opened(tmp_path, make_profile(), policy=NOTHING).close()
    vault = Vault(tmp_path, cheap_keys(tmp_path), Limits())
    with vault.writing("policy"):
        vault.put("policy", [[[99] * 3] * 2] * 3)
    vault.close()
    with pytest.raises(VaultNewer, match="interventions"):
        opened(tmp_path)


def test_caps_that_cannot_be_written_down_hold_where_they_are_tighter_and_not_where_they_are_looser(
    tmp_path, monkeypatch
):
    opened(tmp_path, make_profile(), caps=STRICT).close()
    mixed = replace(Caps(), clip_norm=0.25)

    def full(*_):
        raise VaultError("expected room")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_write_heads", full)
        with opened(tmp_path, caps=mixed, policy=NOTHING) as device:
            assert device.gate.ledger.caps == replace(STRICT, clip_norm=0.25) == STRICT.stricter(mixed)
            assert device._policy.plain() == NOTHING.plain() and device.problems["VaultError"] == 2
    with opened(tmp_path) as device:
        assert device.gate.ledger.caps == STRICT and device._policy.plain() == POLICY.plain()


def test_a_number_of_survivors_that_the_owner_lowers_holds_at_once(tmp_path):
    with opened(tmp_path, make_profile()) as device:
        device.install(PLAN, pinned_model(), activity_theta(), NO_RISK, 0)
        device.work(PLAN.sha256, activity_theta())
    with opened(tmp_path, caps=replace(Caps(), survivors=31)) as device, pytest.raises(Refusal) as refused:
        device.work(PLAN.sha256, activity_theta())
    assert refused.value.code is RefusalCode.SURVIVORS


@pytest.mark.parametrize("delta", [0.0, 0.5, 0.99, 1.1e-3, -1e-9, math.nan])
def test_a_delta_under_which_an_epsilon_says_nothing_is_no_cap(delta):
    with pytest.raises(ConfigError, match="delta"):
        Caps(delta=delta)
    assert Caps(delta=MOST_DELTA).delta == MOST_DELTA


def test_alerts_from_while_the_user_wished_local_are_not_told_though_the_wish_could_not_be_written(tmp_path):
    """The disk took `identified`, and not the `local` after it: what holds counts, not what is written."""
    profile = make_profile(Consent.IDENTIFIED)
    with open_device(tmp_path, profile) as device:
        ready(device, PLAN)
        device.gate.unwritten_decision = Decision(0.0, Consent.LOCAL)
        alert = Alert(Direction.FALL, 0, RiskLevel.LOW, 3, 0, Segment.LOW, Intervention.NOTHING)
        device._keep_alerts([(alert, NOT_TAKEN)])
        assert device.consent("identified") is Consent.IDENTIFIED and device.gate.unwritten_decision is None
        assert device.take_alerts(5) == []
