"""`ebbtide tune` and `ebbtide sweep`: many trainings of one scenario."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from ..folder_lock import locked_file
from ..terminal.printing import say, say_path, say_table, shown
from ..terminal.stopping import NOTHING_WRITTEN, leaving
from .options import DataPath, Overrides, Overwrite, ScenarioName, expect_free_file
from .progress import trial_bar
from .terms import terms_of

TOP = 10


def register(app: typer.Typer) -> None:
    """Add both commands to `app`."""
    app.command()(tune)
    app.command()(sweep)


def tune(
    scenario: ScenarioName,
    grid: Annotated[
        list[str] | None,
        typer.Option("--grid", metavar="KEY=V1,V2", help="Values to try; repeat it for more keys."),
    ] = None,
    folds: Annotated[int, typer.Option(help="Folds in time inside the train steps.")] = 2,
    seeds: Annotated[int, typer.Option(help="How often each fold is trained.")] = 2,
    epsilon: Annotated[
        float | None, typer.Option(help="Give every setting the noise at which its training costs this.")
    ] = None,
    path: DataPath = "",
    overrides: Overrides = None,
    file: Annotated[Path | None, typer.Option("--out", help="The file to write (default: tuned.toml).")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Choose a scenario's settings by cross-validation on its train steps, and write them as a scenario.

    Without --grid it tries two values each of learning rate, clip, L2, dropout, rounds and sampling rate: 64 settings.

    Example: [bold]ebbtide tune demo --grid training.learning_rate=0.1,0.3 --grid privacy.clip_norm=0.05,0.1[/]
    """
    from shared.errors import ConfigError

    from ..scenarios.config import load_scenario, with_path
    from ..scenarios.grid import parse_values
    from ..search.tune import NOT_COUNTED, write_tuned
    from ..search.tune import tune as search

    target = file or Path("tuned.toml")
    if target.suffix != ".toml":
        raise ConfigError(f"expected --out to end in .toml, got {target.name!r}")
    expect_free_file(target, overwrite=overwrite)
    chosen = load_scenario(scenario, overrides or ())
    values = parse_values("--grid", grid or ())
    terms = terms_of(chosen.data.name, target.parent)
    say(NOT_COUNTED, strong=True)
    with terms, leaving(lambda: NOTHING_WRITTEN), locked_file(target), trial_bar() as on_trial:
        tuning = search(
            scenario,
            values,
            overrides=with_path(overrides, path),
            folds=folds,
            seeds=seeds,
            epsilon=epsilon,
            on_trial=on_trial,
        )
        write_tuned(tuning, target, chosen.data.path)
    best = tuning.settings[:TOP]
    title = f"{chosen.name}: best {len(best)} of {len(tuning.settings)} settings, on validation steps"
    table = Table(*_keys(tuning.grid), "AUC", "sd", "log loss", "epsilon", "skipped", title=title)
    for setting in best:
        table.add_row(
            *map(shown, setting.values.values()),
            f"{setting.auc:.4f}",
            f"{setting.auc_sd:.4f}",
            f"{setting.log_loss:.4f}",
            _epsilon(setting.epsilon),
            f"{setting.skipped:.1f}",
        )
    say_table(table)
    say(NOT_COUNTED, strong=True)
    say_path("scenario", target)


def sweep(
    scenario: ScenarioName,
    over: Annotated[
        list[str] | None,
        typer.Option(
            "--over",
            metavar="KEY=V1,V2",
            help="Values of a scenario key, of [bold]epsilon[/] (finds the noise for it) or of [bold]dropout[/] "
            "(share of a cohort that stays silent); repeat it for more keys.",
        ),
    ] = None,
    repeat: Annotated[int, typer.Option(help="How often each setting is trained.")] = 3,
    path: DataPath = "",
    overrides: Overrides = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Where results and their cache lie (default: runs/sweeps/<name>).")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw cached results away first.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a scenario over other values of a few keys: one table, one figure. What was run before is not run again.

    What a setting costs is that of its training, phi included: no bits are asked for.
    A sweep over epsilon with --out RUN/sweep stands in the report of RUN from its next [bold]ebbtide evaluate[/] on.

    Examples: [bold]ebbtide sweep demo --over epsilon=0.5,1,2,4,8[/], [bold]ebbtide sweep demo --over data.users=100,300
    --over dropout=0,0.1[/]
    """
    from ..scenarios.config import load_scenario, with_path
    from ..scenarios.grid import parse_values
    from ..search.sweep import FIGURE_FILE
    from ..search.sweep import sweep as run

    given = with_path(overrides, path)
    chosen = load_scenario(scenario, given)
    target = folder or Path("runs") / "sweeps" / chosen.name
    values = parse_values("--over", over or ())

    def left() -> str:
        return f"what was trained is kept in {target}, and is not trained again: give the same command again, without --fresh"

    with terms_of(chosen.data.name, target.parent), leaving(left), trial_bar() as on_trial:
        results = run(
            scenario,
            values,
            target,
            overrides=given,
            repeat=repeat,
            fresh=fresh,
            overwrite=overwrite,
            on_trial=on_trial,
        )
    title = f"{chosen.name}: {'SIMULATED data, ' if results['simulated'] else ''}test steps, {repeat} trainings each"
    columns = ("AUC", "sd", "gap to pooled", "epsilon to public", "rounds skipped")
    table = Table(*_keys(results["over"]), *columns, title=title)
    for row in results["rows"]:
        table.add_row(
            *map(shown, row["values"].values()),
            f"{row['auc_mean']:.4f}",
            f"{row['auc_sd']:.4f}" if repeat > 1 else "-",
            f"{row['gap_mean']:+.4f}",
            _epsilon(row["epsilon_to_public"]),
            f"{row['skipped_mean']:.1f} of {row['rounds']}",
        )
    say_table(table)
    say_path("figure", target / FIGURE_FILE)


def _keys(keys: Iterable[str]) -> list[Column]:
    """A column for each key, which wraps where it would be cut."""
    return [Column(shown(key), overflow="fold") for key in keys]


def _epsilon(value: float | None) -> str:
    return "infinite" if value is None or value == float("inf") else f"{value:.3g}"
