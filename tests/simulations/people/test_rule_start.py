"""What planted people teach of the rule of counters: chances that are as frequent as they say, in any scenario."""

import numpy as np
import pytest

from client.model.training_rows import turns_ahead
from shared import slow_average
from simulations.people.of_scenario import population_of
from simulations.people.planted import plant
from simulations.people.rule_start import rule_lesson, rule_start
from simulations.people.setup import Crowd, Setup
from simulations.scenarios.config import PLANTED_PROTOCOL, load_scenario

RULED = ["detection.detector=slow_average", "data.users=20", "risk.public_users=300", "detection.takeoff_line=0.25"]


@pytest.mark.parametrize("name", ["demo", "complete-journey-eps1"])
def test_a_taught_rule_says_turns_of_other_planted_people_as_often_as_they_come(name):
    """Of the same kind of people, another seed's."""
    scenario = load_scenario(name, [RULED[0], "risk.public_users=300", "warm_start.users=300"])
    people = Crowd(300, plant(2, 30, seed=0).catalogue)
    plan = Setup.of(scenario, people, PLANTED_PROTOCOL).plan
    lesson = rule_lesson(scenario, PLANTED_PROTOCOL, 12, plan)
    rule = rule_start(lesson)
    others = rule_lesson(
        scenario.model_copy(update={"warm_start": scenario.warm_start.model_copy(update={"seed": 99})}),
        PLANTED_PROTOCOL,
        12,
        plan,
    ).history()
    steps = np.arange(60, others.n_steps - PLANTED_PROTOCOL.lapse_steps)
    both = slow_average.chances(rule, plan.features, others, steps)
    for task, chance in zip(("lapse", "takeoff"), both, strict=True):
        chosen, turn = turns_ahead(others, plan, steps, task)
        assert abs(float(chance[chosen].mean()) - float(turn[chosen].mean())) < 0.05, task
        low, high = (turn[chosen][part].mean() for part in halves(chance[chosen]))
        assert high > low, task


def halves(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    middle = np.median(values)
    return values <= middle, values > middle


def test_a_scenario_with_the_rule_has_its_chances_in_the_plan_and_a_crowd_s_has_none_yet():
    scenario = load_scenario("demo", RULED)
    people = population_of(scenario)
    setup = Setup.of(scenario, people)
    assert setup.plan.rule == rule_start(
        rule_lesson(scenario, setup.protocol, len(people.catalogue), Setup.of(load_scenario("demo"), people).plan)
    )
    nobody = Setup.of(scenario, Crowd(20, people.catalogue)).plan
    assert nobody.rule is not None and nobody.rule != setup.plan.rule
    assert Setup.of(load_scenario("demo", ["data.users=20"]), people).plan.rule is None
