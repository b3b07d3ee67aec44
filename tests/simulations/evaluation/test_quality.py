"""Intervals come from users drawn again, as by hand; groups and figures say None where there is nothing to say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from shared.features import History
from simulations.evaluation import quality
from simulations.evaluation.quality import (
    BINS,
    UserBootstrap,
    auc,
    average_precision,
    calibration_error,
    groups,
    in_levels,
    interval,
    log_loss,
    metrics_of,
    thirds,
)
from simulations.evaluation.result_tables import Quality
from simulations.people.labelled_rows import Rows
from tests.world.basics import examples


def people(seed: int, users: int = 40, rows: int = 900, signal: float = 1.0) -> tuple[np.ndarray, ...]:
    """y, p and user of rows whose users differ in how often they return; users 0 and 1 have one class only."""
    random = np.random.Generator(np.random.Philox(seed))
    user = random.integers(0, users, rows) * 3  # ids with holes: users without rows
    taste = random.normal(size=3 * users)[user]
    y = random.random(rows) < 1 / (1 + np.exp(-taste))
    y[user == 0], y[user == 3] = True, False
    logit = signal * (taste + y) + random.normal(size=rows)
    return y, (1 / (1 + np.exp(-logit))).astype(np.float32), user


def levels(score: np.ndarray) -> np.ndarray:
    """The level of each score, 0 where all lie in the lowest."""
    order, ends = in_levels(score)
    out = np.empty(len(score), int)
    out[order] = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    return out


def auc_interval(y: np.ndarray, p: np.ndarray, user: np.ndarray, seed: int) -> tuple[float, float] | None:
    return interval(UserBootstrap(y, user, seed).aucs(p))


def ahead(y: np.ndarray, a: np.ndarray, b: np.ndarray, user: np.ndarray) -> tuple[float, float] | None:
    """The interval of AUC(a) - AUC(b) over the same draws."""
    draws = UserBootstrap(y, user, 0)
    return interval(draws.aucs(a) - draws.aucs(b))


def by_hand(y: np.ndarray, p: np.ndarray, user: np.ndarray, draws: UserBootstrap) -> np.ndarray:
    """AUC of every draw, its rows written out as often as their user was drawn."""
    out = []
    for times in draws.times.astype(int):
        rows = np.concatenate([np.tile(np.flatnonzero(user == u), n) for u, n in zip(draws.users, times, strict=True)])
        out.append(roc_auc_score(y[rows], p[rows]))
    return np.array(out)


@pytest.mark.parametrize("digits", [7, 1])
def test_draws_are_those_of_written_out_rows(digits: int) -> None:
    y, p, user = people(0)
    p = p.round(digits)  # one digit: many equal scores
    draws = UserBootstrap(y, user, seed=4, n=12)
    assert (draws.times.sum(axis=1) == len(draws.users)).all()
    np.testing.assert_allclose(draws.aucs(p), by_hand(y, p, user, draws), atol=1e-9)


def test_many_levels_change_an_auc_by_less_than_1e_5() -> None:
    y, p, user = people(1, users=60, rows=30_000)
    draws = UserBootstrap(y, user, seed=0, n=4)
    assert levels(p).max() < quality.BINS < len(np.unique(p))
    np.testing.assert_allclose(draws.aucs(p), by_hand(y, p, user, draws), atol=1e-5)


def test_levels_keep_the_order_and_tell_few_scores_apart() -> None:
    score = np.array([0.3, 0.1, 0.3, 0.9], np.float32)
    level = levels(score)
    assert level[0] == level[2] and level[1] < level[0] < level[3]
    assert (levels(np.empty(0, np.float32)) == 0).all()


def test_intervals_hold_the_auc_and_are_the_same_again() -> None:
    y, p, user = people(2)
    low, high = auc_interval(y, p, user, seed=1)
    assert low < roc_auc_score(y, p) < high
    assert (low, high) == auc_interval(y, p, user, seed=1) != auc_interval(y, p, user, seed=2)


def test_intervals_are_of_users_not_of_rows() -> None:
    y, p, user = people(3, users=12, rows=2000)
    of_users, of_rows = auc_interval(y, p, user, 0), auc_interval(y, p, np.arange(len(y)), 0)
    assert of_users[1] - of_users[0] > 1.5 * (of_rows[1] - of_rows[0])


def test_separable_and_random_scores() -> None:
    y, p, user = people(4, rows=3000)
    assert auc_interval(y, y.astype(np.float32), user, 0) == (1.0, 1.0)
    assert auc_interval(y, 1 - y.astype(np.float32), user, 0) == (0.0, 0.0)
    assert auc_interval(y, np.full(len(y), 0.3, np.float32), user, 0) == (0.5, 0.5)
    chance = np.random.Generator(np.random.Philox(9)).random(len(y))
    low, high = auc_interval(y, chance, user, 0)
    assert low < 0.5 < high
    assert ahead(y, p, chance, user)[0] > 0 > ahead(y, chance, p, user)[1]
    assert ahead(y, p, p, user) == (0, 0)


def test_rows_of_one_class_have_no_interval() -> None:
    user = np.arange(6)
    for y in (np.ones(6, bool), np.zeros(6, bool)):
        assert auc_interval(y, np.linspace(0, 1, 6), user, 0) is None
    assert auc_interval(np.empty(0, bool), np.empty(0), np.empty(0, np.int64), 0) is None
    assert ahead(np.ones(6, bool), user, -user, user) is None
    # two users of one class each: a draw that takes one of them twice is left out
    assert auc_interval(np.array([True, False]), np.array([0.9, 0.1]), np.array([5, 8]), 0) == (1.0, 1.0)
    assert interval(np.array([np.nan, 0.5])) == (0.5, 0.5)


def test_metrics_of_nothing_are_none() -> None:
    none = Quality(rows=0, base_rate=None, auc=None, log_loss=None, calibration_error=None)
    assert metrics_of(np.empty(0, bool), np.empty(0, np.float32)) == none
    one = metrics_of(np.array([True]), np.array([1.0], np.float32))
    assert one.auc is None and one.calibration_error == 0 and one.log_loss == pytest.approx(1e-6, rel=1e-3)
    assert calibration_error(np.array([True, False]), np.array([0.9, 0.9], np.float32)) == pytest.approx(0.4)


def test_thirds_are_equally_large_and_in_order() -> None:
    assert thirds(np.array([5, 1, 9, 1, 7, 2])).tolist() == [1, 0, 2, 0, 2, 1]
    assert thirds(np.zeros(4)).tolist() == [0, 0, 1, 2]
    assert thirds(np.empty(0)).size == 0


def test_groups_are_by_what_came_before_the_training_step() -> None:
    active = np.zeros((6, 3, 10), bool)
    for user in range(6):
        active[user, 0, : user + 1] = True
    active[0, 1, 6:] = True  # user 0 becomes busy after step 5: still light
    history = History(active, active.astype(np.float32), active.astype(np.float32))
    user = np.repeat(np.arange(6), 4)
    category = np.tile([0, 0, 0, 1], 6)
    y = np.tile([True, False], 12)
    rows = Rows(np.zeros((24, 1), np.float32), y, user, np.zeros(24, np.int64), category)
    found = groups(rows, {"ours": y.astype(np.float32), "other": 1 - y}, history, 5)
    assert [row.group for row in found[:3]] == ["light users", "middle users", "heavy users"]
    assert [(row.smallest, row.largest) for row in found[:3]] == [(1, 2), (3, 4), (5, 6)]
    assert all(row.rows == 8 and row.auc == 1 and row.beside == {"other": 0.0} for row in found[:3])
    assert all((row.users, row.low, row.high) == (2, 1.0, 1.0) for row in found[:3]), "users of it with rows"
    assert [row.rows for row in found[3:]] == [0, 6, 18]
    assert [row.users for row in found[3:]] == [0, 6, 6] and (found[3].low, found[3].high) == (None, None)
    assert found[3].auc is None and found[4].auc is None and found[5].base_rate == pytest.approx(2 / 3)


@examples(80)
@given(
    st.integers(0, 2**32), st.integers(1, 400), st.sampled_from([1, 3, 50, 10**6]), st.sampled_from([np.float32, float])
)
def test_figures_are_those_of_scikit_learn(seed, n, n_values, dtype) -> None:
    random = np.random.Generator(np.random.Philox(seed))
    y, p = random.random(n) < random.random(), (random.integers(0, n_values + 1, n) / n_values).astype(dtype)
    both = bool(y.any() and not y.all())
    assert auc(y, p) == (pytest.approx(roc_auc_score(y, p), abs=1e-12) if both else None)
    assert average_precision(y, p) == (pytest.approx(average_precision_score(y, p), abs=1e-12) if y.any() else None)
    given_p = np.clip(p.astype(float), 1e-6, 1 - 1e-6)
    assert log_loss(y, p) == pytest.approx(sklearn_log_loss(y, given_p, labels=[False, True]), abs=1e-12)


@pytest.mark.parametrize("n_values", [1, 7, BINS, 10**6])
@pytest.mark.parametrize("dtype", [np.float32, float])
def test_levels_are_where_the_sorted_cuts_put_each_score(n_values: int, dtype: type) -> None:
    score = (np.random.Generator(np.random.Philox(5)).integers(0, n_values, 9000) / n_values).astype(dtype)
    cuts = np.unique(score)
    if cuts.size > BINS:
        cuts = np.unique(np.quantile(score, np.linspace(0, 1, BINS + 1)[1:-1]))
    assert levels(score).tolist() == np.searchsorted(cuts, score, side="right").tolist()
    assert levels(score[:0]).tolist() == []


def test_draws_are_the_same_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    y, p, user = people(3)
    single = UserBootstrap(y, user, 0).aucs(p)
    monkeypatch.setattr(quality, "EXACT_COUNTS", 0)
    assert UserBootstrap(y, user, 0).aucs(p).tolist() == single.tolist()
