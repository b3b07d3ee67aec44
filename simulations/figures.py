"""The report's figures, drawn from a run's results as inline SVG.

Every function returns one `<svg>` element: text stays text, no size of its own (it fills its place), no metadata, ids
that are unique in the page, and the same bytes for the same results. Colours are CSS variables of the page, so one
drawing serves a light and a dark screen. `wide` chooses between a drawing for a screen and one for a phone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from .table import decimal, duration, grouped

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
SIGNS = {"fall": (FALL, "v"), "rise": (RISE, "^")}
LEVELS = ("low", "medium", "high")
#: Where the tallest falls and rises differ by more than this factor, each half of their figure has its own scale.
SCALES_APART = 4
#: Points between a panel and its title, so that a flag fits between them.
ABOVE_FLAGS = 19

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


def learning_curve(results: Mapping[str, Any], *, wide: bool) -> Markup:
    """AUC of the published model by round, with every baseline as a dashed line."""
    with _style():
        figure = _figure(wide, 3.1 if wide else 3.3)
        axes = figure.add_subplot()
        figure.subplots_adjust(left=0.06 if wide else 0.11, right=0.685 if wide else 0.96)
        figure.subplots_adjust(top=0.92, bottom=0.15 if wide else 0.46)
        rounds = [point["round"] for point in results["learning_curve"]]
        curve = _numbers(point["auc"] for point in results["learning_curve"])
        rules = {n: v for n, v in results["interest"]["baselines"].items() if v is not None}
        axes.axhline(0.5, color=MUTED, linewidth=0.9)
        lines = [_Line(0.5, "guessing", width=0.9)]
        dashes = ("--", ":", "-.")
        for i, (name, value) in enumerate(rules.items()):
            lines.append(_Line(value, name, style=dashes[i % 3]))
            axes.axhline(value, color=MUTED, linestyle=dashes[i % 3], linewidth=1.3)
        axes.plot(rounds, curve, color=OURS, linewidth=2.4)
        last = results["interest"]["auc"]
        if last is not None:
            lines.append(_Line(last, "federated model", OURS, width=2.4))
        known = curve[np.isfinite(curve)]
        values = [0.5, *known, *rules.values()]
        axes.set_ylim(min(values) - 0.03, min(1.0, max(values) + 0.04))
        axes.set_xlim(0, max(rounds, default=1) or 1)
        axes.xaxis.set_major_locator(MaxNLocator(8 if wide else 5, integer=True, min_n_ticks=1))
        axes.set_xlabel("training round")
        axes.set_title("AUC on the test steps")
        _label_lines(axes, lines) if wide else _legend(figure, lines)
        return _svg(figure, f"curve-{_suffix(wide)}", "AUC of the federated model by round, beside simple rules")


def roc(results: Mapping[str, Any]) -> Markup:
    """The ROC curve of the devices' p."""
    with _style():
        figure, axes = _square()
        curve = results["interest"]["roc"]
        across, up = _numbers(curve["false_positive_rate"]), _numbers(curve["true_positive_rate"])
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.2, linestyle="--")
        axes.fill_between(across, up, across, color=OURS, alpha=0.1, linewidth=0)
        axes.plot(across, up, color=OURS, linewidth=2.4)
        axes.set_xlabel("quiet interests wrongly called returning")
        axes.set_title("returning interests rightly called")
        axes.text(0.97, 0.06, f"AUC {decimal(results['interest']['auc'])}", ha="right", weight="bold", color=OURS)
        axes.text(0.58, 0.53, "guessing", color=MUTED, size=8.5)
        return _svg(figure, "roc", f"ROC curve, AUC {decimal(results['interest']['auc'])}")


def calibration(results: Mapping[str, Any]) -> Markup:
    """Mean p against the share that engaged, by tenths of the rows."""
    with _style():
        figure, axes = _square()
        interest = results["interest"]
        mean_p = [group["mean_p"] for group in interest["calibration"]]
        share = [group["share"] for group in interest["calibration"]]
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.2, linestyle="--")
        axes.plot(mean_p, share, color=OURS, linewidth=1.4, alpha=0.6)
        axes.plot(mean_p, share, color=OURS, linestyle="", marker="o", markersize=5.5, clip_on=False, zorder=3)
        axes.set_xlabel("p that the devices computed (mean of a tenth)")
        axes.set_title("share that really engaged")
        error = f"calibration error {decimal(interest['calibration_error'])}"
        axes.text(0.97, 0.06, error, ha="right", weight="bold", color=OURS)
        axes.text(0.03, 0.93, "p too low", color=MUTED, size=8.5)
        axes.text(0.97, 0.16, "p too high", color=MUTED, size=8.5, ha="right")
        return _svg(figure, "calibration", f"Calibration by tenths of p, {error}")


def alerts_over_time(results: Mapping[str, Any], *, wide: bool) -> Markup:
    """Alerts of all devices per step: falls up, rises down."""
    alerts = results["alerts"]
    steps = alerts["first_step"] + np.arange(alerts["steps"])
    counts = {way: np.asarray(alerts["by_step"][way]) for way in SIGNS}
    tallest = alert_scales(results)
    with _style():
        figure = _figure(wide, 3.0)
        halves = figure.subplots(2, 1, sharex=True)
        figure.subplots_adjust(left=0.06 if wide else 0.12, right=0.99, top=0.90, bottom=0.15, hspace=0)
        for axes, way in zip(halves, SIGNS, strict=True):
            colour, marker = SIGNS[way]
            axes.bar(steps, counts[way], width=0.75, color=colour, linewidth=0)
            axes.set_ylim((0, 1.3 * tallest[way])[:: 1 if way == "fall" else -1])
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
            axes.yaxis.get_major_ticks()[0].label1.set_visible(way == "fall")
            axes.spines["bottom"].set_visible(False)
            label, height = f"{grouped(alerts[way]['alerts'])} {way}s", 0.9 if way == "fall" else 0.1
            axes.plot(0.02, height, marker=marker, markersize=6, color=colour, transform=axes.transAxes)
            axes.text(
                0.035 if wide else 0.055,
                height,
                label,
                transform=axes.transAxes,
                color=colour,
                weight="bold",
                va="center",
            )
        halves[0].set_title(f"alerts of all devices per {results['step']}")
        halves[0].tick_params(axis="x", length=0)
        halves[1].axhline(0, color=MUTED, linewidth=1.2)
        halves[1].set_xlim(steps[0] - 0.7, steps[-1] + 0.7)
        halves[1].xaxis.set_major_locator(MaxNLocator(10 if wide else 6, integer=True, min_n_ticks=1))
        halves[1].set_xlabel(results["step"])
        return _svg(figure, f"alerts-{_suffix(wide)}", "Alerts per step, falls upwards and rises downwards")


def alert_scales(results: Mapping[str, Any]) -> dict[str, int]:
    """The height that each half of the alerts must hold: one for both, unless one half would be too small to see."""
    tallest = {way: max(1, *results["alerts"]["by_step"][way]) for way in SIGNS}
    if max(tallest.values()) > SCALES_APART * min(tallest.values()):
        return tallest
    return dict.fromkeys(SIGNS, max(tallest.values()))


def example_user(results: Mapping[str, Any], *, wide: bool) -> Markup:
    """One planted user in one category: events, p, the change rate of p, what was planted and what was called."""
    user, settings = results["example_user"], results["plan"]["detection"]
    step, window, threshold = results["step"], settings["rate_window_steps"], settings["rate_threshold"]
    p, count = _numbers(user["p"]), _numbers(user["count"])
    scored = np.flatnonzero(np.isfinite(p))
    first, last = (scored[0], scored[-1]) if scored.size else (0, len(p) - 1)
    first = max(0, first - results["protocol"]["window_steps"])
    steps = np.arange(len(p))
    with _style():
        figure = _figure(wide, 5.6 if wide else 5.3)
        panels = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1.15, 1))
        figure.subplots_adjust(left=0.065 if wide else 0.13, right=0.985, top=0.91, bottom=0.085, hspace=0.5)
        bars, level, change = panels
        for axes in panels:
            axes.axvspan(first - 0.5, scored[0] - 0.5 if scored.size else last, color=BAND, linewidth=0)
            axes.axvline(user["change_step"] - 0.5, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
            for alert in user["alerts"]:
                axes.axvline(alert["step"], color=SIGNS[alert["direction"]][0], linewidth=1.2)
        bars.bar(steps, count, width=0.75, color=MUTED, linewidth=0)
        bars.set_title(f"engagement per {step}: events, weighted", pad=ABOVE_FLAGS)
        level.plot(steps, p, color=OURS, linewidth=2.2)
        level.set_ylim(-0.04, 1.09)
        level.set_yticks([0, 0.5, 1])
        level.set_title(
            f"p: engages within the next {duration(results['plan']['horizon_steps'], step)}", pad=ABOVE_FLAGS
        )
        rate = change_rate(p, window)
        change.axhline(0, color=MUTED, linewidth=0.9)
        for sign in (-1, 1):
            change.axhline(sign * threshold, color=MUTED, linewidth=1, linestyle=":")
        change.plot(steps, rate, color=OURS, linewidth=1.6)
        known = rate[np.isfinite(rate)]
        most = 1.35 * max(threshold, float(np.abs(known).max(initial=0)))
        change.set_ylim(-most, most)
        if most < 4 * threshold:
            change.set_yticks([-threshold, 0, threshold])
        else:
            change.yaxis.set_major_locator(MaxNLocator(4, symmetric=True))
        change.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:+g}".replace("-", "−") if v else "0"))
        change.set_title(f"r: change of p per {step}, over {duration(window, step)}")
        change.set_xlabel(step)
        flagged = -len(p)
        for alert in sorted(user["alerts"], key=lambda alert: alert["step"]):
            colour, marker = SIGNS[alert["direction"]]
            if np.isfinite(p[alert["step"]]):
                level.plot(alert["step"], p[alert["step"]], color=colour, marker=marker, markersize=9)
            if alert["step"] - flagged > (last - first) / 4:
                _flag(level, alert["step"], f"{alert['direction']} alert", colour, (first, last))
                flagged = alert["step"]
        _flag(bars, user["change_step"] - 0.5, "planted change", INK, (first, last))
        if scored.size and scored[0] - first > 12:
            level.text((first + scored[0]) / 2, 0.5, "no model yet", color=MUTED, ha="center", va="center", size=8.5)
        change.set_xlim(first - 0.5, last + 0.5)
        change.xaxis.set_major_locator(MaxNLocator(10 if wide else 6, integer=True, min_n_ticks=1))
        return _svg(
            figure, f"user-{_suffix(wide)}", "One planted user: engagement, p, change rate, planted change, alerts"
        )


def change_rate(p: NDArray[np.float64], window_steps: int) -> NDArray[np.float64]:
    """r_t = (p_t - p_{t - w}) / w, (T,); NaN where either is not known."""
    rate = np.full(len(p), np.nan)
    rate[window_steps:] = (p[window_steps:] - p[:-window_steps]) / window_steps
    return rate


def _style() -> Any:
    return matplotlib.style.context(["default", _STYLE])


def _suffix(wide: bool) -> str:
    return "wide" if wide else "narrow"


def _numbers(values: Iterable[float | None]) -> NDArray[np.float64]:
    """Floats (n,), NaN for None."""
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _figure(wide: bool, height: float) -> Figure:
    """An empty figure, `height` inches high; text of 9 points comes out at about 13 pixels wide, 11 on a phone."""
    return Figure(figsize=(8.6 if wide else 3.9, height))


def _square() -> tuple[Figure, Axes]:
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


def _flag(axes: Axes, at: float, label: str, colour: str, span: tuple[float, float]) -> None:
    """A label above the axes at a step, turned inwards near the right end."""
    late = at > span[0] + 0.7 * (span[1] - span[0])
    high = axes.get_ylim()[1]
    axes.annotate(label, (at, high), xytext=(-3 if late else 3, 3), textcoords="offset points", color=colour,
                  ha="right" if late else "left", va="bottom", weight="bold", size=8.5)  # fmt: skip


class _Line(NamedTuple):
    """One line of the learning curve: where it ends, and how it is drawn."""

    value: float
    name: str
    colour: str = MUTED
    style: Any = "-"
    width: float = 1.3

    @property
    def label(self) -> str:
        return f"{self.value:.3f}  {self.name}"


def _label_lines(axes: Axes, lines: list[_Line]) -> None:
    """Name every line at its right end, pushed apart where names would overlap."""
    low, high = axes.get_ylim()
    gap = (high - low) / 14
    ranked = sorted(lines)
    heights = [line.value for line in ranked]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    ceiling = high
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], ceiling)
        ceiling = heights[i] - gap
    for line, height in zip(ranked, heights, strict=True):
        weight = "bold" if line.colour == OURS else "normal"
        where = axes.get_yaxis_transform()
        axes.text(1.02, height, line.label, transform=where, color=line.colour, va="center", weight=weight)


def _legend(figure: Figure, lines: list[_Line]) -> None:
    """The same names below the axes, best first."""
    ranked = sorted(lines, reverse=True)
    handles = [Line2D([], [], color=line.colour, linestyle=line.style, linewidth=line.width) for line in ranked]
    labels = [line.label for line in ranked]
    figure.legend(handles, labels, loc="lower left", frameon=False, handlelength=2.4, labelspacing=0.3)


def _svg(figure: Figure, name: str, label: str) -> Markup:
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
