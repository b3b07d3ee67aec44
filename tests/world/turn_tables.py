"""Made-up tables of turns, as results.json holds them."""

from typing import Any

from simulations.baselines.interest_models import OURS, POOLED, RULE
from simulations.evaluation.cold.table import OWN, POPULARITY_RULE
from simulations.evaluation.turn_quality import LEVEL, PHI

Section = dict[str, Any]  #: of results.json


def turn_row(name: str, kind: str, **changes: Any) -> Section:
    """A row of a table of turns, good at what can be said of any score."""
    numbers = {"auc": 0.75, "average_precision": 0.26, "top_precision": 0.31, "top_value_precision": 0.23}
    nothing = dict.fromkeys(("low", "high", "brier", "brier_skill", "calibration_error"))
    return {"name": name, "kind": kind, "ahead": {}, **nothing, **numbers, **changes}


#: What stands above a table of turns.
TURN_ROWS = {
    "steps": [10, 18],
    "train_steps": [2, 4],
    "lapse_steps": 5,
    "rows": 500,
    "users": 8,
    "base_rate": 0.115,
    "valued_base_rate": 0.05,
    "early_rows": 300,
    "early_base_rate": 0.08,
}


def lapse(*, phi: bool = True) -> Section:
    """A table of lapses: ours, a rule, and one that no line makes good enough."""
    warned = {"silences": 90, "lapses": 20, "alerts": 33, "precision": 0.25, "recall": 0.41, "median_lead_steps": 5.5}
    row = {"early_auc": 0.76, "calibration_error": 0.02, "alerts": warned}
    ahead = {"auc": -0.08, "low": -0.1, "high": -0.06}
    ours = PHI if phi else LEVEL
    table = [
        turn_row(ours, OURS, **row),
        turn_row("recency", RULE, **{**row, "auc": 0.67, "ahead": {ours: ahead}}),
        turn_row("never", RULE, **{**row, "auc": 0.5, "alerts": None}),
    ]
    calibration = [{"rows": 50, "mean_p": d / 20, "share": d / 22} for d in range(10)]
    return {**TURN_ROWS, "table": table, "calibration": calibration if phi else None}


def rises() -> Section:
    """A table of take-offs: ours, and a rule that is as good."""
    table = [turn_row(LEVEL, OURS, auc=0.81), turn_row("recency", RULE, auc=0.82)]
    return {**TURN_ROWS, "rows": 700, "base_rate": 0.061, "table": table}


def never_bought() -> Section:
    """A table of categories never bought: the user's own features, and a rule that is ahead and has no recall."""
    near = {"value": 0.64, "low": 0.62, "high": 0.66}
    own = {"name": OWN, "kind": POOLED, "auc": near, "recall": near, "ahead": None, "recall_ahead": None}
    more = {"value": 0.0123, "low": 0.0101, "high": 0.0145}
    rule = {"name": POPULARITY_RULE, "kind": RULE, "auc": near, "recall": None, "ahead": more, "recall_ahead": None}
    about = {"steps": [10, 18], "horizon_steps": 2, "rows": 4000, "users": 8, "lists": 30, "base_rate": 0.021}
    return {**about, "table": [own, rule]}
