"""One scenario from start to report: people, plan, federation, results.

What lies where: `federation/run_folder.py`.
"""

from __future__ import annotations

import json
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from shared.errors import ConfigError, RunError, RunStopped
from shared.plan import Plan

from .evaluation import results_file
from .evaluation.evaluate import evaluate
from .evaluation.results import FORMAT, PlanNumbers, Results, Seconds
from .federation.checks import check_budget, check_owners
from .federation.flower_runtime import LOG_FILE, RunFailed, run_app, write_app_folder
from .federation.run_folder import RunFolder
from .federation.run_settings import COMPONENTS, run_config
from .people.of_scenario import population_of
from .people.population import Population
from .people.setup import Setup
from .report.report import write_report
from .report.utility import utility_of
from .scenarios.config import Scenario
from .scenarios.held_out import expect_hosts
from .scenarios.owners import caps_numbers

#: Told as a run goes on: phase, how much is done, of how much.
OnProgress = Callable[[str, int, int], None]


def simulate(scenario: Scenario, folder: Path, on_progress: OnProgress, *, resume: bool = False) -> Results:
    """Run a scenario in `folder` and return its results; RunError if the federation fails, or if its server stopped it.

    The folder is emptied first, or with `resume` gone on with: rounds that were charged stay charged, and none is run
    twice.
    """
    expect_hosts(scenario)
    run = RunFolder(folder)
    on_progress("people", 0, 1)
    population = population_of(scenario)
    setup = Setup.of(scenario, population)
    check_budget(setup.plan)
    check_owners(setup)
    if resume:
        run.expect_same_run(scenario)
    else:
        run.prepare(setup, population)
    on_progress("people", 1, 1)
    on_progress("warm_start", 0, 1)
    run.write_public(setup)
    on_progress("warm_start", 1, 1)
    serverapp, clientapp = COMPONENTS[scenario.simulation.fidelity]
    app = write_app_folder(run.app, serverapp=serverapp, clientapp=clientapp, config=run_config(setup, run))
    by_host = scenario.simulation.fidelity == "hosts"
    nodes = scenario.simulation.hosts if by_host else population.n_users
    federation_started = time.monotonic()
    try:
        with watching(run.server.progress_file, on_progress):
            run_app(app, nodes=nodes, home=run.flower, timeout_s=scenario.simulation.timeout_s)
    except RunFailed as failed:
        said = failed.reason.partition(f"{RunStopped.__name__}: ")[2]
        if not said:
            raise
        raise RunError(f"{said} What was learned and spent until then is in {run.server_path}.") from None
    if not run.server.account_file.exists():
        raise RunError(f"the federation ended without an account: see {run.flower / LOG_FILE}")
    on_progress("results", 0, 1)
    federation_s = round(time.monotonic() - federation_started, 1)
    results = write_results(run, setup, population, Seconds(federation=federation_s))
    on_progress("results", 1, 1)
    return results


def evaluate_run(folder: Path) -> Results:
    """The results and report of a run that has ended, made again from its folder; InputError if it is none."""
    run = RunFolder(folder)
    try:
        scenario = run.scenario()
    except OSError:
        raise ConfigError(f"expected the folder of a run, got {folder}: {run.scenario_file.name} is missing") from None
    except ValueError:
        raise ConfigError(f"expected the folder of a run, got {folder}: {run.scenario_file.name} is damaged") from None
    if not (run.server.account_file.exists() and run.server.traffic_file.exists()):
        raise ConfigError(f"expected a run that has ended, got {folder}: simulate it again")
    if why := json.loads(run.server.account_file.read_text(encoding="utf-8")).get("stopped"):
        raise ConfigError(f"expected a run that has ended, got {folder}, which stopped: {why}")
    population = Population.load(run.population)
    return write_results(run, Setup.of(scenario, population), population, Seconds(federation=None))


def write_results(run: RunFolder, setup: Setup, population: Population, seconds: Seconds) -> Results:
    """Evaluate a run folder; writes results.json and report.html, returns the results."""
    scenario = setup.scenario
    found = evaluate(run, setup, population, held_out=run.held_out(), seed=scenario.data.seed)
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
        caps=caps_numbers(setup.caps, scenario.caps.table),
        protocol=setup.protocol,
        plan=plan_numbers(setup.plan),
        **vars(found),
        utility=utility_of(run, scenario.data.name),
        seconds=seconds,
        made_with={
            **{name: version(name) for name in ("ebbtide", "flwr", "numpy")},
            "python": platform.python_version(),
        },
    )
    results_file.write(results, run.results_file)
    write_report(results, run.report_file)
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
