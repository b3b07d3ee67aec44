"""What a scenario says of sums besides training, as a plan has it, and what they cost together."""

from pathlib import Path

import pytest

from server.privacy.accounting import epsilon_to_public
from shared.charges import charges_of
from shared.errors import BudgetError, ConfigError
from shared.events import Catalogue
from simulations.federation.checks import check_setup
from simulations.people.setup import Crowd, Setup
from simulations.scenarios.config import SCENARIOS, load_scenario
from simulations.scenarios.sections import noise_for

PEOPLE = Crowd(2000, Catalogue(tuple("abcdefgh")))
ON = ["evaluation.every_steps=28", "counts.every_steps=28"]


#: The demo, but for the sums that it asks for itself.
QUIET = ["evaluation.every_steps=0", "counts.every_steps=0", "evaluation.answering=0.4", "counts.answering=0.4"]


def plan_with(*overrides, name="demo"):
    return Setup.of(load_scenario(name, [*QUIET, *overrides]), PEOPLE).plan


def test_nothing_is_asked_for_unless_a_scenario_says_so():
    assert plan_with().queries == () and plan_with("evaluation.every_steps=1000").queries == ()


def test_each_section_is_a_part_of_the_plan():
    evaluation, counts = plan_with(*ON).queries
    assert (evaluation.recipe, evaluation.number("rows"), evaluation.number("history_steps")) == ("evaluation", 64, 28)
    assert (counts.recipe, counts.number("categories"), counts.n_values) == ("alert_counts", 8, 48)
    for query in (evaluation, counts):
        privacy = query.privacy
        assert privacy.rounds == 2 and query.every_steps == 28 and privacy.sampling_rate == 1
        assert privacy.max_colluders == 100 and 100 < privacy.min_survivors < 0.4 * 2000
    assert plan_with(*ON, "evaluation.history_steps=5").queries[0].number("history_steps") == 5


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 2.0])
def test_each_sum_costs_what_its_section_says_and_hardly_less(epsilon):
    row = charges_of(plan_with("evaluation.every_steps=100", f"evaluation.epsilon={epsilon}"))[-1]
    assert row.line == "alert_bit" or row.line == "evaluation"
    rows = [row for row in charges_of(plan_with(ON[0], f"evaluation.epsilon={epsilon}")) if row.line == "evaluation"]
    one = epsilon_to_public((type(rows[0])(rows[0].mechanism, 1),), 1e-5)
    assert 0.99 * epsilon < one <= epsilon
    assert noise_for(epsilon, 1e-5) == rows[0].privacy.noise_multiplier


def test_a_multiplier_that_is_given_stands():
    assert plan_with(ON[0], "evaluation.noise_multiplier=3.5").queries[0].privacy.noise_multiplier == 3.5


def test_what_is_asked_for_is_within_the_epsilon_that_a_scenario_promises():
    """A scenario that says 1 is 1 with all that it asks for, or it is no scenario."""
    quiet = [
        "privacy.noise_multiplier=40.0",
        "risk.noise_multiplier=20.0",
        "caps.table=none",
        "evaluation.every_steps=4",
    ]
    setup = Setup.of(load_scenario("complete-journey-eps1", [*quiet, "evaluation.epsilon=0.3"]), PEOPLE)
    check_setup(setup)
    assert epsilon_to_public(charges_of(setup.plan), setup.plan.privacy.delta) <= 1
    too_much = Setup.of(load_scenario("complete-journey-eps1", [*quiet, "evaluation.epsilon=0.9"]), PEOPLE)
    with pytest.raises(BudgetError, match="of evaluation"):
        check_setup(too_much)


@pytest.mark.parametrize("file", sorted(SCENARIOS.glob("*.toml")), ids=lambda file: file.stem)
def test_every_scenario_that_comes_along_keeps_what_it_promises(file: Path):
    scenario = load_scenario(file.stem)
    plan = Setup.of(scenario, PEOPLE).plan
    assert epsilon_to_public(charges_of(plan), plan.privacy.delta) <= plan.privacy.max_epsilon


def test_more_than_the_owners_pay_for_is_refused_by_name():
    setup = Setup.of(load_scenario("demo", ["counts.every_steps=7"]), PEOPLE)
    with pytest.raises(ConfigError, match=r"9 rounds of alert_counts.*caps\.alert_counts"):
        check_setup(setup)
    check_setup(Setup.of(load_scenario("demo", ON), PEOPLE))


@pytest.mark.parametrize("wrong", ["answering=0.0", "answering=2.0", "epsilon=0.0", "every_steps=-1", "nothing=1"])
def test_what_is_out_of_range_is_refused(wrong):
    with pytest.raises(ConfigError, match="evaluation"):
        load_scenario("demo", [f"evaluation.{wrong}"])


def test_the_demo_asks_for_both():
    assert [query.recipe for query in Setup.of(load_scenario("demo"), PEOPLE).plan.queries] == [
        "evaluation",
        "alert_counts",
    ]


def test_shares_of_owners_are_those_of_the_same_seed_whoever_sums():
    def consents(*more):
        shares = ["simulation.identified_share=0.3", "simulation.randomised_share=0.2", *more]
        return Setup.of(load_scenario("demo", shares), PEOPLE).owners().consents

    before, after = (consents(f"simulation.summed_share={share}") for share in (0.0, 0.3))
    assert (before[after != 3] == after[after != 3]).all() and set(before[after == 3].tolist()) == {0}
    assert 0.25 < (after == 3).mean() < 0.35
    with pytest.raises(ConfigError, match="summed_share"):
        consents("simulation.summed_share=0.6")
