"""The answer of a population: rules at as many contacts as the devices', on any population however small."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from client.detection.risk_levels import Direction
from simulations.evaluation import answer as the
from simulations.evaluation.alert_quality import turns_of
from simulations.evaluation.contacts import Limits
from simulations.evaluation.ground_truth import Turns, first_in_time
from simulations.evaluation.result_tables import Answer, Price
from simulations.federation.alert_table import Alerts
from simulations.people.labelled_rows import history_of
from simulations.people.planted import plant
from simulations.people.population import Population
from simulations.people.setup import Setup
from simulations.report.answer_words import answer_in_words
from simulations.report.report import render
from simulations.scenarios.config import load_scenario
from tests.world.answers import PRICE
from tests.world.run_results import make_results

N_STEPS = 210  #: so that what follows the last alert step is known


@cache
def people(users: int = 700, categories: int = 12) -> Population:
    return plant(users, N_STEPS, seed=3, n_categories=categories)


def setup_of(population: Population) -> Setup:
    scenario = load_scenario(
        "demo", [f"data.users={population.n_users}", "privacy.noise_multiplier=0.0", "privacy.max_epsilon=inf"]
    )
    return Setup.of(scenario, population)


def falls_of(*columns: list[int]) -> Alerts:
    user, step, category = (np.array(column, np.int64) for column in columns)
    return Alerts(user, step, np.full_like(user, Direction.FALL), category, np.zeros_like(user))


def perfect(population: Population, setup: Setup) -> Alerts:
    """One alert at the beginning of every turn, as nobody can raise them."""
    turns, _ = turns_of(population, history_of(population), setup, Direction.FALL)
    return falls_of(turns.user.tolist(), turns.first.tolist(), turns.category.tolist())


def answer(population: Population, falls: Alerts) -> Answer:
    return the.answer_of(population, history_of(population), setup_of(population), [falls], Price(**PRICE))


def test_rules_make_as_many_contacts_as_ours_within_the_same_limits() -> None:
    population, setup = people(), setup_of(people())
    limits, found = Limits.of(setup.plan.detection), the.rule_contacts(history_of(population), setup, 60)
    assert set(found) == {the.AVERAGE, the.TWO_WINDOWS, the.SILENCE, the.OWN_SILENCE, the.BG_NBD}
    for alerts in found.values():
        assert len(alerts) == pytest.approx(60, abs=2)
        assert setup.protocol.alert_steps[0] <= alerts.step.min() <= alerts.step.max() <= setup.protocol.alert_steps[1]
        for user, category in set(zip(alerts.user.tolist(), alerts.category.tolist(), strict=True)):
            steps = np.sort(alerts.step[(alerts.user == user) & (alerts.category == category)])
            assert (np.diff(steps) > limits.quiet_steps).all()
        assert np.bincount(alerts.user).max() <= limits.most


def test_rules_know_nothing_of_what_comes_later() -> None:
    population, setup = people(), setup_of(people())
    history, last = history_of(population), setup.protocol.alert_steps[1]
    other = history_of(population)
    other.active[..., last + 1 :] = ~other.active[..., last + 1 :]
    steps = the.lived_steps(setup.protocol)
    before, after = the.rule_scores(history, setup, steps), the.rule_scores(other, setup, steps)
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_warnings_that_are_all_right_are_worth_using_and_such_that_never_are_are_not() -> None:
    population = people()
    found = answer(population, perfect(population, setup_of(population)))
    assert found.verdict == "use_it" and found.ours.recall.value == 1 and found.ours.precision.value > 0.9
    assert found.ours.median_delay_steps == 0 and found.ours.median_lead_steps is None
    random = np.random.Generator(np.random.Philox(1))
    first, last = setup_of(population).protocol.alert_steps
    blind = falls_of(*(random.integers(low, high, 150).tolist() for low, high in ((0, 700), (first, last), (0, 12))))
    assert (
        answer(population, blind).verdict in ("use_rule", "cannot_tell") and answer(population, blind).rule is not None
    )


def test_where_nobody_planted_anything_the_lead_is_what_is_left_until_a_lapse_is_a_fact() -> None:
    real = replace(people(), truth=None)
    found = answer(real, perfect(real, setup_of(real)))
    assert found.ours.precision.value == 1 and 0 < found.ours.median_lead_steps <= setup_of(real).protocol.lapse_steps


def test_a_turn_is_told_of_once() -> None:
    turns = Turns(*(np.array(column) for column in ([0, 0], [1, 1], [5, 20], [10, 30])))
    alerts = falls_of([0, 0, 0, 0, 1], [9, 6, 25, 31, 6], [1, 1, 1, 1, 1])
    assert first_in_time(alerts, turns).tolist() == [False, True, True, False, False]
    assert first_in_time(falls_of([], [], []), turns).tolist() == []
    assert first_in_time(alerts, Turns(*np.empty((4, 0), np.int64))).tolist() == [False] * 5


@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize(("users", "categories"), [(1, 1), (1, 3), (3, 1), (40, 1)])
@pytest.mark.parametrize("n_alerts", [0, 1])
def test_small_cases_have_an_answer_in_words(users: int, categories: int, n_alerts: int, truth: bool) -> None:
    population = plant(users, N_STEPS, seed=1, n_categories=categories)
    population = population if truth else replace(population, truth=None)
    setup = setup_of(people())  # of more people: a federation has to have some
    falls = falls_of([0] * n_alerts, [setup.protocol.alert_steps[0]] * n_alerts, [0] * n_alerts)
    found = the.answer_of(population, history_of(population), setup, [falls], Price(**PRICE))
    assert found.verdict == "not_enough" and found.lack is not None
    results = make_results(answer=found.model_dump(mode="json"), devices=users)
    said = answer_in_words(results)
    assert (
        said.verdict.startswith("Not enough data to say")
        and "None" not in str(said)
        and "–" not in " ".join(said.sentences)
    )
    assert said.verdict in render(results)
