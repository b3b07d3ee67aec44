"""`ebbtide decide`: where to warn, and what that is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ..terminal.printing import say, say_path, say_table
from ..terminal.stopping import NOTHING_WRITTEN, leaving
from .options import Overwrite, expect_free_file


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(decide)


def decide(
    run: Annotated[Path, typer.Argument(help="The folder of a run that has ended, e.g. runs/demo.")],
    contacts_per_week: Annotated[
        float | None, typer.Option(help="Warnings a week per 1,000 people that can be acted on.")
    ] = None,
    offer_cost: Annotated[float | None, typer.Option(help="What contacting one person costs.")] = None,
    saved_value: Annotated[float | None, typer.Option(help="What an interest that is kept is worth.")] = None,
    save_share: Annotated[
        float,
        typer.Option(help="Of those rightly contacted, who stay because of it: an assumption, until you test it."),
    ] = 0.1,
    file: Annotated[
        Path | None,
        typer.Option("--out", help="Write the scenario with this setting into a new file.", metavar="FILE.toml"),
    ] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="The scenario file to start from, comments and all (default: the run's own).")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the setting into --scenario itself.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Choose where to warn: at so many warnings a week, or by what an offer costs and a kept interest is worth.

    The line and what is expected of it come from the weeks before training ended; beside it stands what came later, and
    what silence, an average and BG/NBD do. Writes decide.html into the run's folder.

    Examples: [bold]ebbtide decide runs/demo --contacts-per-week 40[/], [bold]ebbtide decide runs/demo --offer-cost 1
    --saved-value 30 --out mine.toml[/]
    """
    from shared.errors import ConfigError
    from shared.files import replace_content

    from ..decision.choice import Wish, setting
    from ..decision.page import page
    from ..decision.run import decide_run
    from ..decision.setting import write_setting
    from ..decision.words import EFFECT, head, paragraph, rows
    from ..federation.run_folder import RunFolder

    wish = Wish(contacts_per_week, offer_cost, saved_value, save_share)
    if write and (scenario is None or file is not None):
        raise ConfigError("expected --write with --scenario FILE and without --out: it writes into that very file")
    target = scenario if write else file
    if target is not None:
        if target.suffix != ".toml":
            raise ConfigError(f"expected a file that ends in .toml, got {target.name!r}")
        expect_free_file(target, overwrite=overwrite or write)
    page_file = run / "decide.html"
    expect_free_file(page_file, overwrite=overwrite)
    with leaving(lambda: NOTHING_WRITTEN):
        found = decide_run(run, wish)
    say(paragraph(found))
    table = Table(*head(found), title="SIMULATED data" if found.simulated else "expected (90 % interval) → what came")
    for row in rows(found):
        table.add_row(*row)
    say_table(table)
    if wish.has_money:
        say(EFFECT)
    replace_content(page_file, page(found).encode())
    say_path("page", page_file)
    if target is not None:
        if found.value is None:
            raise ConfigError("expected a line to write, got none: no contact is worth its cost")
        asked = (
            f"{wish.contacts_per_week:g} warnings a week per 1,000 people"
            if not wish.has_money
            else (f"an offer of {wish.offer_cost:g}, to save {wish.saved_value:g} in {wish.save_share:g} of the cases")
        )
        asked_for = RunFolder(run).ended_scenario()
        source = scenario or asked_for
        settings = setting(found, asked_for.detection)
        write_setting(settings, f"ebbtide decide, for {asked}", source, target)
        say_path("scenario", target)
