"""The register itself: what may leave is a short, closed list, and every field of it is explained."""

import dataclasses

import pytest

from shared.errors import RefusalCode
from shared.messages import REGISTER, REQUESTS
from shared.register.bounds import MAX_ALERTS
from shared.register.kinds import Bytes, Int, ListOf, Spends, Text
from shared.register.recipes import RECIPES


def test_what_may_leave_a_device_is_this_and_nothing_else():
    """Whoever adds a message or a field must change this test too, and answer for it."""
    assert {name: set(kind.fields) for name, kind in REGISTER.items()} == {
        **{key: {"round", "plan_sha256", "ephemeral", "sealed", "signature"} for key in RECIPES},
        "enrolment": {"epoch", "identity", "seat"},
        "epoch_receipt": {"epoch"},
        "opinion": {"list_sha256", "refused", "tests"},
        "seat_sum": {"list_sha256", "values", "signature"},
        "alerts": {"step", "alerts"},
        "alert_bit": {"step", "epsilon_micro", "bit"},
        "receipt": {"plan_sha256"},
        "deletion": set(),
        "refusal": {"code"},
    }
    assert set(RECIPES) == {"update", "risk_update", "crowd", "curvature", "head_update", "evaluation", "alert_counts"}
    alert = REGISTER["alerts"].fields["alerts"].type
    assert set(alert.fields) == {"direction", "category", "level", "step", "model_round"}
    assert alert.most == MAX_ALERTS
    refusal = REGISTER["refusal"].fields["code"].type
    assert (refusal.low, refusal.high) == (min(RefusalCode), max(RefusalCode))


@pytest.mark.parametrize("name", ["update", "risk_update", "alerts", "alert_bit"])
def test_what_says_something_cannot_be_declared_to_spend_nothing(name):
    with pytest.raises(ValueError, match=f"{name}: expected fields that say nothing"):
        dataclasses.replace(REGISTER[name], spends=Spends.NOTHING)
    with pytest.raises(ValueError, match="expected a consent"):
        dataclasses.replace(REGISTER[name], spends=Spends.OUTSIDE_EPSILON, consent="")


@pytest.mark.parametrize("register", [REGISTER, REQUESTS], ids=["register", "requests"])
def test_every_field_is_bounded_and_explained(register):
    def check(fields):
        for field in fields.values():
            assert field.sensitivity and field.purpose
            if isinstance(field.type, Text):
                assert register is REQUESTS and field.type.high > 0, "no text leaves a device"
                continue
            assert isinstance(field.type, Int | Bytes | ListOf), "no floating-point number, nothing unbounded"
            if isinstance(field.type, ListOf):
                assert field.type.most > 0
                check(field.type.fields)
            else:
                assert field.type.low <= field.type.high

    for name, kind in register.items():
        assert kind.name == name and kind.cost and kind.purpose
        check(kind.fields)


def test_every_request_is_for_an_audience_and_those_of_a_plan_are_of_a_run():
    for name, kind in REQUESTS.items():
        assert "audience" in kind.fields
        offered = name in ("model_offer", "heads_offer")
        assert ("run" in kind.fields) == (offered or REGISTER[kind.reply].spends is Spends.PARTICIPATION)


def test_what_a_sum_costs_holds_if_a_helper_is_honest_and_a_coin_needs_nobody():
    found = {name: kind.condition for name, kind in REGISTER.items() if kind.condition}
    assert found == dict.fromkeys(RECIPES, "if a helper, or enough of the seats, are honest")


def test_the_register_cannot_be_changed_by_whoever_holds_it():
    with pytest.raises(TypeError):
        REGISTER["diagnostics"] = REGISTER["update"]
    with pytest.raises(TypeError):
        REGISTER["update"].fields["loss"] = REGISTER["update"].fields["round"]
