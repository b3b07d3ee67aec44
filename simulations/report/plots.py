"""The report's figures, drawn from a run's results: every function returns one inline `<svg>` (see `svg`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from shared.files import replacing

from ..baselines.interest_models import GAP_BASELINES, RULE
from ..evaluation.result_tables import LapseTable, Tenth
from ..evaluation.results import Results, UtilityPoint
from ..evaluation.turn_quality import PHI
from .format import compact, decimal
from .svg import COLOURS as COLOURS
from .svg import MUTED, OURS, Curve, empty_figure, label_curves, legend, numbers, square, style, suffix, svg, with_names


def learning_curve(results: Results, *, wide: bool) -> Markup:
    """AUC of the published model by round, with pooled models and rules dashed."""
    with style():
        rules = baselines_of_the_curve(results)
        figure, axes = with_names(wide, 2 + len(rules), left=0.06 if wide else 0.11)
        rounds = [point.round for point in results.learning_curve]
        curve = numbers(point.auc for point in results.learning_curve)
        axes.axhline(0.5, color=MUTED, linewidth=0.9)
        curves = [Curve(0.5, "guessing", width=0.9)]
        dashes = ("--", ":", "-.")
        for i, (name, value) in enumerate(rules.items()):
            curves.append(Curve(value, name, style=dashes[i % 3]))
            axes.axhline(value, color=MUTED, linestyle=dashes[i % 3], linewidth=1.3)
        axes.plot(rounds, curve, color=OURS, linewidth=2.4)
        last = results.interest.auc
        if last is not None:
            curves.append(Curve(last, "federated model", OURS, width=2.4))
        known = curve[np.isfinite(curve)]
        values = [0.5, *known, *rules.values()]
        axes.set_ylim(min(values) - 0.03, min(1.0, max(values) + 0.04))
        axes.set_xlim(0, max(rounds, default=1) or 1)
        axes.xaxis.set_major_locator(MaxNLocator(8 if wide else 5, integer=True, min_n_ticks=1))
        axes.set_xlabel("training round")
        axes.set_title("AUC on the test steps")
        label_curves(axes, curves) if wide else legend(figure, curves)
        return svg(
            figure, f"curve-{suffix(wide)}", "AUC of the federated model by round, beside pooled models and rules"
        )


def baselines_of_the_curve(results: Results) -> dict[str, float]:
    """AUC of the baselines worth drawing: the models that a gap is measured to, where they were fitted, and the rules."""
    return {
        row.name: row.auc
        for row in results.baselines
        if row.auc is not None and (row.name in GAP_BASELINES or row.kind == RULE)
    }


def utility_figure(points: Sequence[UtilityPoint], *, wide: bool) -> Markup:
    """AUC against epsilon, without noise at the right end."""
    with style():
        return svg(_utility(points, wide), f"utility-{suffix(wide)}", "AUC by epsilon, with the pooled model's")


def save_utility_figure(points: Sequence[UtilityPoint], file: Path) -> None:
    """The same figure in a file of its own, as .svg or .png by its name; the same points give the same bytes."""
    with style({"svg.hashsalt": "utility"}):
        kind = file.suffix.lstrip(".")
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type") if kind == "svg" else ("Software",))
        _utility(points, wide=True).savefig(file, format=kind, dpi=200, metadata=nothing, facecolor="white")


def save_utility_panels(panels: Mapping[str, Sequence[UtilityPoint]], file: Path) -> None:
    """AUC against epsilon of several data sets side by side, in a file of its own; axes span the same height, each
    around its own data. The same points give the same bytes."""
    with style({"svg.hashsalt": "utility"}):
        figure = empty_figure(True, 3.6)
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        curves: list[Curve] = []
        for axes, (name, points) in zip(grid, panels.items(), strict=True):
            curves = _utility_axes(axes, points)
            axes.set_title(f"{name}: AUC on the test weeks")
        height = max(float(np.ptp(axes.get_ylim())) for axes in grid)
        for axes in grid:
            middle = float(np.mean(axes.get_ylim()))
            axes.set_ylim(middle - height / 2, middle + height / 2)
            axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3f}"))
        figure.subplots_adjust(left=0.06, right=0.99, top=0.92, bottom=0.24, wspace=0.16)
        handles = [Line2D([], [], color=each.colour, linestyle=each.style, linewidth=each.width) for each in curves]
        names = [each.name for each in curves]
        figure.legend(handles, names, loc="lower center", ncols=len(curves), frameon=False, handlelength=2.4)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with replacing(file) as out:
            figure.savefig(out, format="svg", metadata=nothing, facecolor="white")


def _utility(points: Sequence[UtilityPoint], wide: bool) -> Figure:
    """One data set, curves named at their ends or below."""
    figure, axes = with_names(wide, 2, left=0.07 if wide else 0.13)
    curves = _utility_axes(axes, points)
    axes.set_title("AUC on the test steps")
    if wide:
        label_curves(axes, curves)
    else:
        legend(figure, curves)
    return figure


def _utility_axes(axes: Axes, points: Sequence[UtilityPoint]) -> list[Curve]:
    """Epsilon on a logarithmic axis, no noise at its right end; the curves that were drawn."""
    finite = sorted((point for point in points if point.epsilon is not None), key=lambda point: point.epsilon or 0)
    ranked = [*finite, *(point for point in points if point.epsilon is None)]
    at = np.log(numbers(point.epsilon for point in finite))
    at = np.append(
        at, np.full(len(ranked) - len(finite), at.max(initial=0) + max(0.7, 0.2 * np.ptp(at) if at.size else 0))
    )
    keys = ("auc_mean", "auc_sd", "pooled_auc", "start_auc")
    mean, spread, pooled, start = (numbers(getattr(point, key) for point in ranked) for key in keys)
    spread = np.nan_to_num(spread)
    n = len(finite)
    axes.plot(at, pooled, color=MUTED, linestyle="--", linewidth=1.3)
    axes.plot(at, start, color=MUTED, linestyle=":", linewidth=1.3)
    axes.plot(at[:n], mean[:n], color=OURS, linewidth=2.2)
    axes.errorbar(at, mean, yerr=spread, color=OURS, linestyle="", marker="o", markersize=5, capsize=3, linewidth=1.4)
    every = [*(mean - spread), *(mean + spread), *pooled, *start]
    known = np.array(every)[np.isfinite(every)]
    if known.size:
        room = max(0.004, 0.15 * np.ptp(known))
        axes.set_ylim(known.min() - room, known.max() + room)
    margin = max(0.2, 0.05 * np.ptp(at)) if at.size else 1.0
    axes.set_xlim(at.min(initial=0) - margin, at.max(initial=0) + margin)
    axes.set_xticks(at, [compact(p.epsilon) if p.epsilon is not None else "no noise" for p in ranked])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("epsilon (further left: more private)")
    ends = (
        ("pooled model, no privacy", pooled, MUTED, "--", 1.3),
        ("federated model (± 1 sd)", mean, OURS, "-", 2.2),
        ("planted people only, epsilon 0", start, MUTED, ":", 1.3),
    )
    return [
        Curve(float(values[np.isfinite(values)][-1]), name, colour, dashes, width)
        for name, values, colour, dashes, width in ends
        if np.isfinite(values).any()
    ]


def roc(results: Results) -> Markup:
    """The ROC curve of the devices' p."""
    with style():
        figure, axes = square()
        curve = results.interest.roc
        across, up = numbers(curve.false_positive_rate), numbers(curve.true_positive_rate)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.2, linestyle="--")
        axes.fill_between(across, up, across, color=OURS, alpha=0.1, linewidth=0)
        axes.plot(across, up, color=OURS, linewidth=2.4)
        axes.set_xlabel("quiet interests wrongly called returning")
        axes.set_title("returning interests rightly called")
        axes.text(0.97, 0.06, f"AUC {decimal(results.interest.auc)}", ha="right", weight="bold", color=OURS)
        axes.text(0.58, 0.53, "guessing", color=MUTED, size=8.5)
        return svg(figure, "roc", f"ROC curve, AUC {decimal(results.interest.auc)}")


def calibration(results: Results) -> Markup:
    """Mean p against the share that engaged, by tenths of the rows."""
    interest = results.interest
    axis, title = "p that the devices computed (mean of a tenth)", "share that really engaged"
    return _reliability("calibration", interest.calibration, interest.calibration_error, "p", axis, title)


def risk_calibration(lapse: LapseTable) -> Markup:
    """Mean phi against the share that lapsed, by tenths of the lapse rows."""
    error = next(row.calibration_error for row in lapse.table if row.name == PHI)
    axis, title = "phi that the devices computed (mean of a tenth)", "share that really lapsed"
    return _reliability("risk-calibration", lapse.calibration or [], error, "phi", axis, title)


def _reliability(name: str, tenths: Sequence[Tenth], error: float | None, what: str, axis: str, title: str) -> Markup:
    """Promised against true shares of tenths, with the diagonal on which promises are kept."""
    mean_p, share = [tenth.mean_p for tenth in tenths], [tenth.share for tenth in tenths]
    with style():
        figure, axes = square()
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.2, linestyle="--")
        axes.plot(mean_p, share, color=OURS, linewidth=1.4, alpha=0.6)
        axes.plot(mean_p, share, color=OURS, linestyle="", marker="o", markersize=5.5, clip_on=False, zorder=3)
        axes.set_xlabel(axis)
        axes.set_title(title)
        said = f"calibration error {decimal(error)}"
        axes.text(0.97, 0.06, said, ha="right", weight="bold", color=OURS)
        axes.text(0.03, 0.93, f"{what} too low", color=MUTED, size=8.5)
        axes.text(0.97, 0.16, f"{what} too high", color=MUTED, size=8.5, ha="right")
        return svg(figure, name, f"Calibration by tenths of {what}, {said}")
