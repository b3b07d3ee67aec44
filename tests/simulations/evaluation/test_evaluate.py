"""The table of a run: ours beside the others on the same rows, the gap, users held out, and no NaN anywhere."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from shared.errors import InputError
from shared.features import FeatureSpec, History
from simulations.baselines import interest_models as baselines
from simulations.baselines.interest_models import (
    BY_ITSELF,
    EBBTIDE,
    OURS,
    POOLED,
    POOLED_DNN,
    POOLED_LR,
    RECENCY_FREQUENCY,
    RULE,
)
from simulations.evaluation.alert_quality import intervention_counts
from simulations.evaluation.evaluate import interest_quality
from simulations.evaluation.interest_table import baseline_table, compare, with_gap
from simulations.evaluation.quality import auc
from simulations.evaluation.result_tables import BaselineTable, InterestTables, Roc
from simulations.federation.alert_table import ShownAlerts
from simulations.people.labelled_rows import Rows, history_of, rows_of
from simulations.people.planted import plant
from tests.world.basics import make_plan

PLAN = make_plan(features=FeatureSpec(28, (1, 3, 7, 14), (3, 14)), horizon_steps=7)


@pytest.fixture(scope="module")
def data() -> tuple[History, Rows, Rows]:
    history = history_of(plant(60, 112, seed=5))
    return history, *(rows_of(history, PLAN.features, 7, steps) for steps in ((35, 50), (70, 80)))


@pytest.fixture(autouse=True)
def quick_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logistic regression stands for every pooled model."""

    def fitted_models(train: Rows, plan: Any, seed: int, *, every: bool = True) -> dict[str, baselines.Predict]:
        p = baselines._fitted(baselines.LogisticRegression(max_iter=200), train.x, train.y)
        fast = {POOLED_LR: lambda rows: p(rows.x), POOLED_DNN: lambda rows: np.round(p(rows.x), 1)}
        return {**fast, BY_ITSELF: partial(baselines.each_on_its_own, train)} if every else fast

    monkeypatch.setattr(baselines, "fitted_models", fitted_models)


def compared(data: tuple[History, Rows, Rows], scored: np.ndarray, **settings: Any) -> InterestTables:
    history, train, test = data
    every = settings.pop("every_model", True)
    pooled = baselines.fitted_models(train, PLAN, settings.get("seed", 0), every=every)
    return compare(train, test, scored, history, PLAN, **{"until": 57, "pooled": pooled, "extra": {}, **settings})


def a_guess(test: Rows, spread: float = 0.3) -> np.ndarray:
    random = np.random.Generator(np.random.Philox(1))
    return np.clip(0.5 + 0.2 * test.y + spread * random.normal(size=len(test.y)), 0, 1).astype(np.float32)


def test_ours_comes_first_and_the_others_by_auc(data: tuple[History, Rows, Rows]) -> None:
    ours = a_guess(data[2])
    table = compared(data, ours).baselines
    assert table[0].name == EBBTIDE and table[0].kind == OURS and table[0].ahead is None
    assert table[0].auc == auc(data[2].y, ours)
    scores = [row.auc for row in table[1:]]
    assert scores == sorted(scores, reverse=True)
    for row in table:
        assert row.low < row.auc < row.high
    for row in table[1:]:
        assert row.ahead == pytest.approx(row.auc - table[0].auc)
        assert row.ahead_low < row.ahead < row.ahead_high
    assert {row.kind for row in table} == {OURS, POOLED, RULE, "own data only"}


def test_the_gap_is_to_the_better_pooled_model(data: tuple[History, Rows, Rows]) -> None:
    out = compared(data, a_guess(data[2]))
    by_name = {row.name: row for row in out.baselines}
    best = max((POOLED_LR, POOLED_DNN), key=lambda name: by_name[name].auc)
    assert out.gap_to == best
    assert out.gap == by_name[best].auc - by_name[EBBTIDE].auc
    fewer = compared(data, a_guess(data[2]), every_model=False)
    assert fewer.gap == out.gap, "the models that the gap is to are in every report"
    assert sorted(row.kind for row in fewer.baselines) == sorted([OURS, POOLED, POOLED, RULE, RULE, RULE])
    assert with_gap([]) == BaselineTable(baselines=[], gap=None, gap_to=None)


def test_rows_without_a_score_are_left_out_for_everybody(data: tuple[History, Rows, Rows]) -> None:
    test = data[2]
    ours = a_guess(test)
    ours[test.step > 75] = np.nan
    early = test.step <= 75
    found = {row.name: row for row in compared(data, ours, extra={"Keras": a_guess(test, 0.1)}).baselines}
    assert found[EBBTIDE].auc == auc(test.y[early], ours[early])
    assert found["Keras"].auc == auc(test.y[early], a_guess(test, 0.1)[early])
    assert found["Keras"].kind == POOLED


def test_extra_models_must_be_on_the_test_rows(data: tuple[History, Rows, Rows]) -> None:
    with pytest.raises(InputError, match=r"expected p on \d+ test rows from Keras, got 3"):
        compared(data, a_guess(data[2]), extra={"Keras": np.zeros(3, np.float32)})


def test_held_out_users_have_a_table_of_their_own(data: tuple[History, Rows, Rows]) -> None:
    history, train, test = data
    held_out = np.arange(60) % 3 == 0
    mine = held_out[test.user]
    ours = a_guess(test)
    both = (history, train.where(~held_out[train.user]), test)
    out = compared(both, ours, held_out=held_out)
    apart = out.held_out_users
    assert apart.rows == mine.sum() and apart.users == np.unique(test.user[mine]).size
    assert apart.baselines[0].auc == auc(test.y[mine], ours[mine])
    assert out.baselines[0].auc == auc(test.y[~mine], ours[~mine])
    assert sum(row.rows for row in out.groups[:3]) == (~mine).sum()
    alone = next(row for row in apart.baselines if row.name == BY_ITSELF)
    assert alone.auc == 0.5  # it has no rows of these users, and nobody else's
    assert compared(data, ours).held_out_users is None


def test_groups_compare_with_the_pooled_model_on_the_same_rows(data: tuple[History, Rows, Rows]) -> None:
    groups = compared(data, a_guess(data[2])).groups
    assert [row.group.split()[1] for row in groups] == ["users"] * 3 + ["categories"] * 3
    assert all(set(row.beside) == {POOLED_LR, RECENCY_FREQUENCY} for row in groups)
    assert sum(row.rows for row in groups[:3]) == sum(row.rows for row in groups[3:]) == len(data[2].y)
    assert sum(row.members for row in groups[:3]) == 60


def test_nothing_scored_and_one_class_say_none(data: tuple[History, Rows, Rows]) -> None:
    test = data[2]
    nothing = compared(data, np.full(len(test.y), np.nan, np.float32))
    assert nothing.gap is None and all(row.auc is None and row.low is None for row in nothing.baselines)
    one = test.where(test.y)
    table = baseline_table(one, {EBBTIDE: a_guess(one), "recency": a_guess(one)}, seed=0).baselines
    assert all(row.auc is None and row.high is None for row in table) and table[1].ahead_low is None
    for rows in (one, test.where(np.zeros(len(test.y), bool))):
        assert interest_quality(rows, a_guess(rows)).roc == Roc(false_positive_rate=[], true_positive_rate=[])


def test_calibration_has_ten_groups_of_rows(data: tuple[History, Rows, Rows]) -> None:
    test = data[2]
    quality = interest_quality(test, a_guess(test, 0.05))
    assert len(quality.calibration) == 10
    assert sum(group.rows for group in quality.calibration) == quality.rows == len(test.y)
    shares = [group.share for group in quality.calibration]
    assert shares[0] < shares[-1]


def test_interventions_are_counted_by_direction_and_segment_within_the_alert_steps():
    columns = [(0, 5, 0, 1, 2, 2, 4, 1), (1, 5, 0, 0, 0, 1, 0, -1), (1, 6, 1, 0, 0, 1, 0, -1), (2, 9, 0, 0, 2, 2, 4, 5)]
    alerts = ShownAlerts(*(np.array(column) for column in zip(*columns, strict=True)))
    counts = (row.model_dump() for row in intervention_counts(alerts, (5, 8)))
    rows = {row.pop("intervention"): row for row in counts}
    assert set(rows) == {"nothing", "remind", "suggest", "small_offer", "large_offer"}
    assert rows["large_offer"] == {"fall": 1, "rise": 0, "segment_low": 0, "segment_middle": 0, "segment_high": 1}
    assert rows["nothing"] == {"fall": 1, "rise": 1, "segment_low": 0, "segment_middle": 2, "segment_high": 0}
    assert not any(rows["suggest"].values())
