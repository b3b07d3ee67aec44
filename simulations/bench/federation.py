"""Runs the bench's federations through Flower, with clocks and a scale around them."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil

from shared.files import text_of

from ..capacity.usage import LOOK_EVERY_S, watched
from ..federation.flower_runtime import processes_of, run_app, write_app_folder
from ..federation.hosted.training_rows import TrainingRows
from ..federation.run_folder import RunFolder
from ..federation.run_settings import COMPONENTS, run_config
from ..people.of_scenario import population_of
from ..people.setup import Setup
from ..run import OnProgress, watching
from ..scenarios.config import (
    DataSection,
    PrivacySection,
    ProtocolSection,
    Scenario,
    SimulationSection,
    load_scenario,
    with_path,
)
from ..scenarios.sections import CapsSection
from .server import TIMES_FILE

#: Planted days for a round of the bench: eight steps of labelled rows in twelve categories are 64 rows and a few more.
BENCH_PROTOCOL = ProtocolSection(
    window_steps=14,
    short_steps=(1, 2, 4, 7),
    ewma_steps=(2, 8),
    horizon_steps=7,
    lapse_steps=14,
    train_steps=(36, 43),
    test_steps=(52, 55),
    alert_steps=(52, 55),
    lapse_train_steps=(28, 36),
    n_steps=56,
)


def bench_scenario(devices: int, rounds: int) -> Scenario:
    """All of `devices` planted people in every round, 64 rows each, clip and integer noise included."""
    return Scenario(
        name="bench",
        data=DataSection(users=devices),
        protocol=BENCH_PROTOCOL,
        caps=CapsSection(table="none"),  # a round of this noise is more than an owner would allow
        privacy=PrivacySection(
            noise_multiplier=1.0, rounds=rounds, delta=min(1e-5, 0.1 / devices), max_epsilon=math.inf
        ),
        simulation=SimulationSection(fidelity="hosts", hosts=os.cpu_count() or 1, identified_share=0.0),
    )


def run_hosts(
    scenario: Scenario,
    folder: Path,
    on_progress: OnProgress,
    *,
    serverapp: str = COMPONENTS["hosts"][0],
    bare_loop: bool = False,
) -> None:
    """The scenario's training, and nothing after it, in a folder emptied first. Processes that it starts are ended."""
    on_progress("people", 0, 1)
    # In a process that ends: the memory that making people takes is given back before the run.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        setup = other.submit(prepared, scenario, folder).result()
    on_progress("people", 1, 1)
    run = RunFolder(folder)
    config = run_config(setup, run)
    config["schedule.last-query-step"] = int(config["schedule.first-query-step"]) - 1  # rounds only: no alerts
    config["bench.bare-loop"] = bare_loop
    app = write_app_folder(run.app, serverapp=serverapp, clientapp=COMPONENTS["hosts"][1], config=config)
    with watching(run.server.progress_file, on_progress):
        run_app(app, nodes=scenario.simulation.hosts, home=run.flower, timeout_s=1800.0)


def prepared(scenario: Scenario, folder: Path) -> Setup:
    """The setup of a scenario whose people, and what planted ones teach, are in `folder` now."""
    run, people = RunFolder(folder), population_of(scenario)
    setup = Setup.of(scenario, people)
    run.prepare(setup, people)
    run.write_public(setup)
    return setup


def throughput(
    devices: int, rounds: int, folder: Path, on_progress: OnProgress
) -> tuple[list[float], list[float], float]:
    """Devices per second of each round, through Flower and in the bare loop beside it; and the mean number of rows that
    a device has. The first round warms up, and is left out."""
    scenario = bench_scenario(devices, rounds + 1)
    run_hosts(scenario, folder, on_progress, serverapp="simulations.bench.server:app", bare_loop=True)
    times = json.loads(text_of(folder / TIMES_FILE))
    rows = [np.diff(TrainingRows.load(host.path).offsets) for host in RunFolder(folder).every_host()]
    through, bare = ([devices / s for s in times[name][1:]] for name in ("round_s", "bare_s"))
    return through, bare, float(np.concatenate(rows).mean())


def peak_gib(devices: int, folder: Path, on_progress: OnProgress) -> float:
    """Highest sum of memory over all processes of a run with one round of all devices, from the first process started
    to the last ended, this one included; see `Usage`."""
    home = RunFolder(folder).flower
    with watched(lambda: [*processes_of(home), psutil.Process()], count_every_s=LOOK_EVERY_S) as usage:
        run_hosts(bench_scenario(devices, 1), folder, on_progress)
    return usage.peak_bytes / 2**30


def training_seconds(name: str, path: str, rounds: int, folder: Path, on_progress: OnProgress) -> float:
    """How long one training of a data set's `eps7` scenario takes, all users in each round, phi's rounds included: as it
    is shipped, but for at least so many rounds of p. People, planted start and training rows are start-up, and not
    counted."""
    own = load_scenario(f"{name}-eps7")
    settings = [
        f"privacy.rounds={max(rounds, own.privacy.rounds)}",
        "privacy.max_epsilon=inf",  # more rounds of the same noise cost more: only their time is of interest
        f"simulation.hosts={os.cpu_count() or 1}",
    ]
    run_hosts(
        load_scenario(own.name, with_path(settings, path)),
        folder,
        on_progress,
        serverapp="simulations.bench.server:app",
    )
    return float(sum(json.loads(text_of(folder / TIMES_FILE))["round_s"]))


def per_client(devices: int, rounds: int, folder: Path) -> list[float]:
    """Devices per second of each round of Flower's own per-client simulation; the first round is left out."""
    if folder.exists():
        shutil.rmtree(folder)
    per_client = "simulations.bench.per_client"
    counts: dict[str, str | int | float | bool] = {"bench.devices": devices, "bench.rounds": rounds + 1}
    config = counts | {"simulation.folder": str(folder.resolve())}
    run = RunFolder(folder)
    app = write_app_folder(run.app, serverapp=f"{per_client}:server", clientapp=f"{per_client}:client", config=config)
    run_app(app, nodes=devices, home=run.flower, timeout_s=900.0)
    return [devices / s for s in json.loads(text_of(folder / TIMES_FILE))["round_s"][1:]]
