"""A run as a notebook shows it: the answer, its picture, and the lines that the command prints."""

from __future__ import annotations

from html import escape
from pathlib import Path

from ..evaluation.results import Results
from ..report.answer_plot import answer_picture
from ..report.answer_words import answer_in_words
from ..report.summary import short_rows
from ..report.svg import COLOURS


def shown(results: Results, report: Path) -> str:
    """HTML for a cell's output; the picture's colours are those of the report on a light screen."""
    said, picture = answer_in_words(results), answer_picture(results, wide=True)
    badge = "SIMULATED data: " if results.simulated else ""
    colours = "".join(f"--{name}:{colour};" for name, colour in COLOURS.items())
    drawn = f'<div style="{colours}background:white;max-width:60rem">{picture}</div>' if picture else ""
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in short_rows(results))
    return (
        f"<p>{badge}{escape(results.name)}</p><p><b>{escape(said.verdict)}</b></p>"
        f"<p>{escape(' '.join([*said.sentences, said.limits]))}</p>{drawn}<table>{rows}</table>"
        f"<p>report: {escape(str(report))}</p>"
    )
