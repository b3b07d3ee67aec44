"""The same users as devices of their own and as guests of a host: without noise, both must end with the same weights.

Both runs are the server's own, in this process: on one side Flower's ClientApp of `devices` fidelity around the device
as shipped (TFLite, float32), on the other a host (numpy, all devices at once). Without noise and with everybody in every
round nothing is left to chance but rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from client.model.runtime import PINNED_SHA256, pinned_model
from server.app import run
from server.channel import Channel, Traffic
from server.device_nodes import DeviceNodes
from server.federation import Federation
from server.optimizer import ServerSettings
from server.risk_start import PublicRows
from server.settings import RunSettings, Schedule
from server.signing import Signer, signing_key
from server.state import ServerFolder
from shared.clock import Clock

from ..people.planted import plant
from ..people.population import Population
from ..scenarios.config import PLANTED_PROTOCOL, Scenario, load_scenario
from . import device_app as devices
from .in_process import LocalHost
from .in_process_grid import LocalGrid, Node, context_of
from .run_folder import PUBLIC_FILE, SIGNING_KEY_FILE, prepare_folder, write_public

N_USERS = 50
SEED = 3
#: No noise, everybody in each of three rounds, a grid fine enough not to matter, and all that p's training can do
#: switched on; no phi, and a detector that speaks within a few steps.
WITHOUT_NOISE = (
    "privacy.noise_multiplier=0.0",
    "privacy.sampling_rate=1.0",
    "privacy.rounds=3",
    "privacy.steps_per_clip=1048576",
    "risk.rounds=0",
    "detection.detector=own_level",
    "training.dropout=0.2",
    "training.l2=0.001",
    "training.local_steps=2",
    "simulation.identified_share=1.0",
    "simulation.randomised_share=0.0",
    "bits.every_steps=0",
)


def some_people() -> Population:
    """The 50 planted users that are run both ways."""
    return plant(N_USERS, PLANTED_PROTOCOL.n_steps, seed=SEED)


def scenario_without_noise(*overrides: str) -> Scenario:
    """The demo without noise; `overrides` come last."""
    return load_scenario("demo", [*WITHOUT_NOISE, *overrides])


def settings_for(folder: Path, people: Population, scenario: Scenario) -> RunSettings:
    """What the server is told: the planted protocol, and queries in three weeks of its test steps."""
    protocol = PLANTED_PROTOCOL
    plan = scenario.plan(protocol, people.catalogue, people.n_users, bytes.fromhex(PINNED_SHA256))
    write_public(folder, scenario, protocol, plan, people)
    public = PublicRows.load(folder / PUBLIC_FILE) if plan.risk else None
    return RunSettings(
        plan=plan,
        server=ServerSettings(),
        schedule=Schedule(
            protocol.train_at, protocol.train_at + 7, protocol.train_at + 21, 7, bits=scenario.bits.schedule()
        ),
        folder=folder / "server",
        model=pinned_model(),
        theta=plan.network.initial_theta(0),
        node_wait_s=1.0,
        risk_server=ServerSettings(scenario.risk.learning_rate, 0.0, 0.5),
        public_rows=public,
        key_file=folder / SIGNING_KEY_FILE,
    )


def run_devices(folder: Path, people: Population, scenario: Scenario) -> RunSettings:
    """The run with every user as a device of its own, in `folder`."""
    prepare_folder(folder, scenario, people)
    settings = settings_for(folder, people, scenario)

    def node(user: int) -> Node:
        context = context_of(user, **{"partition-id": user})
        context.run_config = {"simulation.folder": str(folder)}
        return lambda message: devices.app(message, context)

    grid = LocalGrid({user: node(user) for user in range(people.n_users)})
    clock = settings.schedule.clock()
    channel = Channel(grid, Traffic(), Signer(signing_key(settings.key_file), clock))
    run(DeviceNodes(channel, list(range(people.n_users))), settings, clock)
    return settings


def in_this_process(folder: Path, clock: Clock) -> Federation:
    """All users of a run folder on one host, here."""
    return LocalHost(folder)


def run_hosted(
    folder: Path,
    people: Population,
    scenario: Scenario,
    federation: Callable[[Path, Clock], Federation] = in_this_process,
) -> RunSettings:
    """The run with all users hosted, in `folder`; `federation` is made for the folder and the server's clock."""
    prepare_folder(folder, scenario, people)
    settings = settings_for(folder, people, scenario)
    clock = settings.schedule.clock()
    run(federation(folder, clock), settings, clock)
    return settings


def theta_difference(one: Path, other: Path) -> float:
    """The largest difference of any weight in any round of two runs."""
    models = [ServerFolder(folder / "server").models() for folder in (one, other)]
    return float(np.abs(models[0] - models[1]).max())
