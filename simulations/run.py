"""One scenario from start to report: people, plan, federation, results.

What lies where: `federation/run_folder.py`.
"""

from __future__ import annotations

import json
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from shared.arrays import Bools, Doubles, as_declared, hold_declared
from shared.errors import ConfigError, RunError, RunStopped
from shared.files import replace_content
from shared.plan import Plan

from .evaluation import results_file
from .evaluation.results import FORMAT, PlanNumbers, Results, Seconds
from .federation.checks import check_machine, check_room, check_scenario, check_setup
from .federation.flower_runtime import (
    LOG_FILE,
    RunFailed,
    end_leftovers,
    expect_cluster,
    plain_path,
    run_app,
    write_app_folder,
)
from .federation.run_folder import RunFolder
from .federation.run_settings import COMPONENTS, nodes_of, run_config
from .federation.sums.enroller import enrolling
from .federation.sums.spot_check import IDEAL, held_by, read_check
from .folder_lock import locked
from .people.labelled_rows import history_of
from .people.of_scenario import columns_of_scores, data_title, population_of, to_plant, whole
from .people.planted import Saved
from .people.population import Population
from .people.setup import Setup
from .provenance import versions
from .rivals.scores import Rival, TheirScores, expect_different_names, judged_steps, of_column, scores_of
from .scenarios.config import Scenario
from .scenarios.own_data import FileSection
from .scenarios.owners import caps_numbers
from .scenarios.written import scenario_text

if TYPE_CHECKING:
    from .evaluation.beforehand import Beforehand

#: Told as a run goes on: phase, how much is done, of how much.
OnProgress = Callable[[str, int, int], None]
#: Carries a run's federation out, in its folder, which holds the people.
Federate = Callable[[Setup, RunFolder], None]

Result = TypeVar("Result")


@dataclass(frozen=True)
class Brought:
    """What a run is given beside its scenario. `people`: whom it is about, where they do not come from its data, with what columns of
    `scores` said of them, (K, C, T) by name. `rivals`: rules of the reader's own, carried out before anything is trained.
    `text`: the scenario as a file with comments, kept beside a run of a log of one's own."""

    people: Population | None = None
    scores: Mapping[str, Doubles] = field(default_factory=dict)
    rivals: Sequence[Rival] = ()
    text: str | None = None

    def __post_init__(self) -> None:
        hold_declared(self)


NOTHING: Final = Brought()


def simulate(
    scenario: Scenario,
    folder: Path,
    on_progress: OnProgress,
    brought: Brought = NOTHING,
    *,
    resume: bool = False,
    overwrite: bool = False,
    federate: Federate | None = None,
    announce: Callable[[str], None] | None = None,
) -> Results:
    """Run a scenario in `folder` and return its results; RunError if the federation fails, or if its server stopped it.

    With `resume` a run that was begun there is gone on with: rounds that were charged stay charged, and none is run twice; people
    who are brought have to be those that it began with. Otherwise ConfigError if there is one, unless `overwrite` says that it
    may be emptied. While it works, the folder is this process's alone; whatever is raised, no process and no half-written file
    is left in it.

    `federate` has the federation run by who has one already: without it, Flower is started for this run, and ended. `announce` gets
    one line of what a new run will take, before it begins, if that is long or more than this machine has free.
    """
    run = RunFolder(folder)
    kept = run.begun_scenario() if resume else None
    if brought.people is None:
        scenario = as_begun(scenario, kept) if kept else whole(scenario)
    check_scenario(scenario)
    with locked(folder):
        if resume:
            run.expect_same_run(scenario)
        else:
            run.expect_free(overwrite=overwrite)
        check_machine(folder)
        if federate is None:
            with plain_path(folder) as plain:
                expect_cluster(plain)
        people = _people(scenario, run, brought, resume)
        setup = run.setup(scenario, people) if resume else Setup.of(scenario, people)
        check_setup(setup)
        line = "" if resume else check_room(setup, folder)
        columns = columns_of_scores(scenario) if brought.people is None and not resume else brought.scores
        said = said_by(brought.rivals, setup, people, columns) if isinstance(people, Population) else []
        if line and announce is not None:
            announce(line)
        on_progress("people", 0, 1)
        end_leftovers(run.flower)  # of a process that was killed: whoever has the folder now has the lock
        try:
            if not resume:
                run.prepare(setup, people)
                if scenario.data.name == "file":
                    replace_content(run.text_file, brought.text or scenario_text(scenario))
            if said:
                run.write_rivals(said)
            population = Population.load(run.population)  # from the disk, and no longer in memory
            on_progress("people", 1, 1)
            return _carry_out(setup, population, run, on_progress, federate or through_flower)
        finally:
            run.remove_unfinished()


def as_begun(scenario: Scenario, kept: Scenario) -> Scenario:
    """The scenario with what its run once took from a log, which may have changed since, where it does not say otherwise."""
    if scenario.data.name != "file" or kept.data.file is None:
        return whole(scenario)
    asked = (scenario.data.file or FileSection()).model_dump(exclude_defaults=True)
    if any(getattr(kept.data.file, key) != value for key, value in asked.items()):
        return scenario
    data = scenario.data.model_copy(update={"file": kept.data.file})
    return scenario.model_copy(update={"data": data, "protocol": scenario.protocol or kept.protocol})


def _people(scenario: Scenario, run: RunFolder, brought: Brought, resume: bool) -> Saved:
    """Whom a run is about. Of a log, which may have changed since, what a run began with is in its folder; ConfigError if others
    are brought to go on with it."""
    if brought.people is None and scenario.data.name == "planted" and not brought.rivals:
        return to_plant(scenario)
    if brought.people is None and not (resume and scenario.data.file):
        return population_of(scenario)
    if not resume:
        assert brought.people is not None
        return brought.people
    kept = Population.load(run.population)
    if brought.people is not None and not _alike(kept, brought.people):
        raise ConfigError(f"expected the people that {run.path} began with, got others: give another folder")
    return kept


def _alike(one: Population, other: Population) -> bool:
    """Whether both hold the same events of the same categories."""
    return (one.catalogue, one.step, one.n_steps) == (other.catalogue, other.step, other.n_steps) and all(
        np.array_equal(getattr(one, column), getattr(other, column))
        for column in ("offsets", "category", "kind", "time_s", "amount")
    )


def _carry_out(
    setup: Setup, population: Population, run: RunFolder, on_progress: OnProgress, federate: Federate
) -> Results:
    """The federation, unless it has ended already, and its results."""
    seconds, before = Seconds(federation=None), None
    if not run.has_account:
        seconds, before = _federated(setup, population, run, on_progress, federate)
    on_progress("results", 0, 1)
    results = write_results(run, setup, population, seconds, before)
    on_progress("results", 1, 1)
    return results


def _federated(
    setup: Setup, population: Population, run: RunFolder, on_progress: OnProgress, federate: Federate
) -> tuple[Seconds, Beforehand | None]:
    """How long the federation took; and what was said of the people meanwhile, while Flower starts. That is quick, and little, where they
    are simulated: real data are left until workers need neither cores nor memory."""
    if federate is not through_flower or not population.simulated:
        return Seconds(federation=_federation_s(setup, run, on_progress, federate)), None
    held_out = run.held_out()
    with meanwhile(lambda: _said_before(setup, population, held_out)) as wait:
        return Seconds(federation=_federation_s(setup, run, on_progress, federate)), wait()


def _said_before(setup: Setup, population: Population, held_out: Bools | None) -> Beforehand:
    """See `beforehand`; afterwards all that results need is loaded, too."""
    from .evaluation.beforehand import beforehand

    with threadpool_limits(1):  # small arrays: a second thread of the linear algebra waits more than it works
        said = beforehand(setup, population, held_out=held_out, seed=setup.scenario.data.seed)
    for name in (".evaluation.evaluate", ".audit.audit", ".report.report"):
        import_module(name, __package__)
    return said


def _federation_s(setup: Setup, run: RunFolder, on_progress: OnProgress, federate: Federate) -> float:
    """Seconds that the federation took; RunError unless it came to its end."""
    on_progress("warm_start", 0, 1)
    run.write_public(setup)
    on_progress("warm_start", 1, 1)
    federation_started = time.monotonic()
    with watching(run.server.progress_file, on_progress):
        federate(setup, run)
    if not run.has_account:
        raise RunError(f"the federation ended without an account: see {run.flower / LOG_FILE}")
    return round(time.monotonic() - federation_started, 1)


def through_flower(setup: Setup, run: RunFolder) -> None:
    """A federation of its own: Flower is started, carries the run out, and is ended. RunError if it failed, or was stopped."""
    simulation = setup.scenario.simulation
    serverapp, clientapp = COMPONENTS[simulation.fidelity]
    try:
        with plain_path(run.path) as path, enrolling(run, setup.plan, setup.train_s):
            plain = RunFolder(path)
            config = run_config(setup, plain)
            app = write_app_folder(plain.app, serverapp=serverapp, clientapp=clientapp, config=config)
            run_app(app, nodes=nodes_of(setup), home=plain.flower, timeout_s=simulation.timeout_s)
    except RunFailed as failed:
        said = failed.reason.partition(f"{RunStopped.__name__}: ")[2]
        if not said:
            raise
        raise RunError(f"{said} What was learned and spent until then is in {run.server_path}.") from None


@as_declared
def said_by(
    rivals: Sequence[Rival], setup: Setup, population: Population, columns: Mapping[str, Doubles] | None = None
) -> list[TheirScores]:
    """What the reader's own rules, and `columns` (K, C, T) of scores in their log, say wherever anything is judged; InputError, in
    one line, if one fails."""
    if not rivals and not columns:
        return []
    history, steps = history_of(population), judged_steps(setup.protocol)
    everyone = [*rivals, *(of_column(name, said, history, steps) for name, said in (columns or {}).items())]
    expect_different_names([each.name for each in everyone])
    return [scores_of(rival, history, steps) for rival in everyone]


def evaluate_run(folder: Path, rivals: Sequence[Rival] = ()) -> Results:
    """The results and report of a run that has ended, made again from its folder; InputError if it is none. `rivals`, where there
    are any, take the place of those that the run was made with."""
    run = RunFolder(folder)
    run.ended_scenario()  # no lock is left where there is no run
    with locked(folder):
        population = Population.load(run.population)
        setup = run.setup(run.ended_scenario(), population)
        if said := said_by(rivals, setup, population):
            run.write_rivals(said)
        return write_results(run, setup, population, Seconds(federation=None))


def write_results(
    run: RunFolder, setup: Setup, population: Population, seconds: Seconds, before: Beforehand | None = None
) -> Results:
    """Evaluate and audit a run folder; writes results.json, report.html and audit.json, returns the results. RunError, after all of
    that is written, if what was released breaks what is stated. `before`: what is known without it, where that is known already."""
    from .audit.audit import audit_run, expect_kept, keep_audit  # a second of loading, which Flower does not wait for
    from .audit.words import in_a_line
    from .evaluation.evaluate import evaluate
    from .report.report import write_report
    from .report.utility import utility_of

    scenario = setup.scenario
    with threadpool_limits(1):
        found = evaluate(run, setup, population, held_out=run.held_out(), seed=scenario.data.seed, before=before)
    results = Results(
        format=FORMAT,
        name=scenario.name,
        about=scenario.about,
        simulated=population.simulated,
        data=data_title(scenario),
        devices=population.n_users,
        categories=len(population.catalogue),
        step=population.step.value,
        fidelity=scenario.simulation.fidelity,
        sum=sum_words(run, setup),
        identified_share=scenario.simulation.identified_share,
        randomised_share=scenario.simulation.randomised_share,
        summed_share=scenario.simulation.summed_share,
        caps=caps_numbers(setup.caps, scenario.caps.table),
        protocol=setup.protocol,
        plan=plan_numbers(setup.plan),
        **vars(found),
        utility=utility_of(run, scenario.data.name),
        seconds=seconds,
        made_with={
            **versions("ebbtide", "flwr", "numpy"),
            "python": platform.python_version(),
        },
    )
    with threadpool_limits(1):
        audit = audit_run(run, setup, population)
    results_file.write(results, run.results_file)
    write_report(results, run.report_file, [("audit of what was released", in_a_line(audit))])
    keep_audit(run, audit)
    run.vouch()
    expect_kept(audit)
    return results


def sum_words(run: RunFolder, setup: Setup) -> str:
    """Who added the rounds of a run up, in words; of `hosts` fidelity, that its sums were ideal. RunError if some of these came
    to anything else by the real protocol, or if that was not tried."""
    if setup.plan.sum is None or setup.scenario.simulation.fidelity == "devices":
        return "" if setup.plan.sum is None else held_by(setup.plan.sum)
    received = run.server.traffic().get("received", {})
    summed = [kind.reply for kind in setup.plan.updates if received.get(kind.reply)]
    return "; ".join([IDEAL, *(f"{reply}: {read_check(run.sum_check_file(reply))}" for reply in summed)])


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
def meanwhile(work: Callable[[], Result]) -> Iterator[Callable[[], Result]]:
    """A thread that does the `work` while the body runs: what is handed out waits for its end, and gives what it gave, or raises what it
    raised. It is waited for where the body raises, too: a process that ends under a thread may end with a crash."""
    done: list[Result] = []
    failed: list[BaseException] = []

    def carry_out() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=carry_out)
    thread.start()

    def wait() -> Result:
        thread.join()
        if failed:
            raise failed[0]
        return done[0]

    try:
        yield wait
    finally:
        thread.join()


@contextmanager
def watching(progress_file: Path, on_progress: OnProgress) -> Iterator[None]:
    """Pass the server's progress lines on while the body runs."""
    done = threading.Event()

    def follow() -> None:
        position = 0
        while True:
            last = done.is_set()
            if progress_file.exists():
                with progress_file.open("rb") as file:
                    file.seek(position)
                    while (line := file.readline()).endswith(b"\n"):
                        position = file.tell()
                        with suppress(ValueError, LookupError, TypeError):  # a killed writer leaves half a line
                            entry = json.loads(line)
                            on_progress(str(entry["phase"]), int(entry["done"]), int(entry["total"]))
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
