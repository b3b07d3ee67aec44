"""A decision as a page of its own: the paragraph, one picture, the table."""

from __future__ import annotations

from html import escape

from ..report.svg import COLOURS, MUTED, OURS, RULE, empty_figure, style, svg
from .choice import OURS as MINE
from .choice import Decision, names_of
from .expectation import COUNTS
from .words import EFFECT, head, paragraph, rows

_PANEL_INCHES = 0.42


def page(decision: Decision) -> str:
    """HTML that needs nothing else."""
    names = "".join(f"<th>{escape(cell)}</th>" for cell in head(decision))
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows(decision))
    variables = "".join(f"--{name}:{colour};" for name, colour in COLOURS.items())
    effect = f"<p>{escape(EFFECT)}</p>" if decision.wish.has_money else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Where to warn</title><style>'
        f":root{{{variables}}}body{{font:16px/1.5 sans-serif;color:var(--ink);max-width:60rem;margin:2rem auto;padding:0 1rem}}"
        "table{border-collapse:collapse;display:block;overflow-x:auto}th,td{padding:.3rem .7rem;text-align:left;"
        "border-bottom:1px solid var(--rule)}svg{width:100%;height:auto}</style></head><body><h1>Where to warn</h1>"
        f"<p>{escape(paragraph(decision))}</p>{picture(decision)}"
        f"<p>Per 1,000 people and week: expected (90 % interval) → what came in {escape(decision.step)}s {decision.later.judged} to "
        f"{decision.later.last}.</p><table><tr>{names}</tr>{body}</table>{effect}</body></html>"
    )


def picture(decision: Decision) -> str:
    """Expected counts with their intervals, and what came, of ours and of every rule."""
    names = names_of(decision.worth)
    with style():
        figure = empty_figure(True, _PANEL_INCHES * len(names) + 0.9)
        for i, count in enumerate(COUNTS):
            axes = figure.add_axes((0.26 + 0.25 * i, 0.26, 0.21, 0.58))
            axes.set_title(f"{count}, a week")
            for row, name in enumerate(reversed(names)):
                worth = decision.worth[name]
                one, colour = worth.of(count), OURS if name == MINE else MUTED
                axes.plot([one.low, one.high], [row, row], color=colour, linewidth=4, alpha=0.35, solid_capstyle="butt")
                axes.plot([one.value], [row], "|", color=colour, markersize=11, markeredgewidth=2)
                axes.plot([worth.happened[count]], [row], "o", color=colour, markersize=4)
            axes.set_yticks(range(len(names)), names[::-1] if i == 0 else [""] * len(names))
            axes.set_ylim(-0.6, len(names) - 0.4)
            axes.set_xlim(left=0)
            axes.grid(True, axis="x", color=RULE)
            axes.grid(False, axis="y")
        figure.text(0.26, 0.03, "bar: 90 % interval of what is expected; dot: what came", color=MUTED)
        return str(svg(figure, "decide", "Expected and realised warnings a week, of ours and of rules"))
