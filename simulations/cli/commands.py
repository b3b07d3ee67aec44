"""The commands of `ebbtide`: one scenario, its results, its price, and data. Others: `choose.py`, `search.py`, `streams.py`,
`enrol.py`."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from shared.errors import ConfigError, InputError
from shared.files import replace_content

from ..terminal.lines import say_beside
from ..terminal.printing import say, say_paragraph, say_path, say_table, shown
from ..terminal.stopping import leaving
from .choose import register as register_choice
from .data import register as register_data
from .decide import register as register_decision
from .enrol import register as register_enrolment
from .evidence import register as register_evidence
from .options import DataPath, LogTo, Overrides, Overwrite, Rivals, ScenarioName, expect_free_file
from .progress import phase_bars
from .search import register as register_search
from .streams import register as register_streams
from .terms import terms_of
from .verify import register as register_verification

if TYPE_CHECKING:
    from ..evaluation.results import Results
    from ..scenarios.config import Scenario

app = typer.Typer(
    no_args_is_help=True,
    suggest_commands=False,  # click does
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""Early warning of turning user interest, computed on the user's own device.

    Start with [bold]ebbtide simulate[/]: 300 simulated devices train, score and detect, and a report says how it went.
    Then [bold]ebbtide data[/] shows the real data sets, and [bold]ebbtide epsilon[/] what a plan costs in privacy.""",
)


def _version(wanted: bool) -> None:
    """Print the version, and of a clone the commit, and end."""
    if wanted:
        from ..provenance import commit, versions

        known = "" if (short := commit()).startswith("unknown") else f" (commit {short})"
        say(f"ebbtide {versions('ebbtide')['ebbtide']}{known}")
        raise typer.Exit


@app.callback()
def ebbtide(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


@app.command()
def simulate(
    scenario: ScenarioName = "",
    data: Annotated[
        str,
        typer.Option(
            help="planted (simulated), complete-journey, online-retail-ii, ta-feng or ta-feng-days; or a file or folder with a log "
            "of your own."
        ),
    ] = "",
    path: DataPath = "",
    users: Annotated[int | None, typer.Option(help="How many of its users; 0 for all.")] = None,
    overrides: Overrides = None,
    folder: Annotated[Path | None, typer.Option("--out", help="The run's folder (default: runs/<name>).")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run; what it spent stays spent.")
    ] = False,
    overwrite: Overwrite = False,
    rival: Rivals = None,
    log: LogTo = None,
) -> None:
    """Run a whole federation on this machine: people, devices, server, alerts, and a report.

    Without arguments it runs [bold]demo[/]: 300 simulated shoppers, one device each. A run of minutes says first what it will take.

    Examples: [bold]ebbtide simulate --data complete-journey[/], [bold]ebbtide simulate demo --set privacy.rounds=10[/],
    [bold]ebbtide simulate million --users 1000[/]
    """
    from ..federation.run_folder import RunFolder
    from ..people.datasets import DATASETS
    from ..report.tracking import log_run, trackers
    from ..rivals.code import load_rivals
    from ..run import Brought
    from ..run import simulate as run
    from ..scenarios.config import load_scenario, with_path

    if resume and overwrite:
        raise ConfigError("expected --resume or --overwrite, got both")
    made = None
    if data == "file":
        data, path = path, ""
        if not data:
            raise ConfigError("expected --path with --data file, got none")
    if data and data != "planted" and data not in DATASETS:
        if path:
            raise ConfigError(f"expected one place of your data, got --data {shown(data)} and --path {shown(path)}")
        if scenario:
            data, path = "file", data
        else:
            made = _own_scenario(data, users, overrides or [], folder, resume=resume, overwrite=overwrite)
    name = scenario or {"": "demo", "planted": "demo"}.get(data, data)
    named = [f"data.name={json.dumps(data)}"] if data and scenario else []
    given = with_path([*(overrides or ()), *named], path)
    given += [f"data.users={users}"] if users is not None else []
    chosen, text = made or (load_scenario(name, given), None)
    target = folder or Path("runs") / chosen.name
    own, theirs, places = RunFolder(target), load_rivals(rival or ()), trackers(log or ())
    own.expect_free(overwrite=overwrite or resume)

    def left() -> str:
        if not own.begun:
            return "no process is left, and nothing was spent: give the same command again"
        again = [part for part in sys.argv[1:] if part not in ("--resume", "--overwrite")]
        return f"no process is left, what was spent stays spent; to go on: ebbtide {shlex.join([*again, '--resume'])}"

    with terms_of(chosen.data.name, target.parent), leaving(left), phase_bars() as on_progress:
        brought = Brought(rivals=theirs, text=text)
        results = run(chosen, target, on_progress, brought, resume=resume, overwrite=overwrite, announce=say_beside)
    _print_results(results, target)
    say_path("report", own.report_file)
    log_run(own.server.progress_file, results, places)


def _own_scenario(
    place: str, users: int | None, overrides: list[str], folder: Path | None, *, resume: bool, overwrite: bool
) -> tuple[Scenario, str | None]:
    """The scenario of a log of one's own, told in a few lines, and its text with comments; of a run that is gone on with, the
    one that it began with."""
    from ..federation.run_folder import RunFolder
    from ..people.datasets import DATASETS
    from ..people.own_data.made import made_for, name_of
    from ..scenarios.config import scenario_of, with_path

    with_path((), place)  # as text
    if not resume and not Path(place).exists():
        raise ConfigError(
            f"expected planted, {', '.join(DATASETS)}, or a file or folder with a log of your own, got {shown(place)}, which is "
            "not there"
        )
    target = folder or Path("runs") / name_of(place)
    own = RunFolder(target)
    if resume:
        if (kept := own.begun_scenario()) is None or kept.data.path != place:
            raise ConfigError(f"expected an interrupted run of {shown(place)} to go on with, got {target}")
        given = [*overrides, *([f"data.users={users}"] if users is not None else [])]
        return scenario_of(kept.model_dump(), given, shown(place)), None
    own.expect_free(overwrite=overwrite)
    made = made_for(place, users, overrides)
    for line in made.lines:
        say(line)
    return made.scenario, made.text


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a run that has ended, e.g. runs/demo.")],
    rival: Rivals = None,
    log: LogTo = None,
) -> None:
    """Compute a run's results and report again from its folder, without training."""
    from ..federation.run_folder import RunFolder
    from ..report.tracking import log_run, trackers
    from ..rivals.code import load_rivals
    from ..run import evaluate_run

    theirs, places = load_rivals(rival or ()), trackers(log or ())

    with leaving(lambda: f"the run in {run} is as it was: give the same command again"):
        results = evaluate_run(run, theirs)
    _print_results(results, run)
    say_path("report", RunFolder(run).report_file)
    log_run(RunFolder(run).server.progress_file, results, places)


@app.command()
def epsilon(
    scenario: ScenarioName = "demo",
    overrides: Overrides = None,
    devices: Annotated[int | None, typer.Option(min=1, help="How many devices (default: the scenario's).")] = None,
) -> None:
    """Say what a plan costs in privacy, without training anything.

    Example: [bold]ebbtide epsilon --devices 10000 --set privacy.noise_multiplier=4[/]
    """
    from server.privacy.accounting import account_of
    from shared.events import Catalogue

    from ..evaluation.results import Account
    from ..federation.checks import check_setup
    from ..people.of_scenario import open_scenario
    from ..people.setup import Crowd, Setup
    from ..report.format import epsilon as in_words
    from ..report.summary import broken_in_words, caps_in_words, epsilon_to_server_in_words, line_in_words
    from ..scenarios.owners import caps_numbers

    chosen = open_scenario(scenario, overrides or ())
    n_devices = devices or chosen.data.users
    if not n_devices:
        raise ConfigError("expected --devices N: the scenario says all users, which only its data knows")
    setup = Setup.of(chosen, Crowd(n_devices, Catalogue(("any",))))
    check_setup(setup)
    privacy = setup.plan.privacy
    said = Account.model_validate(account_of(setup.plan, setup.charged))
    table = Table("to whom", f"epsilon at delta {privacy.delta:g}", title=f"{chosen.name}: {n_devices} devices")
    for line in said.lines:
        table.add_row(f"who sees what comes of {line.line} alone", line_in_words(line))
    how = "by the bound" if said.by_bound else f"exactly; by the Rényi bound {in_words(said.epsilon_bound)}"
    table.add_row("who sees all of it, models and rates", f"{in_words(said.epsilon_to_public)} ({how})", style="bold")
    table.add_row("the server and the seats, with the sum trusted", epsilon_to_server_in_words(said))
    table.add_row("whoever broke the sum of a round, one message", broken_in_words(said))
    table.add_row("the server, which learns", said.to_server)
    table.add_row("what the owner of each device allows", caps_in_words(caps_numbers(setup.caps, chosen.caps.table)))
    say_table(table)
    say(
        f"expected cohort {privacy.expected_cohort:.0f}, noise multiplier {privacy.noise_multiplier:g}, "
        f"each device adds noise of {privacy.share_sigma:.0f} grid steps to at most {privacy.steps_per_clip}; "
        f"a sum is opened if {privacy.min_survivors} answer, {privacy.max_colluders} of whom may have added none"
    )


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write the .tflite file.")],
    features: Annotated[int, typer.Option(min=1, help="Inputs of the network.")] = 27,
    overwrite: Overwrite = False,
) -> None:
    """Build the interest DNN as a .tflite file. Needs TensorFlow: best in an environment of its own."""
    expect_free_file(file, overwrite=overwrite)
    try:
        from server.export import build
    except ImportError:
        raise InputError(
            "export needs TensorFlow, which must stay out of the environment that runs Flower: "
            "make .venv-export/.ready, then .venv-export/bin/python -m server.export FILE"
        ) from None
    from shared.network import NetworkSpec

    model = build(NetworkSpec(features))
    replace_content(file, model)
    say(f"{file}: {len(model)} bytes")


register_data(app)
register_search(app)
register_streams(app)
register_choice(app)
register_enrolment(app)
register_verification(app)
register_evidence(app)
register_decision(app)


def _print_results(results: Results, run: Path) -> None:
    """The answer, then the rows that matter most; the report has the others."""
    from ..report.answer_words import answer_in_words
    from ..report.summary import disk_in_words, short_rows

    said = answer_in_words(results, shlex.quote(str(run)))
    say_paragraph(said.verdict, strong=True)
    say_paragraph(" ".join([*said.sentences, said.limits]))
    say(f"next: {said.next_step}")
    table = Table(show_header=False, title="SIMULATED data" if results.simulated else results.data)
    for label, value in short_rows(results):
        table.add_row(label, value)
    say_table(table)
    say(f"people and devices, on this disk: {disk_in_words(results)}")
