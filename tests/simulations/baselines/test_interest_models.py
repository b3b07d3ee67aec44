"""Honest baselines: they learn what is there to learn, the same every time, and a device alone stays alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from shared.features import FeatureSpec
from simulations.baselines import interest_models as baselines
from simulations.baselines.interest_models import (
    BY_ITSELF,
    EBBTIDE,
    KINDS,
    NO_NOISE,
    POOLED_DNN,
    POOLED_LR,
    POOLED_NUMPY,
    RECENCY_FREQUENCY,
    each_on_its_own,
    pooled_baselines,
    rules,
)
from simulations.evaluation.quality import UserBootstrap, auc, interval
from simulations.people.labelled_rows import Rows, history_of, rows_of
from simulations.people.planted import plant
from tests.world.basics import make_plan

PLAN = make_plan(features=FeatureSpec(28, (1, 3, 7, 14), (3, 14)), horizon_steps=7)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Two short networks instead of five, and a forest of fewer rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "DNN_SEEDS", 2)
        patch.setattr(baselines, "DNN_BATCHES", 500)
        patch.setattr(baselines, "FOREST_SAMPLE", 6000)
        yield


@pytest.fixture(scope="module")
def halves() -> tuple[Rows, Rows]:
    """Train and test rows of 120 made-up users, by time."""
    history = history_of(plant(120, 112, seed=3))
    train, test = (rows_of(history, PLAN.features, 7, steps) for steps in ((35, 60), (70, 95)))
    return train, test


@pytest.fixture(scope="module")
def found(halves: tuple[Rows, Rows]) -> dict[str, np.ndarray]:
    return pooled_baselines(*halves, PLAN, seed=0)


def test_every_baseline_beats_chance_and_pooled_models_beat_recency(
    halves: tuple[Rows, Rows], found: dict[str, np.ndarray]
) -> None:
    _, test = halves
    assert set(found) == set(KINDS) - {EBBTIDE, NO_NOISE}
    score = {name: auc(test.y, p) for name, p in found.items()}
    for name, p in found.items():
        assert p.shape == test.y.shape and p.dtype == np.float32
        assert np.isfinite(p).all() and p.min() >= 0 and p.max() <= 1
        assert score[name] > 0.6, name
    assert score["recency"] < score[RECENCY_FREQUENCY] < score[POOLED_LR] + 0.01
    draws = UserBootstrap(test.y, test.user, 0)
    assert interval(draws.aucs(found[POOLED_LR]) - draws.aucs(found["recency"]))[0] > 0
    assert abs(score[POOLED_DNN] - score[POOLED_LR]) < 0.03
    assert abs(score[POOLED_NUMPY] - score[POOLED_LR]) < 0.03


def test_a_rule_has_the_order_of_its_counter(halves: tuple[Rows, Rows], found: dict[str, np.ndarray]) -> None:
    _, test = halves
    recency = test.x[:, PLAN.features.names.index("recency")]
    assert auc(test.y, found["recency"]) == pytest.approx(auc(test.y, -recency), abs=1e-6)


def test_the_same_seed_gives_the_same_p_and_the_pooled_network_depends_on_it(
    halves: tuple[Rows, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "DNN_BATCHES", 100)
    train, test = halves
    few = train.where(np.arange(len(train.y)) % 5 == 0)
    some = test.where(np.arange(len(test.y)) % 20 == 0)
    once, again, other = (pooled_baselines(few, some, PLAN, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(once[name], again[name]) for name in once)
    for name in (POOLED_DNN, POOLED_NUMPY):
        assert not np.array_equal(once[name], other[name])
    assert np.array_equal(once[BY_ITSELF], other[BY_ITSELF])


def test_a_device_on_its_own_learns_from_nobody_else(halves: tuple[Rows, Rows]) -> None:
    train, test = halves
    alone = each_on_its_own(train, test)
    user = int(np.bincount(train.user).argmax())
    mine, later = train.where(train.user == user), test.where(test.user == user)
    np.testing.assert_allclose(each_on_its_own(mine, later), alone[test.user == user], atol=1e-5)


def test_a_device_on_its_own_falls_back_to_its_base_rate() -> None:
    random = np.random.Generator(np.random.Philox(0))
    user = np.repeat([0, 1], 8)
    step = np.zeros(16, np.int64)
    x = random.random((16, 27), dtype=np.float32)
    train = Rows(x, user == 0, user, step, step)  # user 0 always returned, user 1 never, nobody knows user 3
    test = Rows(x[:3], np.array([True, False, True]), np.array([0, 1, 3]), step[:3], step[:3])
    p = each_on_its_own(train, test)
    np.testing.assert_allclose(p, [0.9, 0.1, 0.5], atol=0.03)
    assert p[2] == 0.5


def test_one_class_or_no_rows_give_the_base_rate(halves: tuple[Rows, Rows]) -> None:
    train, test = halves
    always = Rows(train.x, np.ones_like(train.y), train.user, train.step, train.category)
    nothing, some = train.where(np.zeros(len(train.y), bool)), test.where(np.arange(len(test.y)) < 50)
    assert all((p == 1).all() for p in rules(always, some, PLAN).values())
    assert all((p == 0.5).all() for p in pooled_baselines(nothing, some, PLAN, 0).values())
    assert all(p.shape == (0,) for p in pooled_baselines(train.where(train.step < 37), nothing, PLAN, 0).values())
