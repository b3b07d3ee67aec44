"""How the report draws: one style, and matplotlib figures as inline SVG.

Text stays text, a drawing has no size of its own (it fills its place), no metadata, ids that are unique in the page,
and the same bytes for the same results. Colours are CSS variables of the page, so one drawing serves a light and a dark
screen. `wide` chooses between a drawing for a screen and one for a phone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import matplotlib
import matplotlib.style
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from shared.arrays import Doubles

#: Drawn in these colours, which stand for the page's variables of the same name.
COLOURS = {
    "ink": "#1c2733",
    "muted": "#5b6774",
    "rule": "#dce2e7",
    "ours": "#0069a6",
    "fall": "#c45500",
    "rise": "#00795b",
    "band": "#eff3f6",
}
INK, MUTED, RULE, OURS, FALL, RISE, BAND = COLOURS.values()

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.titlesize": 9,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 9,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.linewidth": 1,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
}


def style(changes: Mapping[str, Any] | None = None) -> Any:
    """The style of every drawing, as a context; `changes` are further matplotlib settings."""
    return matplotlib.style.context(["default", _STYLE, dict(changes or {})])


def suffix(wide: bool) -> str:
    """What tells the two drawings of one figure apart."""
    return "wide" if wide else "narrow"


def numbers(values: Iterable[float | None]) -> Doubles:
    """Floats (n,), NaN for None."""
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def empty_figure(wide: bool, height: float) -> Figure:
    """An empty figure, `height` inches high; text of 9 points comes out at about 13 pixels wide, 11 on a phone."""
    return Figure(figsize=(8.6 if wide else 3.9, height))


def with_names(wide: bool, curves: int, *, left: float) -> tuple[Figure, Axes]:
    """Axes with room for the names of their curves: to the right of a wide drawing, below a narrow one."""
    below = 0.48 if wide else 0.62 + 0.17 * curves
    figure = empty_figure(wide, 3.1 if wide else 1.85 + below)
    axes = figure.add_subplot()
    height = figure.get_figheight()
    figure.subplots_adjust(left=left, right=0.685 if wide else 0.96, top=1 - 0.25 / height, bottom=below / height)
    return figure, axes


def square() -> tuple[Figure, Axes]:
    """Axes from 0 to 1 both ways, for a place of half the page's width."""
    figure = Figure(figsize=(4.1, 4.0))
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.09, right=0.97, top=0.92, bottom=0.12)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.grid(True, axis="both")
    return figure, axes


def flag(axes: Axes, at: float, label: str, colour: str, span: tuple[float, float]) -> None:
    """A label above the axes at a step, turned inwards near the right end."""
    late = at > span[0] + 0.7 * (span[1] - span[0])
    high = axes.get_ylim()[1]
    axes.annotate(label, (at, high), xytext=(-3 if late else 3, 3), textcoords="offset points", color=colour,
                  ha="right" if late else "left", va="bottom", weight="bold", size=8.5)  # fmt: skip


class Curve(NamedTuple):
    """One curve of a figure: where it ends, and how it is drawn."""

    value: float
    name: str
    colour: str = MUTED
    style: Any = "-"
    width: float = 1.3

    @property
    def label(self) -> str:
        return f"{self.value:.3f}  {self.name}"


def label_curves(axes: Axes, curves: list[Curve]) -> None:
    """Name every curve at its right end, pushed apart where names would overlap."""
    low, high = axes.get_ylim()
    gap = (high - low) / 14
    ranked = sorted(curves)
    heights = [each.value for each in ranked]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    ceiling = high
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], ceiling)
        ceiling = heights[i] - gap
    for each, height in zip(ranked, heights, strict=True):
        weight = "bold" if each.colour == OURS else "normal"
        where = axes.get_yaxis_transform()
        axes.text(1.02, height, each.label, transform=where, color=each.colour, va="center", weight=weight)


def legend(figure: Figure, curves: list[Curve]) -> None:
    """The same names below the axes, best first."""
    ranked = sorted(curves, reverse=True)
    handles = [Line2D([], [], color=each.colour, linestyle=each.style, linewidth=each.width) for each in ranked]
    labels = [each.label for each in ranked]
    figure.legend(handles, labels, loc="lower left", frameon=False, handlelength=2.4, labelspacing=0.3)


def svg(figure: Figure, name: str, label: str) -> Markup:
    """The drawing as one `<svg>` for a page: no prologue, size, metadata or names that another drawing may have."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    drawing = buffer.getvalue()
    box = re.search(r'viewBox="([^"]+)"', drawing)
    assert box is not None
    body = drawing[drawing.index(">", drawing.index("<svg")) + 1 :]
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.S)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = body.replace('"#', f'"#{name}-').replace("url(#", f"url(#{name}-")
    body = re.sub(r"font-family: [^;]*?sans-serif;? ?", "", body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    for variable, colour in COLOURS.items():
        body = body.replace(colour, f"var(--{variable})")
    return Markup(f'<svg viewBox="{box[1]}" role="img" aria-label="{Markup.escape(label)}">') + Markup(body.strip())
