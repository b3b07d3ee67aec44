"""kill -9 at any moment: the resumed run ends, what was spent stays spent, and no noise is used twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from simulations.config import load_scenario

from .conftest import SOAK

ROOT = Path(__file__).parent.parent

#: One run of the server and a host in one process; prepares the folder the first time, goes on with it afterwards.
RUN = """
import sys
from pathlib import Path
from client.runtime import PINNED_SHA256
from server.app import RunSettings, run
from simulations.config import load_scenario
from simulations.local import LocalHost
from simulations.simulate import (
    expect_same_run, population_of, prepare_folder, protocol_of, run_config, write_public
)
folder, scenario = Path(sys.argv[1]), load_scenario("demo", sys.argv[2:])
protocol = protocol_of(scenario)
people = population_of(scenario, protocol)
if (folder / "consents.json").exists():
    expect_same_run(folder, scenario)
else:
    prepare_folder(folder, scenario, people)
plan = scenario.plan(protocol, people.catalogue, people.n_users, bytes.fromhex(PINNED_SHA256))
write_public(folder, scenario, protocol, plan, people)
settings = RunSettings.read(run_config(scenario, protocol, plan, folder))
print("ready", flush=True)
run(LocalHost(folder), settings, settings.schedule.clock())
"""
OVERRIDES = [
    "data.users=40",
    "privacy.rounds=20",
    "privacy.sampling_rate=0.5",
    "privacy.min_survivors_share=0.1",
    "risk.rounds=10",
    "risk.public_users=40",
]


def start(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", RUN, str(folder), *OVERRIDES]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})


def finish(folder: Path) -> dict:
    process = start(folder)
    assert process.wait(timeout=240) == 0
    process.stdout.close()
    return json.loads((folder / "server" / "account.json").read_text())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    began = time.monotonic()
    account = finish(folder)
    return account, time.monotonic() - began


@pytest.mark.parametrize("trial", range(20 if SOAK else 1))
def test_killed_at_random_moments_a_run_still_ends_and_spends_no_less(tmp_path, uninterrupted, trial):
    whole, seconds = uninterrupted
    folder, chance = tmp_path / "run", random.Random(trial)
    for _ in range(3):
        process = start(folder)
        process.stdout.readline()  # "ready": the imports are done
        time.sleep(chance.uniform(0, 0.7 * seconds))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    account = finish(folder)
    scenario = load_scenario("demo", OVERRIDES)
    rounds, all_rounds = scenario.privacy.rounds, scenario.privacy.rounds + scenario.risk.rounds
    assert account["rounds_charged"] == whole["rounds_charged"] == rounds
    assert account["risk_rounds_charged"] == whole["risk_rounds_charged"] == scenario.risk.rounds
    assert account["epsilon_to_public"] >= whole["epsilon_to_public"]
    commitments = (folder / "hosts" / "0" / "commitments.txt").read_text().split()
    assert len(commitments) == len(set(commitments)), "a noise key was used twice"
    assert len(commitments) <= all_rounds, "an interrupted round was run again"
    with np.load(folder / "server" / "checkpoint.npz") as checkpoint:
        assert np.isfinite(checkpoint["models"]).all()
        assert len(checkpoint["models"]) <= rounds + 1
