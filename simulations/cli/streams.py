"""`ebbtide streams`: how fast detectors see a shift on simulated daily streams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from shared.files import replace_content

from ..folder_lock import locked
from ..terminal.printing import say, say_path, say_table
from ..terminal.stopping import NOTHING_WRITTEN, leaving
from .options import Overwrite, expect_free_file
from .progress import bars

RESULTS_FILE, FIGURE_FILE = "streams.json", "delay_against_false_alerts.svg"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(streams)


def streams(
    n_streams: Annotated[
        int, typer.Option("--streams", min=20, help="Changed streams of each kind, for ours and the rates.")
    ] = 3000,
    n_river_streams: Annotated[
        int, typer.Option("--river-streams", min=20, help="The same for river's detectors, which run in Python.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Other people, other chance.")] = 0,
    folder: Annotated[Path, typer.Option("--out", help="Where the table and the picture go.")] = Path("runs/streams"),
    overwrite: Overwrite = False,
) -> None:
    """How fast a real shift of interest is seen, at the same rate of false alerts: ours beside river's and simple rules.

    Streams of p are simulated: plain noise, correlated noise, weekends, bursts, sparse users. Half-way something happens:
    a [bold]drop[/] or a [bold]rise[/] by 1 to 1.8 logits, the same [bold]gradual[/]ly over 40 days, a [bold]small[/] one
    of .5, or nothing. Ours runs as it ships, within a budget of false alerts per user; every other rule is set so that
    it has one false alert per 2,000 steps and stream, and is measured on other streams. About four minutes on one core.

    Example: [bold]ebbtide streams --streams 300 --river-streams 100[/]
    """
    from ..streams.measure import curves, measure
    from ..streams.report import draw, stream_table

    for file in (folder / RESULTS_FILE, folder / FIGURE_FILE):
        expect_free_file(file, overwrite=overwrite)
    with leaving(lambda: NOTHING_WRITTEN), locked(folder), bars() as on_progress:
        results = measure(n_streams, n_river_streams, seed, on_progress)
        results["curves"] = curves(n_streams, n_river_streams, seed, on_progress)
        replace_content(folder / RESULTS_FILE, json.dumps(results, indent=1) + "\n")
        draw(results["curves"], folder / FIGURE_FILE)
    say_table(stream_table(results))
    ours = results["rows"][0]
    say(
        f"ours: users of {ours['streams_per_user']} streams, at most {ours['false_alerts']} false alerts in "
        f"{ours['budget_steps']} days: {ours['false_alerts_per_user']:.2f} per user in that time, "
        f"{ours['users_over_budget']:.1%} of users have more, none is shown more "
        f"({ours['users_over_budget_with_bucket']:.1%})"
    )
    say(f"river's detectors: {n_river_streams:,} streams of each kind; ours {n_streams:,}")
    say_path("figure", folder / FIGURE_FILE)
