"""One scenario from start to report: people, plan, federation, figures.

runs/<name>/scenario.json       what was asked for, with every default
runs/<name>/population/         everybody's events (exists in a simulation only)
runs/<name>/consents.npy, caps.json  what they agree to tell, and let be spent
runs/<name>/held_out.npy        which users never train, if any
runs/<name>/theta0.npy, public.npz  what planted people teach before any private round
runs/<name>/app/, flower/       the app folder that Flower runs, and Flower's own files
runs/<name>/devices/<n>/        each device's state, and what its app noted down
runs/<name>/server/             the server's models, account and inbox, and the key that it signs with
runs/<name>/server.pub          the public half, which the devices pin
runs/<name>/results.json, report.html
"""

from __future__ import annotations

import json
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from client.model.runtime import PINNED_SHA256
from shared.errors import ConfigError, RunError
from shared.plan import Plan

from .evaluation import results_file
from .evaluation.evaluate import evaluate
from .evaluation.results import FORMAT, PlanNumbers, Results, Seconds
from .federation.checks import check_budget, check_owners
from .federation.flower_runtime import run_app, write_app_folder
from .federation.run_folder import (
    COMPONENTS,
    POPULATION,
    REPORT_FILE,
    RESULTS_FILE,
    SCENARIO_FILE,
    OnProgress,
    expect_same_run,
    prepare_folder,
    run_config,
    write_public,
)
from .people.of_scenario import population_of, protocol_of
from .people.population import Population
from .report.report import write_report
from .report.utility import utility_of
from .scenarios.config import ProtocolSection, Scenario
from .scenarios.held_out import expect_hosts, read_mask
from .scenarios.owners import caps_numbers


def simulate(scenario: Scenario, folder: Path, on_progress: OnProgress, *, resume: bool = False) -> Results:
    """Run a scenario in `folder` and return its results; RunError if the federation fails.

    The folder is emptied first, or with `resume` gone on with: rounds that were charged stay charged, and none is run
    twice.
    """
    expect_hosts(scenario)
    protocol = protocol_of(scenario)
    on_progress("people", 0, 1)
    population = population_of(scenario, protocol)
    plan = scenario.plan(protocol, population.catalogue, population.n_users, bytes.fromhex(PINNED_SHA256))
    check_budget(plan)
    check_owners(scenario, plan)
    if resume:
        expect_same_run(folder, scenario)
    else:
        prepare_folder(folder, scenario, population)
    on_progress("people", 1, 1)
    on_progress("warm_start", 0, 1)
    write_public(folder, scenario, protocol, plan, population)
    on_progress("warm_start", 1, 1)
    config = run_config(scenario, protocol, plan, folder)
    serverapp, clientapp = COMPONENTS[scenario.simulation.fidelity]
    app = write_app_folder(folder / "app", serverapp=serverapp, clientapp=clientapp, config=config)
    by_host = scenario.simulation.fidelity == "hosts"
    nodes = scenario.simulation.hosts if by_host else population.n_users
    federation_started = time.monotonic()
    with watching(folder / "server" / "progress.jsonl", on_progress):
        run_app(app, nodes=nodes, home=folder / "flower", timeout_s=scenario.simulation.timeout_s)
    if not (folder / "server" / "account.json").exists():
        raise RunError(f"the federation ended without an account: see {folder / 'flower' / 'flower.log'}")
    on_progress("figures", 0, 1)
    federation_s = round(time.monotonic() - federation_started, 1)
    results = write_results(scenario, protocol, population, plan, folder, Seconds(federation=federation_s))
    on_progress("figures", 1, 1)
    return results


def evaluate_run(folder: Path) -> Results:
    """The results and report of a run that has ended, made again from its folder; InputError if it is none."""
    try:
        scenario = Scenario.model_validate_json((folder / SCENARIO_FILE).read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(f"expected the folder of a run, got {folder}: {SCENARIO_FILE} is missing") from None
    except ValueError:
        raise ConfigError(f"expected the folder of a run, got {folder}: {SCENARIO_FILE} is damaged") from None
    if not all((folder / "server" / name).exists() for name in ("account.json", "traffic.json")):
        raise ConfigError(f"expected a run that has ended, got {folder}: simulate it again")
    population = Population.load(folder / POPULATION)
    protocol = protocol_of(scenario)
    plan = scenario.plan(protocol, population.catalogue, population.n_users, bytes.fromhex(PINNED_SHA256))
    return write_results(scenario, protocol, population, plan, folder, Seconds(federation=None))


def write_results(
    scenario: Scenario,
    protocol: ProtocolSection,
    population: Population,
    plan: Plan,
    folder: Path,
    seconds: Seconds,
) -> Results:
    """Evaluate a run folder; writes results.json and report.html, returns the results."""
    found = evaluate(folder, population, protocol, plan, held_out=read_mask(folder), seed=scenario.data.seed)
    results = Results(
        format=FORMAT,
        name=scenario.name,
        about=scenario.about,
        simulated=population.simulated,
        data=scenario.data.name,
        devices=population.n_users,
        categories=len(population.catalogue),
        step=population.step.value,
        fidelity=scenario.simulation.fidelity,
        identified_share=scenario.simulation.identified_share,
        randomised_share=scenario.simulation.randomised_share,
        caps=caps_numbers(scenario.caps.caps(), scenario.caps.table),
        protocol=protocol,
        plan=plan_numbers(plan),
        **vars(found),
        utility=utility_of(folder, scenario.data.name),
        seconds=seconds,
        made_with={
            **{name: version(name) for name in ("ebbtide", "flwr", "numpy", "dp-accounting")},
            "python": platform.python_version(),
        },
    )
    results_file.write(results, folder / RESULTS_FILE)
    write_report(results, folder / REPORT_FILE)
    return results


def plan_numbers(plan: Plan) -> PlanNumbers:
    """The plan's numbers, for people."""
    privacy = {k: v for k, v in vars(plan.privacy).items() if k != "max_epsilon"}
    return PlanNumbers(
        horizon_steps=plan.horizon_steps,
        parameters=plan.network.n_parameters,
        hidden=list(plan.network.hidden),
        **privacy,
        **vars(plan.training),
        detection=plan.detection,
        sha256=plan.sha256.hex(),
    )


@contextmanager
def watching(progress_file: Path, on_progress: OnProgress) -> Iterator[None]:
    """Pass the server's progress lines on while the body runs."""
    done = threading.Event()

    def follow() -> None:
        position = 0
        while True:
            last = done.is_set()
            if progress_file.exists():
                with progress_file.open(encoding="utf-8") as file:
                    file.seek(position)
                    while (line := file.readline()).endswith("\n"):
                        position = file.tell()
                        entry = json.loads(line)
                        on_progress(entry["phase"], entry["done"], entry["total"])
            if last:
                return
            done.wait(0.3)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
