"""A picture of one round: who sends what to whom, and how many bytes, as it was on average in the run."""

from __future__ import annotations

from textwrap import wrap
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from ..evaluation.results import Results
from .format import grouped
from .svg import BAND, INK, MUTED, OURS, RULE, empty_figure, style, suffix, svg

#: What goes to the seats, and what comes back from them, for one list.
TO_SEATS, FROM_SEATS = ("opinion_request", "sum_request"), ("opinion", "seat_sum")


class Arrow(NamedTuple):
    """One thing that is sent: between which boxes (0 devices, 1 the server, 2 seats), what it is, and how much."""

    source: int
    target: int
    what: str
    size: str


def arrows(results: Results) -> list[Arrow]:
    """What was sent in a round, in its order; where sums were ideal, nothing to seats."""
    counted = results.traffic.by_message

    def each(*names: str) -> str:
        sizes = [counted[name].bytes / counted[name].messages for name in names if name in counted]
        return f"{grouped(sum(sizes))} bytes each"

    out = [Arrow(1, 0, "model, and who holds seats", each("train_request"))]
    out.append(Arrow(0, 1, "shares, sealed to the seats", each("update")))
    if not is_ideal(results):
        out.append(Arrow(1, 2, "the list, and what was sealed", each(*TO_SEATS)))
        out.append(Arrow(2, 1, "who cannot be in it; a share of the sum", each(*FROM_SEATS)))
    return out


def is_ideal(results: Results) -> bool:
    """Whether no seat was asked: the sum was computed as one would show it."""
    return not set(TO_SEATS) & set(results.traffic.by_message)


def round_picture(results: Results, *, wide: bool) -> Markup:
    """Devices, the server and the seats, and arrows between them: from left to right, on a phone from top to bottom."""
    seats = "ideal sum:\nno key was\nexchanged" if is_ideal(results) else f"seats\n{results.sum.partition(':')[0]}"
    boxes = (f"{grouped(results.devices)} device{'s' if results.devices != 1 else ''}", "server", _broken(seats))
    with style({"axes.grid": False}):
        figure = empty_figure(wide, 1.9 if wide else 4.6)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, 3)
        axes.set_ylim(0, 1)
        if not wide:
            axes.set_xlim(0, 1)
            axes.set_ylim(3, 0)
        for place, name in enumerate(boxes):
            _box(axes, place, name, wide)
        for arrow in arrows(results):
            _arrow(axes, arrow, wide)
        told = "; ".join(f"{arrow.what}: {arrow.size}" for arrow in arrows(results))
        return svg(figure, f"round-{suffix(wide)}", f"One round. {told}")


def _broken(text: str, letters: int = 20) -> str:
    """At most so many letters in a line, where words allow it."""
    return "\n".join(part for line in text.split("\n") for part in wrap(line, letters, break_long_words=False))


#: Of a box, along the way of the arrows and across.
_LONG, _ACROSS = 0.44, 0.62


def _box(axes: Axes, place: int, name: str, wide: bool) -> None:
    along, across = place + 0.5, 0.5
    size = (_LONG, _ACROSS) if wide else (0.7, 0.36)
    x, y = (along, across) if wide else (across, along)
    corner = (x - size[0] / 2, y - size[1] / 2)
    axes.add_patch(
        FancyBboxPatch(corner, *size, boxstyle="round,pad=0.02", facecolor=BAND, edgecolor=RULE, linewidth=1)
    )
    axes.text(x, y, name, ha="center", va="center", color=OURS if place == 1 else INK, weight="bold")


def _arrow(axes: Axes, arrow: Arrow, wide: bool) -> None:
    forth = arrow.target > arrow.source
    middle, side = (arrow.source + arrow.target + 1) / 2, 0.66 if forth else 0.34
    ends = [middle - 0.24, middle + 0.24] if wide else [middle - 0.28, middle + 0.28]
    begin, end = ends if forth else ends[::-1]
    across = side if wide else 1 - side
    points = [(begin, across), (end, across)] if wide else [(across, begin), (across, end)]
    look = {"arrowstyle": "-|>", "color": MUTED, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=points[1], xytext=points[0], arrowprops=look)
    text = f"{arrow.what}\n{arrow.size}"
    if wide:
        axes.text(middle, across + (0.06 if forth else -0.06), _broken(text, 24), ha="center",
                  va="bottom" if forth else "top", color=MUTED, size=7.5)  # fmt: skip
    else:
        axes.text(across + (-0.03 if forth else 0.03), middle, _broken(text), ha="right" if forth else "left",
                  va="center", color=MUTED, size=8)  # fmt: skip
