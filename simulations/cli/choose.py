"""`ebbtide choose`: which detector a scenario should run, by a rule, from its train steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from shared.files import replace_content

from ..folder_lock import locked_file
from ..report.format import decimal, duration, percent
from ..terminal.printing import say, say_path, say_table
from ..terminal.stopping import NOTHING_WRITTEN, leaving
from .options import DataPath, Overrides, Overwrite, ScenarioName, expect_free_file
from .progress import bars
from .terms import terms_of


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(choose)


def choose(
    scenario: ScenarioName = "demo",
    starts: Annotated[int, typer.Option(min=1, help="Sets of planted people that p and phi are made from.")] = 3,
    path: DataPath = "",
    overrides: Overrides = None,
    file: Annotated[Path | None, typer.Option("--out", help="Where to write every setting's numbers, as JSON.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Choose a scenario's detector by a rule that looks at its train steps only, and say why.

    Every detector runs on the same p and phi, as on a device, at several settings; of those within the plan's budget of
    false alerts the best F-score of falls against real lapses wins. p and phi come from planted people, so nothing is
    trained and no epsilon is spent; but it looks at everybody's outcomes, and that is [bold]not counted in any epsilon[/].

    Example: [bold]ebbtide choose complete-journey-eps1[/]
    """
    from ..federation.checks import check_settings
    from ..people.of_scenario import open_scenario, population_of, protocol_of
    from ..people.setup import Setup
    from ..scenarios.config import with_path
    from ..search.choose_detector import choose as run
    from ..search.choose_detector import judged_steps

    if file:
        expect_free_file(file, overwrite=overwrite)
    chosen = open_scenario(scenario, with_path(overrides, path))
    check_settings(chosen)
    judged_steps(protocol_of(chosen))
    terms = terms_of(chosen.data.name, file.parent if file else Path("runs"))
    with terms, leaving(lambda: NOTHING_WRITTEN), locked_file(file) if file else nullcontext():
        people = population_of(chosen)
        with bars() as on_progress:
            found = run(
                Setup.of(chosen, people),
                people,
                starts=starts,
                on_setting=lambda _, done, total: on_progress("detectors", done, total),
            )
        if file:
            replace_content(file, json.dumps(found, indent=1) + "\n")
    first, last = found["steps"]
    simulated = "SIMULATED data, " if chosen.data.name == "planted" else ""
    told = f"{simulated}{found['step']}s {first} to {last}, {found['users']:,} users"
    say_table(choice_table(found, f"{chosen.name}: falls and lapses, {told}, {found['turns']:,} whole lapses"))
    if found["planted"]:
        title = f"the same on planted falls, for comparison: {found['planted']['turns']:,} of them"
        say_table(choice_table({**found, **found["planted"]}, title))
    say(sentence(found, chosen.detection.detector))
    if file:
        say_path("numbers", file)


def choice_table(found: Mapping[str, Any], title: str) -> Table:
    """A row for each detector at its best setting within the budget, best first, and one for the plan's own setting."""
    table = Table("detector", "set to", "precision", "recall", "F", "delay", "false per user", "surely behind by",
                  title=title)  # fmt: skip
    planned = found["planned"]
    for row in [*found["rows"], *([planned] if planned and planned not in _settings(found["rows"]) else [])]:
        low = row.get("ahead_low")
        table.add_row(
            row["detector"] + (" (as the plan has it)" if row is planned else ""),
            f"{row['key']} {row['setting']:g}",
            percent(row["precision"]),
            percent(row["recall"]),
            decimal(row["f_score"]),
            duration(row["delay_steps"], found["step"]),
            decimal(row["false_per_user"], 2) + ("" if row["within_budget"] else " (over)"),
            "-" if low is None else decimal(max(low, 0.0)),
        )
    return table


def _settings(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as the plan's own would look."""
    return [{key: value for key, value in row.items() if key != "ahead_low"} for row in rows]


def sentence(found: Mapping[str, Any], planned: str) -> str:
    """What the rule says of the scenario's own detector."""
    most = "any number of" if found["budget"] is None else f"{found['budget']:.2f}"
    budget = f"budget: {most} false falls per user in {found['steps'][1] - found['steps'][0] + 1} steps"
    if found["chosen"] == planned:
        return f"{budget}; the rule keeps {planned}"
    verb = "prefers" if found["clear"] else "puts first, though not clearly,"
    kept = "" if found["clear"] else f": {planned} stays"
    return f"{budget}; instead of {planned} the rule {verb} {found['chosen']}{kept}"
