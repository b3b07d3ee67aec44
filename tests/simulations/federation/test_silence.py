"""Rounds have the gaps of real ones, however a scenario is carried out; offers and queries reach everybody."""

import numpy as np
import pytest

from simulations.federation.equivalence import run_devices, run_hosted, scenario_without_noise
from simulations.federation.in_process import LocalHost
from simulations.federation.run_folder import RunFolder
from simulations.federation.silence import answering
from simulations.people.planted import plant
from simulations.scenarios.config import PLANTED_PROTOCOL, SimulationSection

N_USERS, ROUNDS, DROPOUT = 12, 8, 0.4
SLEEPY = (
    f"simulation.dropout={DROPOUT}",
    f"privacy.rounds={ROUNDS}",
    "privacy.min_survivors=1",
    "privacy.max_colluders=0",
    "training.local_steps=1",
    "training.rows=8",
)


@pytest.mark.parametrize("dropout", [0.0, 0.1, 0.5])
def test_each_device_stays_silent_on_its_own(dropout):
    devices = list(range(0, 20_000, 2))
    one, other = answering(devices, dropout), answering(devices, dropout)
    assert set(one) <= set(devices)
    assert abs(len(one) - (1 - dropout) * 10_000) <= 6 * np.sqrt(10_000 * dropout * (1 - dropout))
    assert (one == other) == (dropout == 0)


def test_a_scenario_loses_a_tenth_of_a_cohort_unless_it_says_otherwise():
    assert SimulationSection().dropout == 0.1


@pytest.mark.parametrize("ran", [run_devices, run_hosted])
def test_silent_devices_are_counted_as_nodes_that_failed_and_hear_everything_else(tmp_path, ran):
    run, people = RunFolder(tmp_path), plant(N_USERS, PLANTED_PROTOCOL.n_steps, seed=5)
    ran(run, people, scenario_without_noise(*SLEEPY))
    dropped = run.server.traffic()["dropped"]
    assert set(dropped) == {"error"}, "nobody declined, and no query was missed"
    spread = np.sqrt(N_USERS * ROUNDS * DROPOUT * (1 - DROPOUT))
    assert dropped["error"] > 0 and abs(dropped["error"] - N_USERS * ROUNDS * DROPOUT) < 6 * spread
    assert len(run.server.models()) == ROUNDS + 1


def test_a_silent_device_pays_nothing(tmp_path):
    run, people = RunFolder(tmp_path), plant(N_USERS, PLANTED_PROTOCOL.n_steps, seed=5)
    run_hosted(run, people, scenario_without_noise(*SLEEPY))
    paid = LocalHost(run).host.ledger
    took_part = paid.participations[paid.account].sum()
    assert run.server.traffic()["dropped"]["error"] == N_USERS * ROUNDS - took_part
