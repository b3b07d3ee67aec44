"""The same users as devices of their own and as guests of a host: without noise, both must end with the same weights.

Both runs are the server's own, in this process: on one side Flower's ClientApp of `devices` fidelity around the device
as shipped (TFLite, float32), whose updates helpers add up; on the other a host (numpy, all devices at once), whose sum is
ideal. Without noise and with everybody in every round nothing is left to chance but rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from client.model.runtime import pinned_model
from server.app import run, serve
from server.federation import Federation
from server.optimizer import ServerSettings
from server.public.risk_start import PublicRows
from server.settings import RunSettings, Schedule
from shared.clock import Clock

from ..people.planted import plant
from ..people.population import Population
from ..people.setup import Setup
from ..scenarios.config import PLANTED_PROTOCOL, Scenario, load_scenario
from . import device_app as devices
from .in_process import LocalGrid, LocalHost, Node, context_of
from .run_folder import AUDIENCE, RunFolder
from .run_settings import heads_settings
from .sums.enroller import enrolling
from .sums.helper_nodes import identities

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
    "simulation.summed_share=0.0",
    "evaluation.every_steps=0",
    "counts.every_steps=0",
    "simulation.dropout=0.0",
    "caps.table=none",
    "caps.alert_bit=[inf, inf]",
    "privacy.clip_norm=0.1",
    "training.learning_rate=0.3",
    "bits.every_steps=0",
    "detection.takeoff_line=0",
)


def some_people() -> Population:
    """The 50 planted users that are run both ways."""
    return plant(N_USERS, PLANTED_PROTOCOL.n_steps, seed=SEED)


def scenario_without_noise(*overrides: str) -> Scenario:
    """The demo without noise; `overrides` come last."""
    return load_scenario("demo", [*WITHOUT_NOISE, *overrides])


def settings_for(run: RunFolder, people: Population, scenario: Scenario) -> RunSettings:
    """A folder that is ready for the run, and what its server is told: the planted protocol, and queries in three weeks
    of its test steps."""
    setup = Setup.of(scenario, people, PLANTED_PROTOCOL)
    run.prepare(setup, people)
    run.write_public(setup)
    train_at = setup.protocol.train_at
    schedule = Schedule(train_at, train_at + 7, train_at + 21, 7, bits=setup.schedule.bits)
    bits = setup.plan.bits and replace(setup.plan.bits, coins=len(schedule.bit_steps))
    return RunSettings(
        plan=replace(setup.plan, bits=bits),
        server=ServerSettings(),
        schedule=schedule,
        folder=run.server_path,
        model=pinned_model(setup.plan.features.version),
        theta=setup.plan.network.initial_theta(0),
        node_wait_s=1.0,
        risk_server=ServerSettings(scenario.risk.learning_rate, 0.0, 0.5),
        public_rows=PublicRows.load(run.public_file) if setup.plan.risk else None,
        key_file=run.signing_key_file,
        n_categories=setup.n_categories,
        heads=heads_settings(setup, run),
        audience=AUDIENCE,
    )


def run_devices(folder: RunFolder, people: Population, scenario: Scenario) -> RunSettings:
    """The run with every user as a device of its own, in `folder`."""
    settings = settings_for(folder, people, scenario)
    serve_devices(folder, settings, people.n_users)
    return settings


def serve_devices(folder: RunFolder, settings: RunSettings, n_users: int) -> None:
    """One run of the server with every user of a prepared folder as a device of its own, and the helpers of its plan, in this
    process."""
    n_helpers = settings.plan.sum.helpers if settings.plan.sum else 0
    settings = replace(settings, helpers=identities(folder, n_helpers))
    grid = LocalGrid({number: device_node(folder, number, n_users) for number in range(n_users + n_helpers)})
    with enrolling(folder, settings.plan, (settings.schedule.train_step + 1) * settings.schedule.replay_step_s):
        serve(grid, settings)


def device_node(folder: RunFolder, number: int, n_users: int) -> Node:
    """The node of one user's device, or, of a number behind the last user, of a helper."""
    context = context_of(number, **{"partition-id": number})
    context.run_config = {"simulation.folder": str(folder.path), "simulation.devices": n_users}
    return lambda message: devices.app(message, context)


def in_this_process(folder: RunFolder, clock: Clock) -> Federation:
    """All users of a run folder on one host, here."""
    return LocalHost(folder)


def run_hosted(
    folder: RunFolder,
    people: Population,
    scenario: Scenario,
    federation: Callable[[RunFolder, Clock], Federation] = in_this_process,
) -> RunSettings:
    """The run with all users hosted, in `folder`; `federation` is made for the folder and the server's clock."""
    settings = settings_for(folder, people, scenario)
    clock = settings.schedule.clock()
    run(federation(folder, clock), settings, clock)
    return settings


def theta_difference(one: RunFolder, other: RunFolder) -> float:
    """The largest difference of any weight in any round of two runs."""
    models = [folder.server.models() for folder in (one, other)]
    return float(np.abs(models[0] - models[1]).max())
