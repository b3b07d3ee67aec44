"""A run's folder: the names of its files, how it is begun, and whether it is the same run that goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from client.model.runtime import MODEL_FILE
from server.signing import public_bytes, signing_key
from shared.atomic_files import replace_content, replacing
from shared.errors import ConfigError
from shared.plan import Plan

from ..people.population import Population
from ..people.public_start import planted_history, public_lapse_rows, warm_theta
from ..scenarios.config import ProtocolSection, Scenario
from ..scenarios.held_out import held_out_users, write_mask
from ..scenarios.owners import CONSENTS_FILE, Owners
from .checks import schedule_of

POPULATION = "population"


#: The server's public key, which every simulated device pins.
SERVER_KEY_FILE = "server.pub"


SCENARIO_FILE = "scenario.json"


THETA_FILE = "theta0.npy"


PUBLIC_FILE = "public.npz"


RESULTS_FILE = "results.json"


REPORT_FILE = "report.html"


#: Where the server's private key lies in a run's folder.
SIGNING_KEY_FILE = "server/signing.pem"


#: Server and client app of each fidelity.
COMPONENTS = {
    "devices": ("server.app:app", "simulations.federation.device_app:app"),
    "hosts": ("simulations.federation.host_server_app:app", "simulations.federation.host_app:app"),
}


#: Told as a run goes on: phase, how much is done, of how much.
OnProgress = Callable[[str, int, int], None]


def prepare_folder(folder: Path, scenario: Scenario, population: Population) -> None:
    """An empty run folder with the people, the mask of held-out users, the server's keys and, last, what the people
    decided in it. Refuses to empty a folder that is not a run's."""
    held_out = held_out_users(scenario, population.n_users)
    owners = owners_of(scenario, population.n_users)
    if folder.exists() and any(folder.iterdir()):
        if not (folder / SCENARIO_FILE).exists():
            raise ConfigError(f"expected an empty folder or an earlier run, got {folder}")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # In place: from this moment on the folder is a run's, and may be emptied.
    (folder / SCENARIO_FILE).write_text(scenario.model_dump_json(indent=1), encoding="utf-8")
    population.save(folder / POPULATION)
    replace_content(folder / SERVER_KEY_FILE, public_bytes(signing_key(folder / SIGNING_KEY_FILE)))
    write_mask(folder, held_out)
    owners.save(folder)


def owners_of(scenario: Scenario, n_users: int) -> Owners:
    """What the owners of a scenario's devices decide."""
    shares = scenario.simulation.identified_share, scenario.simulation.randomised_share
    return Owners.draw(n_users, *shares, scenario.caps.caps(), scenario.data.seed)


def expect_same_run(folder: Path, scenario: Scenario) -> None:
    """ConfigError unless `folder` holds a run of the very same scenario, with its people and the key that they pinned."""
    file = folder / SCENARIO_FILE
    if not file.exists() or not (folder / CONSENTS_FILE).exists():
        raise ConfigError(f"expected an interrupted run to go on with, got {folder}: start it without --resume")
    if Scenario.model_validate_json(file.read_text(encoding="utf-8")) != scenario:
        raise ConfigError(f"expected the scenario that {folder} began with: give the same options, or another --out")
    pinned, key = folder / SERVER_KEY_FILE, folder / SIGNING_KEY_FILE
    if not (pinned.exists() and key.exists()) or pinned.read_bytes() != public_bytes(signing_key(key)):
        raise ConfigError(f"expected the server's key that {folder} began with: start it without --resume")


def write_public(
    folder: Path, scenario: Scenario, protocol: ProtocolSection, plan: Plan, population: Population
) -> None:
    """Leave what planted (public) people teach where the server finds it: theta 0, and the rows that phi starts from.
    What is there already stays."""
    n_categories, step = len(population.catalogue), population.step
    if scenario.warm_start.users and not (folder / THETA_FILE).exists():
        theta = warm_theta(plan.network, plan.features, protocol, step, n_categories, scenario.warm_start)
        with replacing(folder / THETA_FILE) as file:
            np.save(file, theta)
    if plan.risk and not (folder / PUBLIC_FILE).exists():
        users, seed = scenario.warm_start.users or scenario.risk.public_users, scenario.warm_start.seed
        only = scenario.data.name != "planted"
        people = planted_history(protocol, step, n_categories, users, seed, purchases_only=only)
        public_lapse_rows(people, protocol, plan, plan.risk, seed).save(folder / PUBLIC_FILE)


def run_config(
    scenario: Scenario, protocol: ProtocolSection, plan: Plan, folder: Path
) -> dict[str, str | int | float | bool]:
    """Flower's run configuration: what server and simulated devices are told."""
    schedule = schedule_of(scenario, protocol)
    return {
        "plan": plan.canonical.hex(),
        "server.learning-rate": scenario.server.learning_rate,
        "server.momentum": scenario.server.momentum,
        "server.tail": scenario.server.tail,
        "server.theta-seed": scenario.server.theta_seed,
        "server.theta-file": str((folder / THETA_FILE).resolve()) if scenario.warm_start.users else "",
        "server.risk_start-learning-rate": scenario.risk.learning_rate,
        "server.public-rows": str((folder / PUBLIC_FILE).resolve()) if plan.risk else "",
        "server.folder": str((folder / "server").resolve()),
        "server.model-file": str(MODEL_FILE),
        "server.key-file": str((folder / SIGNING_KEY_FILE).resolve()),
        "server.node-wait-s": 300.0,
        "schedule.train-step": schedule.train_step,
        "schedule.first-query-step": schedule.first_query_step,
        "schedule.last-query-step": schedule.last_query_step,
        "schedule.query-every-steps": schedule.query_every_steps,
        "schedule.seconds-per-step": schedule.seconds_per_step,
        "schedule.origin-s": schedule.origin_s,
        "schedule.replay-step-s": schedule.replay_step_s,
        "schedule.bit-epsilon-micro": schedule.bits.epsilon_micro if schedule.bits else 0,
        "schedule.bit-every-steps": schedule.bits.every_steps if schedule.bits else 0,
        "simulation.folder": str(folder.resolve()),
        "simulation.hosts": scenario.simulation.hosts,
    }
