"""The report of a run: one HTML file that loads nothing, for somebody who has never seen the project.

Everything in it comes from the results and from the register of messages; the words around it are in
templates/report.html. Values are escaped; only the drawings of `plots` and `alert_plots` are put in as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from shared.features.windows import QUIET_ACTIVE, TAKEOFF_ACTIVE
from shared.files import replace_content
from shared.messages import REGISTER, REQUESTS
from shared.register.kinds import Field, ListOf

from ..evaluation.ground_truth import PLANTED_TOLERANCE_STEPS
from ..evaluation.results import PlanNumbers, Results
from ..people.datasets import DATASETS
from ..people.of_scenario import OWN
from . import alert_plots, plots, summary
from .answer_plot import answer_picture
from .answer_words import answer_in_words, rule_row
from .attacks import attacks
from .cheats import cheat_rows
from .dropped import dropped_in_words
from .format import NONE, between, compact, decimal, duration, epsilon, grouped, percent, signed, signed_between
from .round_picture import is_ideal, round_picture

TEMPLATES = Path(__file__).parent / "templates"

#: The plan's privacy numbers, and what each means.
PRIVACY_NUMBERS = {
    "clip_norm": "largest L2 norm of one device's update, in model units",
    "noise_multiplier": "standard deviation of the noise in a round's sum, in clip norms",
    "sampling_rate": "probability of each device to be in a round, drawn afresh for every round",
    "rounds": "rounds that may be charged",
    "population": "devices the server expects",
    "min_survivors": "fewest updates for which a round's sum is opened; together they carry the whole noise",
    "max_colluders": "devices among them whose noise is not counted on",
    "steps_per_clip": "integer grid steps in one clip norm",
    "delta": "probability with which the promise of epsilon may fail",
}

#: What a detector does, with the plan's numbers to be filled in.
DETECTOR_RULES = {
    "risk": (
        "It calls a fall when phi, the probability that an established interest lapses, is {risk_line:.0%} or more, and a "
        "rise when p of one that is not established climbs to {rise_level:g}."
    ),
    "slow_average": (
        "It calls a turn by a rule of counters that needs no model: a fall when the chance of a lapse by the slow average of activity is "
        "{risk_line:.0%} or more, and a rise by that average and the user's own rate."
    ),
    "rate": "It calls a turn when p changed by at least {rate_threshold:g} per step over {rate_window_steps} steps.",
    "level": (
        "It calls a fall when p of an established interest sinks to {fall_level:g}, and a rise when p of one that is "
        "not established climbs to {rise_level:g}."
    ),
    "cusum": (
        "It calls a turn when p shifts lastingly against this interest's own level and chance (a CUSUM on logit p); its "
        "thresholds are set for at most {false_alerts} false alerts per user in {budget_steps} steps."
    ),
    "own_level": (
        "It calls a turn when p leaves this interest's own slow average (span {own_span_steps} steps): a fall by "
        "{fall_margin:g} logits on an established interest, a rise by {rise_margin:g}."
    ),
}


def write_report(results: Results, file: Path, more: Sequence[tuple[str, str]] = ()) -> None:
    """Write the report of a run's `results` to `file`, whole or not at all, with `more` rows; the same gives the same bytes."""
    replace_content(file, render(results, more))


def render(results: Results, more: Sequence[tuple[str, str]] = ()) -> str:
    """The report as one HTML page, with `more` rows (name, value) below those of the results."""
    return (
        _environment()
        .get_template("report.html")
        .render(
            **vars(results),
            rows=[*summary.result_rows(results), *more],
            said=answer_in_words(results),
            contact_rows=contact_rows(results),
            drawings=drawings(results),
            caps_in_words=summary.caps_in_words(results.caps),
            to_server=summary.learns_in_words(results),
            ideal_sum=summary.IDEAL_SUM if results.fidelity == "hosts" else None,
            one_scale=len(set(alert_plots.alert_scales(results).values())) == 1,
            messages=message_rows(results),
            cheats=cheat_rows(),
            attacks=attacks(),
            dropped=dropped_in_words(results.traffic.dropped),
            detector=detector_of(results),
            source=DATASETS.get(results.data),
            is_own=results.data.startswith(OWN),
            odds=odds_factor(results.privacy.epsilon_to_public),
            base_log_loss=base_log_loss(results.interest.base_rate),
            is_ideal=is_ideal(results),
            privacy_numbers=PRIVACY_NUMBERS,
            other_numbers=other_numbers(results.plan),
            tolerance_steps=PLANTED_TOLERANCE_STEPS,
            quiet_active=QUIET_ACTIVE,
            takeoff_active=TAKEOFF_ACTIVE,
            risk_levels=alert_plots.LEVELS,
            colours=plots.COLOURS,
        )
    )


def drawings(results: Results) -> dict[str, Any]:
    """Every figure that these results allow: one drawing, or a wide and a narrow one; None where there is nothing."""
    interest, lapse, utility = results.interest, results.lapse, results.utility
    alike = {
        name: {"wide": draw(results, wide=True), "narrow": draw(results, wide=False)}
        for name, draw in (("curve", plots.learning_curve), ("alerts", alert_plots.alerts_over_time))
    }
    users = [
        {way: alert_plots.drawn_user(results, i, wide=way == "wide") for way in ("wide", "narrow")}
        for i in range(len(results.example_users))
    ]
    answer = {way: answer_picture(results, wide=way == "wide") for way in ("wide", "narrow")}
    return {
        **alike,
        "answer": answer if answer["wide"] else None,
        "round": {way: round_picture(results, wide=way == "wide") for way in ("wide", "narrow")},
        "roc": plots.roc(results) if interest.auc is not None else None,
        "calibration": plots.calibration(results) if interest.calibration else None,
        "risk": plots.risk_calibration(lapse) if lapse and lapse.calibration else None,
        "users": users,
        "detectors": {way: alert_plots.detector_curves(results, wide=way == "wide") for way in ("wide", "narrow")},
        "utility": {way: plots.utility_figure(utility.points, wide=way == "wide") for way in ("wide", "narrow")}
        if utility
        else None,
    }


def contact_rows(results: Results) -> list[tuple[str, list[tuple[str, str]]]]:
    """Ours and every rule at as many contacts: name, and what it came to; none where nothing was called."""
    answer = results.answer
    rows = [answer.ours, *answer.rules] if answer.ours.contacts else []
    return [(row.name, rule_row(row, results.step)) for row in rows]


def message_rows(results: Results) -> list[dict[str, Any]]:
    """Every message of the run, with what the register says about it: what came down first, then what left."""
    rows = []
    for name, counted in results.traffic.by_message.items():
        up = name in REGISTER
        kind = (REGISTER if up else REQUESTS).get(name)
        rows.append(
            {
                "name": name,
                "up": up,
                "purpose": kind.purpose if kind else NONE,
                "cost": kind.cost if kind else NONE,
                "fields": field_names(kind.fields) if kind else NONE,
                "messages": counted.messages,
                "each": counted.bytes / counted.messages if counted.messages else None,
                "per_device": counted.bytes / results.devices,
            }
        )
    return sorted(rows, key=lambda row: row["up"])


def field_names(fields: Mapping[str, Field]) -> str:
    """Names of a message's fields, with those of a list in brackets."""
    inner = {name: field.type.fields for name, field in fields.items() if isinstance(field.type, ListOf)}
    return ", ".join(f"{name} ({field_names(inner[name])})" if name in inner else name for name in fields)


def detector_of(results: Results) -> dict[str, str]:
    """The devices' detector: its name, and its rule in words."""
    settings = results.plan.detection
    return {"name": results.alerts.detector, "rule": DETECTOR_RULES[settings.detector].format(**vars(settings))}


def odds_factor(epsilon: float | None) -> str | None:
    """e^epsilon in words: by how much the odds of a guess about one device can change."""
    if epsilon is None:
        return None
    if epsilon > math.log(1e6):
        return "more than a million"
    factor = math.exp(epsilon)
    return grouped(float(f"{factor:.2g}")) if factor >= 100 else f"{factor:.2g}"


def base_log_loss(base_rate: float | None) -> float | None:
    """Log loss of always answering the base rate; None without rows."""
    if base_rate is None:
        return None
    return -sum(share * math.log(share) for share in (base_rate, 1 - base_rate) if share > 0)


def other_numbers(plan: PlanNumbers) -> dict[str, Mapping[str, Any]]:
    """The rest of the plan: of the training and of the detection. What it leaves open is not among them."""
    training = {k: v for k, v in vars(plan).items() if k not in {*PRIVACY_NUMBERS, "detection", "sha256"}}
    return {"training": training, "detection": {k: v for k, v in vars(plan.detection).items() if v is not None}}


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(TEMPLATES)
    out = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    out.filters.update({f.__name__: f for f in (decimal, signed, percent, grouped, compact, duration, epsilon)})
    out.globals.update({f.__name__: f for f in (between, signed_between)})
    out.filters["words"] = lambda name: str(name).replace("_", " ")
    return out
