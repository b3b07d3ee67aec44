"""A run's server is told the same in this process as through Flower."""

from __future__ import annotations

import numpy as np
import pytest

from server.settings import RunSettings
from simulations.federation.run_folder import RunFolder
from simulations.federation.run_settings import helpers_of, run_config, run_settings
from simulations.people.planted import plant
from simulations.people.setup import Setup
from simulations.scenarios.config import load_scenario

#: Theta by a seed and no phi; a warm start with phi, and bits; each with numbers of its own.
SCENARIOS = {
    "plain": (
        "risk.rounds=0",
        "bits.every_steps=0",
        "server.theta_seed=7",
        "server.learning_rate=1.5",
        "server.tail=0.25",
    ),
    "warm": (
        "warm_start.users=20",
        "warm_start.epochs=1",
        "risk.rounds=2",
        "risk.learning_rate=0.5",
        "simulation.query_every_steps=3",
        "bits.every_steps=9",
        "bits.epsilon=0.75",
        "training.seed=11",
    ),
    "heads": (
        "warm_start.users=20",
        "warm_start.epochs=1",
        "risk.rounds=0",
        "heads.rounds=3",
        "heads.rates=[0.2, 0.7]",
        "heads.damping=0.05",
        "heads.tail=0.25",
        "heads.crowd_longest_mean=0.9",
        "heads.curvature_longest_mean=0.8",
        "heads.longest_mean=0.7",
        "bits.every_steps=0",
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_settings_from_objects_are_those_that_flower_s_mapping_gives(tmp_path, name):
    scenario = load_scenario("demo", [*SCENARIOS[name], "data.users=12"])
    run, people = RunFolder(tmp_path), plant(12, 182, seed=1)
    setup = Setup.of(scenario, people)
    run.prepare(setup, people)
    run.write_public(setup)
    ours = run_settings(setup, run, helpers_of(setup, run))
    flower = RunSettings.read(run_config(setup, run))
    assert len(ours.helpers) == 3
    assert set(vars(ours)) == set(vars(flower))
    for field, value in vars(ours).items():
        if field == "theta":
            np.testing.assert_array_equal(value, flower.theta)
            assert value.dtype == flower.theta.dtype == np.float32
        elif field == "public_rows" and value is not None:
            for column in vars(value):
                np.testing.assert_array_equal(getattr(value, column), getattr(flower.public_rows, column))
        elif field == "heads" and value is not None:
            assert value.start.sha256 == flower.heads.start.sha256 == setup.plan.heads.start_sha256
            rows = {"start": 0, "public_lapses": 0}
            assert {**vars(value), **rows} == {**vars(flower.heads), **rows}
            assert (value.rates, value.damping, value.tail) == ((0.2, 0.7), 0.05, 0.25)
            np.testing.assert_array_equal(value.public_lapses.z, flower.heads.public_lapses.z)
        else:
            assert value == getattr(flower, field), field
    assert ours.warm == (name != "plain") and (ours.public_rows is not None) == (name == "warm")
    assert ours.schedule == setup.schedule and (ours.schedule.bits is not None) == (name == "warm")
    assert (ours.heads is not None) == (name == "heads")
    if name == "heads":
        assert ours.longest_means == {
            "update": scenario.server.longest_mean,
            "risk_update": scenario.risk.longest_mean,
            "crowd": 0.9,
            "curvature": 0.8,
            "head_update": 0.7,
        }
