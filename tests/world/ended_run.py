"""A small run that has ended, on one host in this process, as `ebbtide evidence` finds it: with results that are made up, or its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.app import log_of, run
from simulations.evaluation import results_file
from simulations.federation.in_process import LocalHost
from simulations.federation.run_folder import RunFolder
from simulations.federation.run_settings import run_settings
from simulations.people.of_scenario import population_of
from simulations.people.population import Population
from simulations.people.setup import Setup
from simulations.run import evaluate_run
from simulations.scenarios.config import Scenario, load_scenario
from tests.world.run_results import make_results

#: A demo of few people and rounds, with a sum besides training and randomised bits.
SMALL = (
    "simulation.fidelity=hosts", "simulation.hosts=1", "data.users=12", "simulation.query_every_steps=28",
    "privacy.rounds=2", "simulation.dropout=0.0", "caps.table=none", "privacy.max_epsilon=inf", "risk.rounds=2",
    "evaluation.every_steps=28", "counts.every_steps=0", "risk.public_users=40",
)  # fmt: skip


def ended_run(path: Path, scenario: Scenario | None = None, people: Population | None = None) -> RunFolder:
    """The folder of a run that has ended; its results are made up, and vouched for."""
    folder = federated_run(path, scenario or load_scenario("demo", SMALL), people)
    results_file.write(make_results(), folder.results_file)
    folder.vouch()
    return folder


def evaluated_run(path: Path, scenario: Scenario | None = None, people: Population | None = None) -> RunFolder:
    """The same with results of its own."""
    folder = federated_run(path, scenario or load_scenario("demo", SMALL), people)
    with pytest.MonkeyPatch.context() as quick:
        quick.setattr("simulations.baselines.interest_models.DNN_BATCHES", 20)
        evaluate_run(path)
    return folder


def federated_run(path: Path, scenario: Scenario, people: Population | None) -> RunFolder:
    """A federation that has ended, with the log that its server kept."""
    folder = RunFolder(path)
    people = people or population_of(scenario)
    setup = Setup.of(scenario, people)
    folder.prepare(setup, people)
    folder.write_public(setup)
    settings = run_settings(setup, folder)
    clock, log = settings.schedule.clock(), log_of(settings)
    run(LocalHost(folder), settings, clock, log=log)
    return folder
