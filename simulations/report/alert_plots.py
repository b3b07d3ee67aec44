"""The report's figures of alerts: over time, one planted user, and what a louder or quieter setting would have done."""

from __future__ import annotations

from typing import Final

import numpy as np
from markupsafe import Markup
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from ..evaluation.replay import change_rate
from ..evaluation.result_tables import Way
from ..evaluation.results import Results
from .format import duration, grouped
from .svg import BAND, FALL, INK, MUTED, OURS, RISE, empty_figure, flag, numbers, style, suffix, svg

SIGNS: Final[dict[Way, tuple[str, str]]] = {"fall": (FALL, "v"), "rise": (RISE, "^")}
LEVELS = ("low", "medium", "high")
#: Where the tallest falls and rises differ by more than this factor, each half of their figure has its own scale.
SCALES_APART = 4
#: Points between a panel and its title, so that a flag fits between them.
ABOVE_FLAGS = 19
#: Detectors that did not run, in their order, and where the panels of their figure lie.
CURVES = ((FALL, "v"), (RISE, "^"), (INK, "s"), (MUTED, "D"))
PANELS_WIDE = {"left": 0.06, "right": 0.99, "top": 0.92, "bottom": 0.3, "wspace": 0.16}
PANELS_NARROW = {"left": 0.12, "right": 0.97, "top": 0.95, "bottom": 0.28, "hspace": 0.45}


def alerts_over_time(results: Results, *, wide: bool) -> Markup:
    """Alerts of all devices per step: falls up, rises down."""
    alerts = results.alerts
    steps = alerts.first_step + np.arange(alerts.steps)
    counts = {way: np.asarray(alerts.by_step.of(way)) for way in SIGNS}
    tallest = alert_scales(results)
    with style():
        figure = empty_figure(wide, 3.0)
        halves = figure.subplots(2, 1, sharex=True)
        figure.subplots_adjust(left=0.06 if wide else 0.12, right=0.99, top=0.90, bottom=0.15, hspace=0)
        for axes, way in zip(halves, SIGNS, strict=True):
            colour, marker = SIGNS[way]
            axes.stairs(counts[way], np.append(steps, steps[-1] + 1) - 0.5, fill=True, color=colour, linewidth=0)
            axes.set_ylim((0, 1.3 * tallest[way])[:: 1 if way == "fall" else -1])
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
            axes.yaxis.get_major_ticks()[0].label1.set_visible(way == "fall")
            axes.spines["bottom"].set_visible(False)
            label, height = f"{grouped(int(counts[way].sum()))} {way}s", 0.9 if way == "fall" else 0.1
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
        halves[0].set_title(f"alerts of all devices per {results.step}")
        halves[0].tick_params(axis="x", length=0)
        halves[1].axhline(0, color=MUTED, linewidth=1.2)
        halves[1].set_xlim(steps[0] - 0.7, steps[-1] + 0.7)
        halves[1].xaxis.set_major_locator(MaxNLocator(10 if wide else 6, integer=True, min_n_ticks=1))
        halves[1].set_xlabel(results.step)
        return svg(figure, f"alerts-{suffix(wide)}", "Alerts per step, falls upwards and rises downwards")


def alert_scales(results: Results) -> dict[Way, int]:
    """The height that each half of the alerts must hold: one for both, unless one half would be too small to see."""
    tallest = {way: max(1, *results.alerts.by_step.of(way)) for way in SIGNS}
    if max(tallest.values()) > SCALES_APART * min(tallest.values()):
        return tallest
    return dict.fromkeys(SIGNS, max(tallest.values()))


def drawn_user(results: Results, index: int, *, wide: bool) -> Markup:
    """One of the planted users, in one category: events, p, the change rate of p, what was planted and what was called."""
    user, settings = results.example_users[index], results.plan.detection
    step, window, threshold = results.step, settings.rate_window_steps, settings.rate_threshold
    p, count = numbers(user.p), numbers(user.count)
    scored = np.flatnonzero(np.isfinite(p))
    first, last = (scored[0], scored[-1]) if scored.size else (0, len(p) - 1)
    first = max(0, first - results.protocol.window_steps)
    steps = np.arange(len(p))
    with style():
        figure = empty_figure(wide, 5.6 if wide else 5.3)
        panels = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1.15, 1))
        figure.subplots_adjust(left=0.065 if wide else 0.13, right=0.985, top=0.91, bottom=0.085, hspace=0.5)
        bars, level, change = panels
        for axes in panels:
            axes.axvspan(first - 0.5, scored[0] - 0.5 if scored.size else last, color=BAND, linewidth=0)
            axes.axvline(user.change_step - 0.5, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
            for alert in user.alerts:
                axes.axvline(alert.step, color=SIGNS[alert.direction][0], linewidth=1.2)
        bars.stairs(count, np.arange(len(count) + 1) - 0.5, fill=True, color=MUTED, linewidth=0)
        bars.set_title(f"engagement per {step}: events, weighted", pad=ABOVE_FLAGS)
        level.plot(steps, p, color=OURS, linewidth=2.2)
        level.set_ylim(-0.04, 1.09)
        level.set_yticks([0, 0.5, 1])
        level.set_title(f"p: engages within the next {duration(results.plan.horizon_steps, step)}", pad=ABOVE_FLAGS)
        rate = change_rate(p[:, None], window)[:, 0]
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
        for alert in sorted(user.alerts, key=lambda alert: alert.step):
            colour, marker = SIGNS[alert.direction]
            if alert.began is not None:
                level.axvspan(alert.began, alert.step, color=colour, alpha=0.1, linewidth=0)
            if np.isfinite(p[alert.step]):
                level.plot(alert.step, p[alert.step], color=colour, marker=marker, markersize=9)
            if alert.step - flagged > (last - first) / 4:
                flag(level, alert.step, f"{alert.direction} alert", colour, (first, last))
                flagged = alert.step
        flag(bars, user.change_step - 0.5, f"planted {user.direction}", INK, (first, last))
        if scored.size and scored[0] - first > 12:
            level.text((first + scored[0]) / 2, 0.5, "no model yet", color=MUTED, ha="center", va="center", size=8.5)
        change.set_xlim(first - 0.5, last + 0.5)
        change.xaxis.set_major_locator(MaxNLocator(10 if wide else 6, integer=True, min_n_ticks=1))
        return svg(
            figure,
            f"user{index}-{suffix(wide)}",
            "One planted user: engagement, p, change rate, planted change, alerts",
        )


def detector_curves(results: Results, *, wide: bool) -> Markup:
    """Falls of every detector from its quietest setting to its loudest: recall, and the median delay of those found,
    against false alerts per user; the plan's own settings with a ring. Points without a false alert lie at the left
    edge."""
    step, curves = results.step, results.alerts.curves.detectors
    running = results.plan.detection.detector
    loud = [point.false_per_user for curve in curves for point in curve.points]
    least = min((value for value in loud if value > 0), default=0.1) / 2
    others = iter(CURVES)
    with style():
        figure = empty_figure(wide, 3.6 if wide else 5.6)
        panels = figure.subplots(1, 2) if wide else figure.subplots(2, 1)
        figure.subplots_adjust(**PANELS_WIDE if wide else PANELS_NARROW)
        handles = []
        for curve in sorted(curves, key=lambda curve: curve.detector != running):
            ours = curve.detector == running
            colour, marker = (OURS, "o") if ours else next(others)
            points = [point for point in curve.points if point.alerts]
            across = np.maximum(numbers(point.false_per_user for point in points), least)
            for axes, key in zip(panels, ("recall", "median_delay_steps"), strict=True):
                up = numbers(getattr(point, key) for point in points)
                axes.plot(across, up, color=colour, marker=marker, markersize=4, linewidth=2.2 if ours else 1.2)
                own = np.array([point.planned for point in points], bool)
                ring = {"marker": "o", "markersize": 10, "markerfacecolor": "none", "linestyle": ""}
                axes.plot(across[own], up[own], color=colour, **ring)
            label = f"{curve.name}{' (this run)' if ours else ''}"
            handles.append(Line2D([], [], color=colour, marker=marker, markersize=4, label=label))
        for axes, title in zip(panels, ("recall of falls", f"median delay of those found, {step}s"), strict=True):
            axes.set_xscale("log")
            axes.set_xlim(least / 1.3, max(1.3 * max(loud, default=1), 2 * least))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_ylim(bottom=0)
            axes.set_title(title)
            axes.set_xlabel(f"false falls per user in {duration(results.alerts.steps, step)}")
        figure.legend(handles=handles, loc="lower center", ncols=3 if wide else 1, frameon=False, handlelength=2.4)
        return svg(figure, f"detectors-{suffix(wide)}", "Recall and delay of falls against false alerts, by detector")
