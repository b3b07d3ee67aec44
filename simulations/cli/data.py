"""`ebbtide data`: the data sets that come along or lie elsewhere, and a log of one's own looked at before anything runs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from shared.errors import ConfigError, InputError
from shared.files import replace_content

from ..terminal.printing import say, say_path, say_table, shown
from ..terminal.stopping import NOTHING_WRITTEN, leaving
from .options import DataPath, Overrides, Overwrite, expect_free_file
from .progress import bars
from .terms import terms_of

if TYPE_CHECKING:
    from ..people.own_data.reading import Understanding

data_app = typer.Typer(help="Data sets, and logs of your own.", rich_markup_mode="rich")
_MOST_ROWS = 40


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.add_typer(data_app, name="data")


@data_app.callback(invoke_without_command=True)
def data(context: typer.Context) -> None:
    """Data sets and their terms, and logs of your own: without a command, the list."""
    if context.invoked_subcommand is None:
        list_sets()


@data_app.command("list")
def list_sets() -> None:
    """List the data sets and their terms."""
    from ..people.datasets import DATASETS

    table = Table("name", "what", "terms", show_lines=True)
    table.add_row("planted", "SIMULATED shoppers with known turns of interest, daily", "ours; made by the project")
    for info in DATASETS.values():
        table.add_row(info.name, info.title, info.terms)
    say_table(table)
    say("a log of your own: ebbtide data check FILE")


@data_app.command("open")
def open_set(
    name: Annotated[str, typer.Argument(help="A data set to open and check.")],
    path: DataPath = "",
) -> None:
    """Open a data set, check it, and say what is in it."""
    from ..people.datasets import load

    with terms_of(name, Path("runs")):
        found = load(name, Path(path) if path else None)
    say(
        f"{name}: {found.n_users} users, {found.n_events} events, {len(found.catalogue)} categories, "
        f"{found.n_steps} {found.step.value}s"
    )


@data_app.command()
def check(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="CSV or Parquet, or a folder of either; each a log.")
    ],
    preset: Annotated[
        str,
        typer.Option(
            help="Its schema: retailrocket, rees46, online-retail-ii or purchases (default: told by its columns)."
        ),
    ] = "",
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write a scenario for it, with comments, as .toml.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Say what a log of events holds, line by line accounted for, and what would be made of it; nothing is trained.

    It reads every line, and shows counts and names of columns, events and categories only. With [bold]--out[/] it writes a
    scenario, to be edited and given to [bold]ebbtide simulate[/].

    Example: [bold]ebbtide data check my-shop.csv --out my-shop.toml[/]
    """
    if out is not None:
        if len(files) > 1:
            raise ConfigError(f"expected one log with --out, got {len(files)}: a folder of files is one log")
        expect_free_file(out, overwrite=overwrite)
    given = [*(overrides or ()), *([f"data.file.preset={json.dumps(preset)}"] if preset else [])]
    for file in files:
        _check(file, given, out)


def _check(file: str, given: list[str], out: Path | None) -> None:
    from ..people.own_data.made import made_for
    from ..people.own_data.reading import understand
    from ..scenarios.config import scenario_of
    from ..scenarios.own_data import FileSection

    about = {
        "name": "check",
        "about": "a log that is looked at",
        "data": {"name": "file", "path": file, "users": 0, "file": {}},
    }
    ours = [each for each in given if each.strip().startswith("data.file.")]
    section = scenario_of(about, ours, file).data.file or FileSection()
    with leaving(lambda: NOTHING_WRITTEN):
        with bars() as on_read:
            found = understand(Path(file), section, on_read)
        made, refused = None, ""
        try:
            made = made_for(file, None, given)
        except InputError as error:
            refused = str(error)
        say(found.lines[0], strong=True)
        again = "".join(f" --set {shlex.quote(each)}" for each in given)
        if made is None:
            say(f"it cannot be simulated as it is: {refused}")
        else:
            say(f"what to do next: ebbtide simulate {shlex.quote(shown(out))}" if out else
                f"what to do next: ebbtide simulate --data {shlex.quote(shown(file))}{again}")  # fmt: skip
        for warning in found.warnings:
            say(f"look at this: {warning}")
        for table in tables(found):
            say_table(table)
        if made is not None:
            for line in made.decided:
                say(line)
        if out is not None:
            if made is None:
                raise ConfigError(f"no scenario was written: {refused}")
            replace_content(out, made.text)
            say_path("scenario", out)


def tables(found: Understanding) -> list[Table]:
    """What was understood: columns and forms, events, categories, and the account of lines."""
    from ..people.own_data.categories import EVERYTHING_ELSE

    account = found.account
    columns = Table("what", "column or form", "why", title="columns")
    for each in found.proposals:
        columns.add_row(each.role, shown(each.column) or "-", shown(each.reason))
    for key, why in found.reasons.items():
        columns.add_row(key, str(getattr(found.section, key)), shown(why))
    columns.add_row("zone", found.section.zone, "data.file.zone; whole days and weeks are counted on its clocks")
    events = Table("event", "counts as", "lines", title="events")
    for event in found.events:
        events.add_row(
            shown(event.name) or "(every line)", event.kind or "dropped: of no known kind", f"{event.lines:,}"
        )
    chosen = found.categories
    own = len(chosen.names) - (EVERYTHING_ELSE in chosen.names)
    title = f"categories: {own:,} of the log's {chosen.found:,}; {chosen.without:,} kept lines have none"
    categories = Table("category", "kept lines", "share", title=title)
    rows = sorted(zip(chosen.lines, chosen.names, strict=True), reverse=True)
    for lines, name in rows[:_MOST_ROWS]:
        categories.add_row(shown(name), f"{lines:,}", f"{lines / max(account.kept, 1):.1%}")
    if len(rows) > _MOST_ROWS:
        categories.add_row(f"and {len(rows) - _MOST_ROWS} more", f"{sum(row[0] for row in rows[_MOST_ROWS:]):,}", "")
    lines_table = Table("lines", "how many", "first", title="every line of the log")
    lines_table.add_row("read", f"{account.read:,}", "")
    lines_table.add_row("kept", f"{account.kept:,}", "")
    for gone in account.dropped:
        lines_table.add_row(f"dropped: {gone.reason.words}", f"{gone.lines:,}", gone.first)
    return [columns, events, categories, lines_table]
