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

from ..terminal.printing import say, say_path, say_table
from ..terminal.stopping import leaving
from .choose import register as register_choice
from .decide import register as register_decision
from .enrol import register as register_enrolment
from .options import DataPath, Overrides, Overwrite, ScenarioName, expect_free_file
from .progress import phase_bars
from .search import register as register_search
from .streams import register as register_streams
from .terms import terms_of

if TYPE_CHECKING:
    from ..evaluation.results import Results

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    suggest_commands=False,  # click does
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""Early warning of turning user interest, computed on the user's own device.

    Start with [bold]ebbtide simulate[/]: 300 simulated devices train, score and detect, and a report says how it went.
    Then [bold]ebbtide data[/] shows the real data sets, and [bold]ebbtide epsilon[/] what a plan costs in privacy.""",
)


@app.command()
def simulate(
    scenario: ScenarioName = "",
    data: Annotated[
        str, typer.Option(help="planted (simulated), complete-journey or online-retail-ii: runs its own scenario.")
    ] = "",
    path: DataPath = "",
    users: Annotated[int | None, typer.Option(help="How many of its users; 0 for all.")] = None,
    overrides: Overrides = None,
    folder: Annotated[Path | None, typer.Option("--out", help="The run's folder (default: runs/<name>).")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run; what it spent stays spent.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Run a whole federation on this machine: people, devices, server, alerts, and a report.

    Without arguments it runs [bold]demo[/]: 300 simulated shoppers, one device each.

    Examples: [bold]ebbtide simulate --data complete-journey[/], [bold]ebbtide simulate demo --set privacy.rounds=10[/]
    """
    from ..federation.run_folder import RunFolder
    from ..run import simulate as run
    from ..scenarios.config import load_scenario, with_path

    if resume and overwrite:
        raise ConfigError("expected --resume or --overwrite, got both")
    name = scenario or {"": "demo", "planted": "demo"}.get(data, data)
    named = [f"data.name={json.dumps(data)}"] if data and scenario else []
    given = with_path([*(overrides or ()), *named], path)
    given += [f"data.users={users}"] if users is not None else []
    chosen = load_scenario(name, given)
    target = folder or Path("runs") / chosen.name
    own = RunFolder(target)
    own.expect_free(overwrite=overwrite or resume)

    def left() -> str:
        if not own.begun:
            return "no process is left, and nothing was spent: give the same command again"
        again = [part for part in sys.argv[1:] if part not in ("--resume", "--overwrite")]
        return f"no process is left, what was spent stays spent; to go on: ebbtide {shlex.join([*again, '--resume'])}"

    with terms_of(chosen.data.name, target.parent), leaving(left), phase_bars() as on_progress:
        results = run(chosen, target, on_progress, resume=resume, overwrite=overwrite)
    _print_results(results)
    say_path("report", own.report_file)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a run that has ended, e.g. runs/demo.")],
) -> None:
    """Compute a run's results and report again from its folder, without training."""
    from ..federation.run_folder import RunFolder
    from ..run import evaluate_run

    with leaving(lambda: f"the run in {run} is as it was: give the same command again"):
        results = evaluate_run(run)
    _print_results(results)
    say_path("report", RunFolder(run).report_file)


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
    from shared.charges import charges_of
    from shared.events import Catalogue

    from ..evaluation.results import Account
    from ..federation.checks import check_setup
    from ..people.setup import Crowd, Setup
    from ..report.format import epsilon as in_words
    from ..report.summary import broken_in_words, caps_in_words, epsilon_to_server_in_words, line_in_words
    from ..scenarios.config import load_scenario
    from ..scenarios.owners import caps_numbers

    chosen = load_scenario(scenario, overrides or ())
    n_devices = devices or chosen.data.users
    if not n_devices:
        raise ConfigError("expected --devices N: the scenario says all users, which only its data knows")
    setup = Setup.of(chosen, Crowd(n_devices, Catalogue(("any",))))
    check_setup(setup)
    privacy = setup.plan.privacy
    said = Account.model_validate(account_of(setup.plan, charges_of(setup.plan)))
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


@app.command()
def data(
    name: Annotated[str, typer.Argument(help="A data set to open and check.")] = "",
    path: Annotated[str, typer.Option(help="Where it lies, if it does not come with a package.")] = "",
) -> None:
    """List the data sets and their terms; with a name, open one and say what is in it."""
    from ..people.datasets import DATASETS, load

    if name:
        with terms_of(name, Path("runs")):
            found = load(name, Path(path) if path else None)
        say(
            f"{name}: {found.n_users} users, {found.n_events} events, {len(found.catalogue)} categories, "
            f"{found.n_steps} {found.step.value}s"
        )
        return
    table = Table("name", "what", "terms", show_lines=True)
    table.add_row("planted", "SIMULATED shoppers with known turns of interest, daily", "ours; made by the project")
    for info in DATASETS.values():
        table.add_row(info.name, info.title, info.terms)
    say_table(table)


register_search(app)
register_streams(app)
register_choice(app)
register_enrolment(app)
register_decision(app)


def _print_results(results: Results) -> None:
    from ..report.summary import result_rows

    table = Table(show_header=False, title="SIMULATED data" if results.simulated else results.data)
    for label, value in result_rows(results):
        table.add_row(label, value)
    say_table(table)
