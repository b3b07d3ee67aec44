"""Where heads start: the same for the same planted people, taught once, and better than nothing on others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared.errors import ConfigError
from shared.features import extract
from shared.heads import TASKS, Heads
from shared.heads.inputs import NETWORKS, input_names
from shared.network import forward
from simulations.evaluation.quality import auc
from simulations.people.heads_start import BLENDS, ROWS_OF_ONE, begun, heads_start, turn_rows
from simulations.people.planted import plant
from simulations.people.public_start import warm_theta
from simulations.people.setup import Crowd, Setup
from simulations.people.teaching import Lesson, few_of_each, pretrain, taught_together
from simulations.scenarios.config import load_scenario

SMALL = [
    "risk.rounds=0",
    "warm_start.users=60",
    "warm_start.epochs=2",
    "heads.rounds=2",
    "detection.detector=risk",
]
PEOPLE = plant(12, 182, seed=1)


@pytest.fixture(scope="module")
def setup() -> Setup:
    return Setup.of(load_scenario("demo", SMALL), PEOPLE)


def lesson_of(setup: Setup, seed: int = 100) -> Lesson:
    scenario = setup.scenario.model_copy(
        update={"warm_start": setup.scenario.warm_start.model_copy(update={"seed": seed})}
    )
    return Lesson.of(scenario, setup.protocol, setup.n_categories, setup.plan, setup.plan.read_features)


def test_the_plan_names_where_its_heads_start_and_the_same_people_say_the_same(setup):
    assert setup.plan.heads.start_sha256 == setup.heads_start.sha256 != bytes(32)
    begun.cache_clear()
    again = Setup.of(load_scenario("demo", SMALL), PEOPLE)
    assert again.plan == setup.plan and again.heads_start is not setup.heads_start
    other = heads_start(lesson_of(setup, seed=7))
    assert other.sha256 != setup.heads_start.sha256


def test_it_is_taught_once_whatever_else_of_the_scenario_changes(setup):
    before = begun.cache_info().misses
    found = Setup.of(load_scenario("demo", [*SMALL, "heads.noise_multiplier=3.0", "privacy.rounds=2"]), PEOPLE)
    assert begun.cache_info().misses == before
    assert found.plan.heads.start_sha256 == setup.plan.heads.start_sha256


def test_of_people_of_whom_no_more_is_known_than_how_many_they_are_nobody_is_taught():
    before = begun.cache_info()
    setup = Setup.of(load_scenario("demo", SMALL), Crowd(12, PEOPLE.catalogue))
    assert setup.heads_start is None and setup.plan.heads.start_sha256 == bytes(32)
    assert begun.cache_info() == before


def test_without_planted_people_heads_have_no_start():
    with pytest.raises(ConfigError, match=r"expected warm_start\.users > 0"):
        Setup.of(load_scenario("demo", [*SMALL, "warm_start.users=0"]), PEOPLE)


def test_inputs_are_in_the_scale_of_planted_people_and_weights_are_those_of_the_blend(setup):
    names = input_names(setup.plan.read_features)
    for task, weights in zip(TASKS, setup.heads_start.weights, strict=True):
        read = {name: count * weight for count, part in BLENDS[task] for name, weight in part.items()}
        for name, weight in zip(names[:-1], weights, strict=False):
            assert np.sign(weight) == np.sign(read.get(name, 0)), (task, name)
    assert setup.heads_start.networks.shape == (len(NETWORKS), setup.plan.network.n_parameters)
    trunk = setup.plan.network.n_parameters - setup.plan.network.hidden[-1] - 1
    networks = setup.heads_start.networks
    np.testing.assert_array_equal(networks[0, :trunk], networks[1, :trunk])
    assert np.abs(networks[0, trunk:] - networks[1, trunk:]).max() > 0.01


def test_it_tells_turns_of_other_planted_people_apart(setup):
    start, others = setup.heads_start, lesson_of(setup, seed=5)
    history = others.history()
    heads = Heads(start, np.zeros(setup.n_categories, np.float32), start.weights)

    def score(theta, x):
        return forward(setup.plan.network, theta, x)

    for i, task in enumerate(TASKS):
        rows = turn_rows(others, history, task, np.random.default_rng(0))
        z = heads.inputs(setup.plan.read_features, score, rows.x, heads.popularity[rows.category])
        assert auc(rows.y, heads.chances(z)[i]) > 0.6, task
        chance = heads.chances(z)[i]
        assert abs(float(chance.mean()) - rows.y.mean()) < 0.1, "calibrated on the whole"


def test_rows_of_a_turn_are_those_of_their_users_steps_and_categories(setup):
    lesson = lesson_of(setup)
    history = lesson.history()
    rows = turn_rows(lesson, history, "lapse", np.random.default_rng(0))
    assert np.bincount(rows.user).max() == ROWS_OF_ONE
    some = np.random.default_rng(1).permutation(len(rows.y))[:20]
    for user, step, category, x in zip(
        *(getattr(rows, k)[some] for k in ("user", "step", "category", "x")), strict=True
    ):
        own = extract(history[user : user + 1], setup.plan.read_features, [int(step)])[0, 0, category]
        np.testing.assert_allclose(own, x, atol=1e-6)


def test_at_most_so_many_rows_of_each_and_all_of_who_has_fewer():
    user = np.repeat([3, 1, 8], [ROWS_OF_ONE + 40, 5, ROWS_OF_ONE])
    kept = few_of_each(user, ROWS_OF_ONE, np.random.default_rng(0))
    assert np.bincount(user[kept], minlength=9).tolist() == [0, 5, 0, ROWS_OF_ONE, 0, 0, 0, 0, ROWS_OF_ONE]
    assert not few_of_each(np.empty(0, np.int64), 3, np.random.default_rng(0)).size


def test_one_task_alone_is_taught_as_by_itself(setup):
    lesson = lesson_of(setup)
    rows = turn_rows(lesson, lesson.history(), "takeoff", np.random.default_rng(0))
    rows, warm = replace(rows, x=rows.x[:, : lesson.network.n_features]), replace_epochs(lesson, 1)
    (together,) = taught_together(lesson.network, [rows], [1.0], warm)
    np.testing.assert_allclose(together, pretrain(lesson.network, rows, warm), atol=1e-5)


def replace_epochs(lesson: Lesson, epochs: int):
    return replace(lesson, warm=lesson.warm.model_copy(update={"epochs": epochs})).warm


def test_theta_0_of_p_is_the_same_with_heads_and_without(setup):
    without = Setup.of(load_scenario("demo", [*SMALL, "heads.rounds=0"]), PEOPLE)
    assert without.plan.heads is None and setup.plan.heads is not None
    np.testing.assert_array_equal(warm_theta(setup), warm_theta(without))
