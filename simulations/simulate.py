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
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from client.runtime import MODEL_FILE, PINNED_SHA256
from server.accounting import affordable_rounds, epsilon_to_public
from server.app import Schedule
from server.signing import public_bytes, signing_key
from shared.errors import BudgetError, ConfigError, RunError
from shared.plan import Plan
from shared.whole_files import replace_content, replacing

from .config import PLANTED_PROTOCOL, ProtocolSection, Scenario, step_of
from .datasets import DATASETS, load
from .devices import POPULATION, SERVER_KEY_FILE
from .evaluate import evaluate
from .held_out import expect_hosts, held_out_users, read_mask, write_mask
from .owners import CONSENTS_FILE, Owners, caps_figures, check_bits, check_caps
from .planted import plant
from .population import Population
from .report import write_report
from .runner import run_app, write_app_folder
from .warm_start import planted_history, public_lapse_rows, warm_theta

SCENARIO_FILE = "scenario.json"
THETA_FILE = "theta0.npy"
PUBLIC_FILE = "public.npz"
RESULTS_FILE = "results.json"
REPORT_FILE = "report.html"
#: Where the server's private key lies in a run's folder.
SIGNING_KEY_FILE = "server/signing.pem"

#: Server and client app of each fidelity.
COMPONENTS = {
    "devices": ("server.app:app", "simulations.devices:app"),
    "hosts": ("simulations.host_server:app", "simulations.hosts:app"),
}

#: Told as a run goes on: phase, how much is done, of how much.
OnProgress = Callable[[str, int, int], None]


def protocol_of(scenario: Scenario) -> ProtocolSection:
    """The scenario's own protocol, or else its data set's."""
    if scenario.protocol is not None:
        return scenario.protocol
    if scenario.data.name == "planted":
        return PLANTED_PROTOCOL
    info = DATASETS[scenario.data.name]
    return ProtocolSection(
        window_steps=info.window_steps,
        horizon_steps=info.horizon_steps,
        lapse_steps=info.lapse_steps,
        train_steps=info.train_steps,
        test_steps=info.test_steps,
        alert_steps=info.lapse_test_steps,
        lapse_train_steps=info.lapse_train_steps,
        n_steps=info.n_steps,
    )


def population_of(scenario: Scenario, protocol: ProtocolSection) -> Population:
    """The scenario's people."""
    data = scenario.data
    if data.name == "planted":
        if data.users < 1:
            raise ConfigError(f"expected data.users >= 1 for planted data, got {data.users}")
        return plant(data.users, protocol.n_steps, seed=data.seed)
    return load(data.name, Path(data.path) if data.path else None, users=data.users or None, seed=data.seed)


def check_budget(plan: Plan) -> None:
    """BudgetError unless the plan's whole training fits its max_epsilon; says what would fit."""
    privacy = plan.privacy
    if affordable_rounds(*plan.charged) < privacy.rounds:
        raise BudgetError(
            f"expected epsilon <= {privacy.max_epsilon:g}, but {privacy.rounds} rounds{' and phi' if plan.also else ''} cost "
            f"{epsilon_to_public(privacy, privacy.rounds, plan.also):.3g}: raise privacy.noise_multiplier, or lower rounds or "
            "sampling_rate"
        )


def check_owners(scenario: Scenario, plan: Plan) -> None:
    """ConfigError if the owners' caps refuse a round of the plan on every device, or the scenario's bits."""
    caps = scenario.caps.caps()
    check_caps(plan, caps)
    if bits := scenario.bits.schedule():
        check_bits(bits, caps, step_of(scenario))


def schedule_of(scenario: Scenario, protocol: ProtocolSection) -> Schedule:
    """When the server asks; nobody waits."""
    every = scenario.simulation.query_every_steps
    return Schedule(
        protocol.train_at,
        protocol.test_steps[0] + every - 1,
        protocol.test_steps[1],
        query_every_steps=every,
        replay_step_s=float(step_of(scenario).seconds),
        bits=scenario.bits.schedule(),
    )


def simulate(scenario: Scenario, folder: Path, on_progress: OnProgress, *, resume: bool = False) -> dict[str, Any]:
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
    seconds = {"federation": round(time.monotonic() - federation_started, 1)}
    results = write_results(scenario, protocol, population, plan, folder, seconds)
    on_progress("figures", 1, 1)
    return results


def evaluate_run(folder: Path) -> dict[str, Any]:
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
    return write_results(scenario, protocol, population, plan, folder, {})


def write_results(
    scenario: Scenario,
    protocol: ProtocolSection,
    population: Population,
    plan: Plan,
    folder: Path,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Evaluate a run folder; writes results.json and report.html, returns the results."""
    results = {
        "name": scenario.name,
        "about": scenario.about,
        "simulated": population.simulated,
        "data": scenario.data.name,
        "devices": population.n_users,
        "categories": len(population.catalogue),
        "step": population.step.value,
        "fidelity": scenario.simulation.fidelity,
        "identified_share": scenario.simulation.identified_share,
        "randomised_share": scenario.simulation.randomised_share,
        "caps": caps_figures(scenario.caps.caps(), scenario.caps.table),
        "protocol": protocol.model_dump(),
        "plan": plan_figures(plan),
        **evaluate(folder, population, protocol, plan, held_out=read_mask(folder), seed=scenario.data.seed),
        "seconds": seconds,
        "made_with": {
            **{name: version(name) for name in ("ebbtide", "flwr", "numpy", "dp-accounting")},
            "python": platform.python_version(),
        },
    }
    replace_content(folder / RESULTS_FILE, json.dumps(results, indent=1))
    write_report(results, folder / REPORT_FILE)
    return results


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
        "server.risk-learning-rate": scenario.risk.learning_rate,
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


def plan_figures(plan: Plan) -> dict[str, Any]:
    """The plan's numbers, for people."""
    privacy = {k: v for k, v in vars(plan.privacy).items() if k != "max_epsilon"}
    return {
        "horizon_steps": plan.horizon_steps,
        "parameters": plan.network.n_parameters,
        "hidden": list(plan.network.hidden),
        **privacy,
        **vars(plan.training),
        "detection": vars(plan.detection),
        "sha256": plan.sha256.hex(),
    }


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
