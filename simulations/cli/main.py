"""The `ebbtide` command. Exit codes: 0 done, 1 a run failed, 2 bad input (one line says what), 130 stopped by Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from shared.errors import ConfigError, EbbtideError, InputError

from .choose import register as register_choice
from .options import DataPath, Overrides, ScenarioName
from .printing import out, print_terms
from .progress import phase_bars
from .search import register as register_search
from .streams import register as register_streams

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
    resume: Annotated[bool, typer.Option(help="Go on with an interrupted run; what it spent stays spent.")] = False,
) -> None:
    """Run a whole federation on this machine: people, devices, server, alerts, and a report.

    Without arguments it runs [bold]demo[/]: 300 simulated shoppers, one device each.

    Examples: [bold]ebbtide simulate --data complete-journey[/], [bold]ebbtide simulate demo --set privacy.rounds=10[/]
    """
    from ..federation.run_folder import RunFolder
    from ..run import simulate as run
    from ..scenarios.config import load_scenario, with_path

    name = scenario or {"": "demo", "planted": "demo"}.get(data, data)
    named = [f'data.name="{data}"'] if data and scenario else []
    given = with_path([*(overrides or ()), *named], path)
    given += [f"data.users={users}"] if users is not None else []
    chosen = load_scenario(name, given)
    target = folder or Path("runs") / chosen.name
    print_terms(chosen.data.name, target.parent)
    with phase_bars() as on_progress:
        results = run(chosen, target, on_progress, resume=resume)
    _print_results(results)
    out.print(f"report: {RunFolder(target).report_file}", soft_wrap=True)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a run that has ended, e.g. runs/demo.")],
) -> None:
    """Compute a run's results and report again from its folder, without training."""
    from ..federation.run_folder import RunFolder
    from ..run import evaluate_run

    results = evaluate_run(run)
    _print_results(results)
    out.print(f"report: {RunFolder(run).report_file}", soft_wrap=True)


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
    from ..federation.checks import check_budget, check_owners
    from ..people.setup import Crowd, Setup
    from ..report.format import epsilon as in_words
    from ..report.summary import caps_in_words, line_in_words
    from ..scenarios.config import load_scenario
    from ..scenarios.owners import caps_numbers

    chosen = load_scenario(scenario, overrides or ())
    n_devices = devices or chosen.data.users
    if not n_devices:
        raise ConfigError("expected --devices N: the scenario says all users, which only its data knows")
    setup = Setup.of(chosen, Crowd(n_devices, Catalogue(("any",))))
    check_budget(setup.plan)
    check_owners(setup)
    privacy = setup.plan.privacy
    said = Account.model_validate(account_of(setup.plan, charges_of(setup.plan)))
    table = Table("to whom", f"epsilon at delta {privacy.delta:g}", title=f"{chosen.name}: {n_devices} devices")
    for line in said.lines:
        table.add_row(f"who sees what comes of {line.line} alone", line_in_words(line))
    how = "by the bound" if said.by_bound else f"exactly; by the Rényi bound {in_words(said.epsilon_bound)}"
    table.add_row(
        "[bold]who sees all of it, models and rates[/]", f"[bold]{in_words(said.epsilon_to_public)}[/] ({how})"
    )
    table.add_row(
        f"who also knows that a device took part {said.likely_participations} times (99.9 % do not more often)",
        in_words(said.epsilon_unamplified),
    )
    table.add_row("the server", said.to_server)
    table.add_row("what the owner of each device allows", caps_in_words(caps_numbers(setup.caps, chosen.caps.table)))
    out.print(table)
    out.print(
        f"expected cohort {privacy.expected_cohort:.0f}, noise multiplier {privacy.noise_multiplier:g}, "
        f"each device adds noise of {privacy.share_sigma:.0f} grid steps to at most {privacy.steps_per_clip}; "
        f"a sum is opened if {privacy.min_survivors} answer, {privacy.max_colluders} of whom may have added none"
    )


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write the .tflite file.")],
    features: Annotated[int, typer.Option(min=1, help="Inputs of the network.")] = 27,
) -> None:
    """Build the interest DNN as a .tflite file. Needs TensorFlow: best in an environment of its own."""
    try:
        from server.export import build
    except ImportError:
        raise InputError(
            "export needs TensorFlow, which must stay out of the environment that runs Flower: "
            "make .venv-export/.ready, then .venv-export/bin/python -m server.export FILE"
        ) from None
    from shared.network import NetworkSpec

    model = build(NetworkSpec(features))
    file.write_bytes(model)
    out.print(f"{file}: {len(model)} bytes")


@app.command()
def data(
    name: Annotated[str, typer.Argument(help="A data set to open and check.")] = "",
    path: Annotated[str, typer.Option(help="Where it lies, if it does not come with a package.")] = "",
) -> None:
    """List the data sets and their terms; with a name, open one and say what is in it."""
    from ..people.datasets import DATASETS, load

    if name:
        print_terms(name, Path("runs"))
        found = load(name, Path(path) if path else None)
        out.print(
            f"{name}: {found.n_users} users, {found.n_events} events, {len(found.catalogue)} categories, "
            f"{found.n_steps} {found.step.value}s"
        )
        return
    table = Table("name", "what", "terms", show_lines=True)
    table.add_row("planted", "SIMULATED shoppers with known turns of interest, daily", "ours; made by the project")
    for info in DATASETS.values():
        table.add_row(info.name, info.title, info.terms)
    out.print(table)


register_search(app)
register_streams(app)
register_choice(app)


def _print_results(results: Results) -> None:
    from ..report.summary import result_rows

    table = Table(show_header=False, title="SIMULATED data" if results.simulated else results.data)
    for label, value in result_rows(results):
        table.add_row(label, value)
    out.print(table)


def _stop(signal_number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point: every error that we raise on purpose is one line; Ctrl-C and SIGTERM leave nothing running."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    signal.signal(signal.SIGTERM, _stop)
    try:
        app(prog_name="ebbtide", standalone_mode=False)
    except InputError as error:
        _fail(str(error), 2)
    except EbbtideError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("stopped; nothing is left running", 130)
    except OSError as error:
        _fail(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), 2)
    except Exception as error:
        import click

        if isinstance(error, click.ClickException):
            error.show()
            sys.exit(error.exit_code)
        if isinstance(error, click.exceptions.Abort):
            _fail("stopped; nothing is left running", 130)
        raise


def _fail(message: str, code: int) -> None:
    Console(stderr=True, highlight=False).print(f"ebbtide: {' '.join(message.split())}", markup=False, soft_wrap=True)
    sys.exit(code)
