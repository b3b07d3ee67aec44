"""The comparison on daily streams as a table and as a picture: the delay of drops against the rate of false alerts."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from shared.files import replace_content

from ..report.svg import COLOURS, style

COLUMNS = (("drop", "drop 1-1.8"), ("rise", "rise 1-1.8"), ("gradual", "gradual"), ("small", "small .5"))
LINES = ("ours", "fall", "rise")


def stream_table(results: Mapping[str, Any]) -> Table:
    """A row a rule: recall within 31 days and the median delay in days, for each change and for drops of sparse users."""
    title = (
        f"SIMULATED daily streams, one false alert per {results['steps_per_false_alert']:,} steps: recall within "
        f"{results['within_steps']} days / median delay"
    )
    table = Table(title=title)
    for i, name in enumerate(("rule", "false per 2,000", *(label for _, label in COLUMNS), "drop, sparse")):
        table.add_column(name, justify="right" if i else "left")
    for row in results["rows"]:
        cells = [row["changes"][key] for key, _ in COLUMNS] + [row["drops"]["sparse"]]
        table.add_row(row["name"], f"{row['false_alerts_per_2000_steps']:.2f}", *(_cell(cell) for cell in cells))
    return table


def _cell(cell: Mapping[str, Any]) -> str:
    delay = cell["median_delay"]
    return f"{cell['recall']:.3f} / {'-' if delay is None else f'{delay:.0f} d'}"


def draw(curves: Mapping[str, Sequence[Mapping[str, Any]]], file: Path) -> None:
    """The picture as SVG; a median delay that lies beyond the window (half of the drops missed) is left out."""
    with style({"svg.hashsalt": "streams"}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        for (name, points), colour in zip(curves.items(), LINES, strict=True):
            x = np.array([point["false_alert_rate"] for point in points]) * 2000
            y = np.array([np.nan if point["median_delay"] is None else point["median_delay"] for point in points])
            axes.plot(x, y, marker="o", color=COLOURS[colour], label=name)
        axes.set_xscale("log")
        ticks = (0.5, 1, 2, 4, 8)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel("false alerts per 2,000 steps and stream, measured")
        axes.set_ylabel("median delay of a drop, days")
        axes.set_title("SIMULATED daily streams")
        axes.legend(frameon=False)
        drawing = io.StringIO()
        figure.savefig(drawing, format="svg", metadata={"Date": None, "Creator": None})
    replace_content(file, drawing.getvalue())
