"""`ebbtide tune`: folds in time, no look at the future, a file that can be run."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from server.channel import Traffic
from shared.charges import charges_of
from shared.codec import pack_floats
from shared.errors import ConfigError
from shared.events import EventKind
from simulations.cli.search import register
from simulations.federation.in_process import LocalHost
from simulations.federation.run_folder import RunFolder
from simulations.people.of_scenario import population_of
from simulations.people.planted import plant
from simulations.scenarios.config import PLANTED_PROTOCOL, ProtocolSection, Scenario, load_scenario
from simulations.scenarios.grid import parse_values
from simulations.search.noise_calibration import noise_multiplier_for
from simulations.search.trial_federation import TrainingHost
from simulations.search.trials import Trained, Trials, repeated
from simulations.search.tune import Fold, default_grid, folds_of, tune, until_last_label, write_tuned
from tests.world.basics import make_plan

SMALL = (
    "data.users=40",
    "privacy.rounds=3",
    "privacy.sampling_rate=1",
    "privacy.noise_multiplier=0",
    "risk.rounds=0",
    "simulation.dropout=0.0",
    "caps.table=none",
)


def small_scenario(*overrides: str) -> Scenario:
    """The demo with 40 users, three rounds, no noise: the same every time."""
    return load_scenario("demo", (*SMALL, *overrides))


@pytest.fixture(scope="module")
def trials(tmp_path_factory) -> Trials:
    scenario = small_scenario()
    return Trials(population_of(scenario), tmp_path_factory.mktemp("trials"))


def protocol_with(train_steps: tuple[int, int], horizon: int) -> ProtocolSection:
    return PLANTED_PROTOCOL.model_copy(update={"train_steps": train_steps, "horizon_steps": horizon})


@pytest.mark.parametrize(("train_steps", "horizon"), [((12, 30), 4), ((26, 58), 8), ((42, 104), 7), ((0, 3), 1)])
@pytest.mark.parametrize("n_folds", [1, 2, 5])
def test_folds_do_not_overlap(train_steps, horizon, n_folds):
    protocol = protocol_with(train_steps, horizon)
    if train_steps == (0, 3) and n_folds > 2:
        with pytest.raises(ConfigError, match="expected 1 to 2 folds"):
            folds_of(protocol, n_folds)
        return
    folds = folds_of(protocol, n_folds)
    assert len(folds) == n_folds
    assert folds[-1].validation_steps[1] == train_steps[1]
    for fold in folds:
        (first, last), (begin, end) = fold.train_steps, fold.validation_steps
        assert train_steps[0] == first <= last and begin <= end <= train_steps[1]
        trained_on = {s for t in range(first, last + 1) for s in range(t + 1, t + horizon + 1)}
        validated_on = {s for t in range(begin, end + 1) for s in range(t + 1, t + horizon + 1)}
        assert not trained_on & validated_on
        assert max(trained_on) < begin, "labels to train on are known before the first validation step"
        assert max(validated_on) <= protocol.train_at
    blocks = [s for fold in folds for s in range(fold.validation_steps[0], fold.validation_steps[1] + 1)]
    assert len(blocks) == len(set(blocks))


def test_folds_of_complete_journey():
    assert folds_of(protocol_with((12, 30), 4), 2) == [Fold((12, 16), (21, 25)), Fold((12, 21), (26, 30))]


@pytest.mark.parametrize("n_folds", [0, -1, 15])
def test_folds_that_do_not_fit(n_folds):
    with pytest.raises(ConfigError, match=f"expected 1 to 14 folds in 19 train steps.*got {n_folds}"):
        folds_of(protocol_with((12, 30), 4), n_folds)


def test_train_steps_too_few_for_any_fold():
    with pytest.raises(ConfigError, match="expected more than 5 train steps"):
        folds_of(protocol_with((12, 16), 4), 1)


def test_nothing_after_the_last_train_label_is_looked_at(monkeypatch):
    grid = {"training.learning_rate": ("0.1", "0.3")}
    train_end_s = (PLANTED_PROTOCOL.train_at + 1) * 86400

    def perturbed(n_users, n_steps, *, seed):
        people = plant(n_users, n_steps, seed=seed)
        later = people.time_s >= train_end_s
        random = np.random.default_rng(0)
        category = np.where(later, random.integers(0, len(people.catalogue), later.size), people.category)
        paid = np.where(later[people.kind == EventKind.PURCHASE], 99, people.paid).astype(np.float32)
        return replace(people, category=category.astype(np.int16), paid=paid)

    def quality():
        found = tune("demo", grid, overrides=SMALL, folds=2, seeds=1)
        return [(s.values, s.auc, s.log_loss) for s in found.settings]

    as_it_was = quality()
    monkeypatch.setattr("simulations.people.of_scenario.plant", perturbed)
    assert quality() == as_it_was
    train_end_s -= 86400  # the last train label's own step: a change here must show
    assert quality() != as_it_was


def test_cut_at_the_last_label_keeps_everybody_and_everything_before():
    people = plant(40, 182, seed=3)
    cut = until_last_label(people, PLANTED_PROTOCOL)
    assert cut.n_steps == 112 and cut.n_users == 40 and cut.truth is None
    cut.check()
    for user in range(40):
        whole, kept = people.user_events(user), cut.user_events(user)
        before = whole.time_s < 112 * 86400
        assert np.array_equal(whole.time_s[before], kept.time_s)
        assert np.array_equal(whole.category[before], kept.category)


def test_a_trial_trains_as_a_host_does(trials, tmp_path):
    scenario = small_scenario("risk.rounds=1", "risk.noise_multiplier=0")
    run, setup = RunFolder(tmp_path / "run"), trials.setup(scenario)
    run.prepare(setup, trials.population)
    host, plan, protocol = LocalHost(run), setup.plan, setup.protocol
    theta = plan.network.initial_theta(0)
    offer = {"plan": plan.canonical, "theta": pack_floats(theta), "risk": b"", "round": 0, "step": protocol.train_at}
    host.offer(offer)
    cohort = list(range(40))
    request = {"plan_sha256": plan.sha256, "theta": pack_floats(theta), "round": 1, "step": protocol.train_at}
    rows = {
        "train_request": trials._rows_to_train_on(plan, protocol.train_at),
        "risk_request": trials._lapses_to_train_on(plan, plan.risk, protocol.train_at, None),
    }
    ours = TrainingHost(rows, 40, tmp_path)
    assert isinstance(ours.traffic, Traffic)
    basis, coefficients = np.random.default_rng(1).normal(size=(6, 2)).astype(np.float32), np.float32([-1, 0.7])
    request |= {"basis": pack_floats(basis), "coefficients": pack_floats(coefficients)}
    for part in plan.updates:
        total, survivors = ours.collect(cohort, plan, request, part)
        expected, n = host.collect(cohort, plan, request, part)
        assert survivors == n == 40 and total.shape == (part.n_values,)
        assert np.array_equal(total, expected) and total.any()


def test_a_trial_learns_phi_as_the_scenario_says(trials):
    scenario = small_scenario("risk.rounds=3", "risk.noise_multiplier=0", "risk.public_users=60")
    fewer = scenario.model_copy(update={"risk": scenario.risk.model_copy(update={"rounds": 1})})
    trained, again = (trials.train(trials.setup(each)) for each in (scenario, fewer))
    assert trained.risk.shape == (6,) and trained.rounds == 3 and trained.skipped == 0
    np.testing.assert_array_equal(trained.theta, again.theta, err_msg="p is learned first, phi does not touch it")
    assert np.abs(trained.risk - again.risk).max() > 1e-4, "every round of phi's moves it"
    assert trials.train(trials.setup(small_scenario())).risk.size == 0


def test_repetitions_begin_elsewhere(trials):
    scenario = small_scenario()
    thetas = [trials.train(trials.setup(repeated(scenario, r))).theta for r in (0, 0, 1)]
    assert np.array_equal(thetas[0], thetas[1])
    assert not np.array_equal(thetas[0], thetas[2])


def test_the_best_setting_is_written_as_a_valid_scenario(tmp_path):
    told = []
    tuning = tune(
        "demo",
        {"training.learning_rate": ("0.000001", "0.3"), "training.hidden": ("[32, 16]",)},
        overrides=[*SMALL, "privacy.max_epsilon=inf"],
        folds=2,
        seeds=2,
        on_trial=lambda done, total: told.append((done, total)),
    )
    assert told == [(i, 8) for i in range(9)]
    assert tuning.best.values["training.learning_rate"] == "0.3"
    assert tuning.settings[0].auc > tuning.settings[1].auc
    file = tmp_path / "tuned.toml"
    write_tuned(tuning, file)
    text, loaded = file.read_text(), load_scenario(str(file))
    assert "NOT counted in any epsilon" in text
    assert "trained on steps 42 to 61, validated on steps 69 to 86" in text
    assert loaded.name == "demo-tuned" and loaded.protocol == PLANTED_PROTOCOL
    assert loaded.training == small_scenario("training.learning_rate=0.3").training
    assert loaded.privacy == small_scenario().privacy
    assert loaded.model_fields_set == set(Scenario.model_fields), "complete: nothing is left to a default"


@pytest.mark.slow
def test_epsilon_is_held_where_the_grid_would_change_it(monkeypatch):
    monkeypatch.setattr("simulations.search.trials.Trials.train", _no_training)
    overrides = ["data.users=40", "privacy.sampling_rate=0.5", "privacy.noise_multiplier=4", "privacy.rounds=4"]
    tuning = tune("demo", {"privacy.rounds": ("2", "4")}, overrides=overrides, folds=1, seeds=1)
    assert tuning.epsilon_held == pytest.approx(max(s.epsilon for s in tuning.settings), rel=0.02)
    for setting in tuning.settings:
        assert 0.98 * tuning.epsilon_held <= setting.epsilon <= tuning.epsilon_held
    noise = {s.values["privacy.rounds"]: s.scenario.privacy.noise_multiplier for s in tuning.settings}
    assert noise["2"] < noise["4"]


def _no_training(self, setup):
    theta = setup.plan.network.initial_theta(0)
    return Trained(theta, np.empty(0, np.float32), setup.plan.privacy.rounds, 0)


def test_noise_for_an_epsilon_out_of_reach():
    with pytest.raises(ConfigError, match="expected an epsilon that a noise multiplier"):
        noise_multiplier_for(1e-6, charges_of(make_plan()), 1e-5)
    with pytest.raises(ConfigError, match="expected epsilon > 0"):
        noise_multiplier_for(-1.0, charges_of(make_plan()), 1e-5)


def test_default_grid_names_the_six_settings():
    grid = default_grid(load_scenario("demo"))
    assert list(grid) == [
        "training.learning_rate", "privacy.clip_norm", "training.l2", "training.dropout", "privacy.rounds",
        "privacy.sampling_rate",
    ]  # fmt: skip
    assert all(len(values) == 2 for values in grid.values())
    for key, values in grid.items():
        for value in values:
            load_scenario("demo", [f"{key}={value}"])


def test_values_are_split_at_commas_outside_brackets():
    assert parse_values("--grid", ["a.b=1, 2,2", "c.d=[32,16],[64]"]) == {"a.b": ("1", "2"), "c.d": ("[32,16]", "[64]")}


@pytest.mark.parametrize("given", ["a.b", "=1", "a.b=", "a.b=1,,2"])
def test_values_that_cannot_be_read(given):
    with pytest.raises(ConfigError, match="expected --grid"):
        parse_values("--grid", [given])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--grid", "training.learning_speed=1"], "unknown key training.learning_speed; expected one of"),
        (["--grid", "training.learning_rate="], "with no empty value"),
        (["--grid", "data.users=10,20"], "expected --grid to change training, privacy, server"),
        (["--grid", "training.learning_rate=0.1,99"], "learning_rate=99: expected learning_rate in 0..10"),
        (["--grid", "training.rows=8,some"], "training.rows"),
        (["--grid", "privacy.noise_multiplier=1", "--epsilon", "1"], "got both"),
        (["--folds", "99"], "expected 1 to 55 folds in 63 train steps with a horizon of 7, got 99"),
        (["--seeds", "0"], "expected --seeds >= 1, got 0"),
        (["--out", "tuned.json"], "expected --out to end in .toml"),
    ],
)
def test_bad_input_is_a_clear_error(arguments, expected):
    app = typer.Typer()
    register(app)
    sets = [part for each in SMALL for part in ("--set", each)]
    result = CliRunner().invoke(app, ["tune", "demo", *sets, *arguments])
    assert isinstance(result.exception, ConfigError)
    assert expected in str(result.exception)


def test_the_command_says_that_tuning_is_not_counted(tmp_path):
    app = typer.Typer()
    register(app)
    sets = [part for each in SMALL for part in ("--set", each)]
    file = tmp_path / "new" / "tuned.toml"
    arguments = ["tune", "demo", *sets, "--grid", "training.learning_rate=0.1,0.3", "--folds", "1", "--seeds", "1"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(file)])
    assert result.exception is None
    assert re.search(r"NOT\s+counted\s+in\s+any\s+epsilon", result.output)
    assert "0.3" in result.output and str(file.name) in result.output
    load_scenario(str(file))
