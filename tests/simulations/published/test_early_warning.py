"""Published numbers of early warning: low ends are the lowest of all seeds, and shipped alerts are counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from client.detection.risk_levels import Direction
from shared.features import FeatureSpec
from simulations.baselines.interest_models import OURS, POOLED, POOLED_LR, RULE
from simulations.evaluation.result_tables import Difference, LapseScores, LapseTable, ScoreMetrics, Warned
from simulations.evaluation.turn_table import P_SILENT
from simulations.published import alerts_as_shipped as shipped
from simulations.published.alerts_as_shipped import MEASURES, RANGED, as_shipped, shipped_numbers
from simulations.published.early_warning import _ours, numbers_of_rises, numbers_of_table, rise_numbers
from simulations.scenarios.config import ProtocolSection
from tests.simulations.evaluation.test_turn_rows import of_streams
from tests.world.basics import make_plan
from tests.world.setups import setup_with

NAME = "complete-journey"
FEW = ("data.users=120", "warm_start.users=60", "warm_start.epochs=1")
SEEDS = 3


def row(name: str, kind: str, auc: float, high: float = 0.0) -> LapseScores:
    """A row that is behind seed 0 by at least -high, behind seed 1 by .001 less, and so on."""
    ahead = {_ours(i): Difference(auc=0.0, low=-1.0 - i, high=high + 0.001 * i) for i in range(SEEDS)}
    metrics = dict.fromkeys(ScoreMetrics.model_fields, 0.1)
    warned = Warned(silences=9, lapses=4, alerts=8, median_lead_steps=5.0, precision=0.25, recall=0.4)
    whose = {"name": name, "kind": kind, "auc": auc, "low": auc - 0.01, "high": auc + 0.02, "ahead": ahead}
    return LapseScores(**whose, **metrics, alerts=warned, early_auc=auc)


def table() -> LapseTable:
    rows = [row(_ours(i), OURS, 0.75 + 0.01 * i) for i in range(SEEDS)]
    rows += [row("EWMA of activity, 24 steps", RULE, 0.74, -0.003), row("EWMA of activity, 8 steps", RULE, 0.72, -0.02)]
    rows += [row("recency", RULE, 0.7), row("never", RULE, 0.9), row(P_SILENT, RULE, 0.77), row("dnn", POOLED, 0.78)]
    rows += [row(f"{POOLED_LR}, trained on {turns}", POOLED, 0.775) for turns in ("lapses", "take-offs")]
    about = {"steps": (1, 9), "train_steps": (0, 0), "lapse_steps": 8, "rows": 90, "users": 9, "base_rate": 0.1}
    early = {"valued_base_rate": None, "early_rows": 90, "early_base_rate": 0.1}
    return LapseTable(**about, **early, table=rows, calibration=None)


def test_low_ends_are_the_lowest_of_all_seeds() -> None:
    out = numbers_of_table("x", table(), SEEDS)
    assert out["lapse.above_best_rule_low.x"].value == pytest.approx(0.001)
    assert out["lapse.above_best_rule_high.x"].value == pytest.approx(1.0)
    assert out["lapse.above_benchmark_rule_low.x"].value == pytest.approx(0.018)
    assert out["lapse.above_best_rule.x"].value == pytest.approx(0.02)
    assert out["lapse.above_benchmark_rule.x"].value == pytest.approx(0.04)


def test_rises_say_where_a_rule_a_fitted_and_a_pooled_model_are_ahead() -> None:
    out = numbers_of_rises("x", table(), SEEDS)
    assert out["rise.above_best_rule.x"].value == pytest.approx(0.02)
    assert out["rise.above_best_rule_low.x"].value == pytest.approx(0.001)
    assert out["rise.above_bg_nbd.x"].value == pytest.approx(-0.01)
    assert out["rise.below_best_pooled.x"].value == pytest.approx(0.02)
    assert out["rise.gap.x"].value == pytest.approx(0.015), "to what learned the turns, not to the best of all"
    assert out["rise.row.x.dnn"].value == 0.78 and not any("seed" in key for key in out)


@pytest.mark.parametrize(("turn", "numbers"), [("lapse", numbers_of_table), ("rise", numbers_of_rises)])
def test_every_row_has_its_interval_and_the_table_its_number_of_users(turn, numbers) -> None:
    out = numbers("x", table(), SEEDS)
    assert (out[f"{turn}.users.x"].value, out[f"{turn}.rows.x"].value) == (9, 90)
    assert (out[f"{turn}.low.x"].value, out[f"{turn}.high.x"].value) == pytest.approx((0.75, 0.78))
    rows = [key for key in out if key.startswith(f"{turn}.row.x.")]
    assert len(rows) == 8
    for key in rows:
        low, high = (out[key.replace(".row.", f".row_{end}.")].value for end in ("low", "high"))
        assert (low, high) == pytest.approx((out[key].value - 0.01, out[key].value + 0.02))


def test_the_calibration_of_rises_is_published_where_ours_is_a_chance() -> None:
    assert numbers_of_rises("x", table(), SEEDS)["rise.ece.x"].value == pytest.approx(0.1)
    levels = [row.model_copy(update={"calibration_error": None}) for row in table().table]
    assert "rise.ece.x" not in numbers_of_rises("x", table().model_copy(update={"table": levels}), SEEDS)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulations.baselines.interest_models.DNN_BATCHES", 40)


@pytest.mark.slow
def test_rises_are_beside_pooled_models_and_change_rates(short: None) -> None:
    out = rise_numbers(NAME, FEW, seeds=2)
    wanted = ("level_of_p_pooled_dnn", "change_rate_of_p_w_4_pooled_dnn", "pooled_dnn_trained_on_take_offs", "recency")
    assert {f"rise.row.{NAME}.{key}" for key in wanted} <= set(out)
    assert out[f"rise.below_best_pooled.{NAME}"].baseline.startswith(("level of p, pooled", "pooled"))


@pytest.mark.slow
def test_every_measure_of_the_shipped_detector_is_published() -> None:
    out = shipped_numbers(NAME, FEW, seeds=1)  # of more the means need not multiply up
    value = {key: out[f"shipped.{key}.{NAME}"].value for key in MEASURES if f"shipped.{key}.{NAME}" in out}
    ranged = {key for key in out if key.endswith((f"_low.{NAME}", f"_high.{NAME}"))}
    assert len(value) == len(out) - len(ranged) - 1 and out[f"shipped.users.{NAME}"].value == 120
    assert (
        all(out[key].value <= out[key.replace("_low.", "_high.")].value for key in ranged)
        and value["users_over_budget"] == 0
        and 0 <= value["falls"] <= 4
    )
    missing = set(MEASURES) - set(value)
    assert missing <= {"precision", "median_lead", "rise_precision"}, "noise decides whether anything is called"
    if "precision" in value:
        assert value["falls"] * (1 - value["precision"]) == pytest.approx(value["false_falls"], abs=3e-5), (
            "numbers have five digits"
        )
    assert 1 <= value.get("median_lead", 1) <= 8


def test_shipped_alerts_are_counted_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = ProtocolSection(
        window_steps=6,
        short_steps=(1, 2, 3, 4),
        horizon_steps=2,
        lapse_steps=4,
        train_steps=(3, 5),
        test_steps=(8, 13),
        alert_steps=(8, 13),
        lapse_train_steps=(3, 4),
        n_steps=18,
    )
    plan = make_plan(features=FeatureSpec(6, (1, 2, 3, 4)), detection={"detector": "risk", "lapse_steps": 4})
    plan = replace(plan, detection=replace(plan.detection, false_alerts=1, budget_steps=6))
    history = of_streams(
        #           8    13
        "000011111100000000",  # last active at 9: a whole lapse, true at 9..12
        "001111111111111111",  # never lapses
        "000100000000011100",  # quiet; takes off at 11 and 12: 3 of the next 4
    )
    raised = np.zeros((3, 6, 2, 1), bool)
    falls, rises = raised[:, :, Direction.FALL, 0], raised[:, :, Direction.RISE, 0]
    falls[0, [3, 4]] = True  # at 11 and 12: both true, the first with 4 - 2 = 2 steps of lead
    falls[1, [0, 5]] = True  # two false ones within 6 steps
    rises[2, [0, 5]] = True  # at 8: too early; at 13: it has begun
    rises[2, 4] = True  # at 12
    monkeypatch.setattr(shipped, "scores_at", lambda *_: None)
    monkeypatch.setattr(shipped, "alerts_of", lambda *_: raised)
    told = as_shipped(history, setup_with(plan, protocol), np.empty(0, np.float32), np.empty(0, np.float32))
    ends = {f"{key}_{end}": told.pop(f"{key}_{end}") for key in RANGED for end in ("low", "high")}
    assert (ends["recall_low"], ends["recall_high"]) == (1.0, 1.0), "the only lapse was found"
    assert (ends["median_lead_low"], ends["median_lead_high"]) == (2.0, 2.0), "and nothing else has a lead"
    assert (ends["rise_recall_low"], ends["rise_recall_high"]) == (1.0, 1.0)
    for key, high in {"falls": 2.0, "false_falls": 2.0, "rises": 3.0, "false_rises": 2.0}.items():
        assert 0 <= ends[f"{key}_low"] < ends[f"{key}_high"] <= high, "nobody has more"
    assert (ends["precision_low"], ends["precision_high"]) == (0.0, 1.0), (
        "one of two users had right ones alone, one none"
    )
    assert told == {
        "precision": 0.5,
        "recall": 1.0,
        "median_lead": 2.0,
        "falls": pytest.approx(4 / 3),
        "false_falls": pytest.approx(2 / 3),
        "rise_precision": pytest.approx(1 / 3),
        "rise_recall": 1.0,
        "rises": 1.0,
        "false_rises": pytest.approx(2 / 3),
        "users_over_budget": pytest.approx(2 / 3),
    }
