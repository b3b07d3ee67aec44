"""The one picture of the answer: what contacts come to a week among 1,000 people, and who of those leaving is found."""

from __future__ import annotations

from markupsafe import Markup
from matplotlib.axes import Axes

from ..evaluation.answer import PEOPLE
from ..evaluation.result_tables import ContactsWorth
from ..evaluation.results import Results
from .format import grouped
from .svg import INK, MUTED, OURS, RULE, empty_figure, style, suffix, svg

#: How thick a bar is, and how far its interval's caps reach.
THICK, CAP = 0.5, 0.1


def answer_picture(results: Results, *, wide: bool) -> Markup | None:
    """Ours above the rule: right and wrong contacts a week, and found and missed ones of 100 who were leaving, with the 95 %
    intervals of what is right and found. None where nothing was called."""
    answer = results.answer
    rival, ours = answer.rival(), answer.ours
    if not ours.contacts:
        return None
    rows = [("ours", ours)] if rival is None else [("ours", ours), (rival.name, rival)]
    panels = 2 if ours.turns else 1
    with style({"axes.grid": False}):
        figure = empty_figure(wide, 1.25 + 0.32 * len(rows) if wide else (1.0 + 0.4 * len(rows)) * panels)
        grid = figure.subplots(1, panels, squeeze=False) if wide else figure.subplots(panels, 1, squeeze=False)
        figure.subplots_adjust(**_places(wide, panels))
        axes = grid.ravel()
        _bars(axes[0], rows, [(row.right_a_week.value, row.contacts_a_week.value) for _, row in rows], wide)
        _whiskers(axes[0], [(row.right_a_week.low, row.right_a_week.high) for _, row in rows])
        axes[0].set_title(f"contacts a week, per {grouped(PEOPLE)} people: right, and not")
        if panels == 2:
            shares = [_found(row) for _, row in rows]
            _bars(axes[1], rows, [(100 * found, 100.0) for found, _, _ in shares], wide)
            _whiskers(axes[1], [(100 * low, 100 * high) for _, low, high in shares])
            axes[1].set_title("of 100 about to leave: found, and missed")
            if wide:
                axes[1].set_yticklabels([])
        label = "Contacts a week that were right and wrong, and those leaving who were found and missed, beside a rule"
        return svg(figure, f"answer-{suffix(wide)}", label)


def _found(row: ContactsWorth) -> tuple[float, float, float]:
    return (row.recall.value, row.recall.low, row.recall.high) if row.recall else (0.0, 0.0, 0.0)


def _places(wide: bool, panels: int) -> dict[str, float]:
    if wide:
        return {"left": 0.23, "right": 0.99, "top": 0.8, "bottom": 0.17, "wspace": 0.08}
    return {"left": 0.04, "right": 0.97, "top": 0.88, "bottom": 0.1 if panels == 2 else 0.2, "hspace": 0.6}


def _bars(axes: Axes, rows: list[tuple[str, ContactsWorth]], parts: list[tuple[float, float]], wide: bool) -> None:
    """One bar for each row, of (good, all), from the top down; narrow drawings have the names above the bars."""
    most = max((whole for _, whole in parts), default=0.0) or 1.0
    for i, ((name, _), (good, whole)) in enumerate(zip(rows, parts, strict=True)):
        colour = OURS if i == 0 else INK
        axes.barh(-i, whole, THICK, color=RULE, linewidth=0)
        axes.barh(-i, good, THICK, color=colour, linewidth=0)
        if not wide:
            axes.text(0, -i + THICK / 2 + 0.04, name, color=colour, va="bottom", size=8.5)
    axes.set_yticks([-i for i in range(len(rows))], [_folded(name) for name, _ in rows] if wide else [])
    axes.set_ylim(-len(rows) + 1 - THICK, THICK if wide else THICK + 0.3)
    axes.set_xlim(0, 1.02 * most)
    axes.tick_params(axis="y", length=0)


def _whiskers(axes: Axes, ends: list[tuple[float, float]]) -> None:
    for i, (low, high) in enumerate(ends):
        axes.plot([low, high], [-i, -i], color=MUTED, linewidth=1.4)
        for end in (low, high):
            axes.plot([end, end], [-i - CAP, -i + CAP], color=MUTED, linewidth=1.4)


def _folded(name: str, width: int = 24) -> str:
    """A name on two lines where it is long."""
    if len(name) <= width:
        return name
    at = name.rfind(" ", 0, width)
    return f"{name[:at]}\n{name[at + 1 :]}" if at > 0 else name
