"""What simulated owners decide: the same on disk as in the scenario; a plan that nobody would serve is refused at once."""

import math

import numpy as np
import pytest

from client.privacy.caps import DEFAULT_LINES, Cap, Caps, LedgerLine
from client.vault.consent import Consent
from shared.errors import ConfigError
from shared.events import Catalogue, Step
from shared.randomised_response import BitSchedule
from simulations.people.of_scenario import protocol_of
from simulations.people.setup import Crowd, Setup
from simulations.scenarios.config import SCENARIOS, load_scenario
from simulations.scenarios.owners import Owners, check_bits, check_caps
from simulations.scenarios.sections import CapsSection

#: Everybody in the data, where a scenario says so.
ALL = {"complete-journey": 2456, "online-retail-ii": 4718, "ta-feng": 30_859, "ta-feng-days": 30_859}
NAMES = sorted(file.stem for file in SCENARIOS.glob("*.toml"))


def plan_of(name: str, *overrides: str):
    scenario = load_scenario(name, overrides)
    n_users = scenario.data.users or ALL[scenario.data.name]
    return scenario, scenario.plan(protocol_of(scenario), Catalogue(("a", "b")), n_users, bytes(32))


@pytest.mark.parametrize("name", NAMES)
def test_every_scenario_that_comes_along_is_one_that_its_owners_allow(name):
    scenario, plan = plan_of(name)
    check_caps(plan, scenario.caps.caps())
    if bits := BitSchedule.of(plan.bits):
        check_bits(bits, scenario.caps.caps(), Step.DAY if scenario.data.name == "planted" else Step.WEEK)


@pytest.mark.parametrize("name", NAMES)
def test_caps_are_lifted_only_where_the_default_table_would_not_do(name):
    scenario, plan = plan_of(name)
    if scenario.caps == CapsSection():
        return
    with pytest.raises(ConfigError, match="owners' caps|caps.survivors allows"):
        check_caps(plan, Caps())
        if bits := BitSchedule.of(plan.bits):
            check_bits(bits, Caps(), Step.DAY)


def test_headline_scenarios_stay_under_the_default_table():
    for name in ("complete-journey-eps1", "online-retail-ii-eps1"):
        assert load_scenario(name).caps.caps() == Caps()
    demo = load_scenario("demo").caps.caps()
    assert demo == Caps({**DEFAULT_LINES, LedgerLine.ALERT_BIT: demo.lines[LedgerLine.ALERT_BIT]}), "but for its bits"


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["caps.participations_per_plan=0"], "number 1: caps.participations_per_plan is 0"),
        (["caps.survivors=9"], r"min_survivors <= 9, which caps.survivors allows, got \d+"),
        (["privacy.rounds=15"], "15 rounds of update, .* number 15: caps.participations_per_plan is 14"),
        (
            ["caps.update=[0.5, 9.0]"],
            r"number 6: epsilon of update would be 0.5\d+ in a period, caps.update allows 0.5",
        ),
        (["caps.update=[0.5, 0.5]"], "number 6: epsilon of update would be .* in a lifetime, caps.update allows 0.5"),
        (["caps.total=[0.1, 9.0]"], "number 1: epsilon of total would be 0.195 in a period, caps.total allows 0.1"),
        (
            ["caps.risk_update=[0.3, 2.0]"],
            "4 rounds of risk_update, .* number 1: epsilon of risk_update would be 0.354",
        ),
        (["caps.total=[0.9, 2.0]"], "rounds of risk_update, .* epsilon of total would be .*, caps.total allows 0.9"),
    ],
)
def test_a_plan_that_every_device_would_refuse_is_refused_with_the_cap(overrides, says):
    scenario, plan = plan_of("complete-journey-eps1", *overrides)
    with pytest.raises(ConfigError, match=says):
        check_caps(plan, scenario.caps.caps())


def test_with_sampling_only_the_first_round_is_sure_to_be_refused():
    """Devices that were drawn less often still take part in the others."""
    sampled = ["privacy.sampling_rate=0.2", "privacy.rounds=60", "privacy.steps_per_clip=1024"]
    scenario, plan = plan_of("demo", *sampled, "privacy.noise_multiplier=20.0")
    check_caps(plan, scenario.caps.caps())
    with pytest.raises(
        ConfigError, match="number 1: epsilon of update would be 4.74 in a period, caps.update allows 4.5"
    ):
        check_caps(plan_of("demo", *sampled, "privacy.noise_multiplier=1.0")[1], Caps())


def test_bits_beyond_the_owners_caps_are_refused_and_say_what_is_paid_for():
    check_bits(BitSchedule(1_000_000, 13), Caps(), Step.WEEK)
    with pytest.raises(ConfigError, match="pay for epsilon 1 every 13 steps; got epsilon 2 every 13 steps"):
        check_bits(BitSchedule(2_000_000, 13), Caps(), Step.WEEK)
    with pytest.raises(ConfigError, match="got epsilon 1 every 4 steps"):
        check_bits(BitSchedule(1_000_000, 4), Caps(), Step.WEEK)
    mute = Caps({**DEFAULT_LINES, LedgerLine.ALERT_BIT: Cap(0.0, 0.0)})
    with pytest.raises(ConfigError, match="pay for no bit"):
        check_bits(BitSchedule(1_000_000, 13), mute, Step.WEEK)


def test_overrides_replace_single_caps_of_the_table():
    caps = load_scenario(
        "complete-journey-eps1", ["caps.update=[1.0, inf]", "caps.participations_per_plan=3", "caps.survivors=400"]
    ).caps.caps()
    lines = {**DEFAULT_LINES, LedgerLine.UPDATE: Cap(1.0, math.inf)}
    assert caps == Caps(lines, participations_per_plan=3, survivors=400)
    lifted = load_scenario("complete-journey-eps7", ["caps.alert_bit=[2.0, 8.0]"]).caps.caps()
    assert lifted.lines[LedgerLine.ALERT_BIT] == Cap(2.0, 8.0) and lifted.total == Caps.none().total
    with pytest.raises(ConfigError, match="0 <= period <= lifetime, got 2.0 and 1.0"):
        load_scenario("demo", ["caps.total=[2.0, 1.0]"]).caps.caps()


@pytest.mark.parametrize("caps", [Caps(), Caps.none(), Caps(total=Cap(1.0, math.inf), participations_per_plan=2)])
def test_owners_are_read_as_they_were_written(tmp_path, caps):
    owners = Owners.draw(1000, 0.3, 0.2, caps, seed=4)
    files = tmp_path / "consents", tmp_path / "caps"
    owners.save(*files)
    again = Owners.load(*files)
    assert again.caps == caps
    np.testing.assert_array_equal(again.consents, owners.consents)
    shares = {consent: float(again.who(consent).mean()) for consent in Consent}
    assert shares[Consent.IDENTIFIED] == pytest.approx(0.3, abs=0.05)
    assert shares[Consent.RANDOMISED] == pytest.approx(0.2, abs=0.05)
    assert [again.consent_of(u) for u in np.flatnonzero(again.who(Consent.RANDOMISED))[:3]] == [Consent.RANDOMISED] * 3


def test_who_is_identified_does_not_depend_on_how_many_are_randomised():
    few, many = (Owners.draw(500, 0.3, share, Caps(), seed=1) for share in (0.0, 0.7))
    np.testing.assert_array_equal(few.who(Consent.IDENTIFIED), many.who(Consent.IDENTIFIED))
    assert not few.who(Consent.RANDOMISED).any() and not many.who(Consent.LOCAL).any()


def test_more_consents_than_users_are_a_clear_error():
    scenario = load_scenario("demo", ["simulation.identified_share=0.6", "simulation.randomised_share=0.5"])
    with pytest.raises(ConfigError, match="identified_share .* summed_share <= 1, got 0.6, 0.5 and 0"):
        Setup.of(scenario, Crowd(10, Catalogue(("a",)))).owners()
