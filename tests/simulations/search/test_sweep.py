"""`ebbtide sweep`: cached, resumable, honest about epsilon and skipped rounds."""

from __future__ import annotations

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from server.privacy.accounting import epsilon_to_public
from shared.charges import charges_of
from shared.codec import pack_floats
from shared.errors import BudgetError, ConfigError
from simulations.baselines import interest_models as baselines
from simulations.baselines.interest_models import GAP_BASELINES, POOLED_DNN
from simulations.cli.search import register
from simulations.federation.checks import check_scenario, check_training_budget
from simulations.federation.hosted.training_rows import TrainingRows
from simulations.federation.run_folder import RESULTS_FILE, RunFolder
from simulations.people.labelled_rows import history_of
from simulations.people.planted import plant
from simulations.people.setup import Setup
from simulations.scenarios.config import load_scenario
from simulations.search.noise_calibration import noise_multiplier_for
from simulations.search.sweep import CACHE, FIGURE_FILE, NOISE, draw, population_sha256, sweep
from simulations.search.trial_federation import TrainingHost
from simulations.search.trials import Trials, with_noise_for
from tests.world.basics import make_plan

SMALL = (
    "data.users=40",
    "privacy.rounds=3",
    "privacy.sampling_rate=1",
    "privacy.noise_multiplier=0",
    "risk.rounds=0",
    "simulation.dropout=0.0",
)


@pytest.fixture(autouse=True)
def short_pooled_training(monkeypatch):
    """What the pooled network is worth is tested where it is made."""
    monkeypatch.setattr("simulations.baselines.interest_models.DNN_BATCHES", 20)


class Trainings:
    """Counts trainings, and can break off before one."""

    def __init__(self, monkeypatch, stop_after: int | None = None) -> None:
        self.count, self.stop_after = 0, stop_after
        train = Trials.train

        def counted(trials, *arguments, **named):
            if self.count == self.stop_after:
                raise KeyboardInterrupt
            self.count += 1
            return train(trials, *arguments, **named)

        monkeypatch.setattr(Trials, "train", counted)


def test_what_was_run_is_not_run_again(tmp_path, monkeypatch):
    over = {"training.rows": ("8", "64"), "data.users": ("30", "40")}
    trainings = Trainings(monkeypatch)
    first = sweep("demo", over, tmp_path, overrides=SMALL, repeat=2)
    assert trainings.count == 8
    assert [row["values"] for row in first["rows"]] == [
        {"training.rows": rows, "data.users": users} for rows in ("8", "64") for users in ("30", "40")
    ]
    assert json.loads((tmp_path / RESULTS_FILE).read_text()) == first
    assert (tmp_path / FIGURE_FILE).read_text().startswith("<?xml")
    pooled = {row["values"]["data.users"]: row["pooled_auc"] for row in first["rows"]}
    assert pooled["30"] != pooled["40"]
    for row in first["rows"]:
        assert set(row["pooled"]) == set(GAP_BASELINES) and row["pooled_auc"] == max(row["pooled"].values())
        assert row["gap_mean"] == row["pooled_auc"] - row["auc_mean"]
        assert 0.5 < row["auc_mean"] < 1 and row["epsilon_to_public"] is None and row["skipped_mean"] == 0

    monkeypatch.setattr("simulations.search.sweep.gap_baselines", None)
    assert sweep("demo", over, tmp_path, overrides=SMALL, repeat=2) == first
    sweep(
        "demo",
        over,
        tmp_path,
        overrides=[*SMALL, "detection.detector=rate", 'about="other words"'],
        repeat=2,
        overwrite=True,
    )
    assert trainings.count == 8, "a run does not depend on these"
    sweep("demo", {"training.rows": ("8",)}, tmp_path, overrides=SMALL, repeat=3, overwrite=True)
    assert trainings.count == 9, "one more repetition"
    sweep(
        "demo", {"training.rows": ("8",)}, tmp_path, overrides=[*SMALL, "training.l2=0.001"], repeat=1, overwrite=True
    )
    assert trainings.count == 10, "another scenario"


def test_pooled_models_are_the_ones_that_every_gap_is_measured_to(tmp_path, monkeypatch):
    asked = []

    def knowing(train, test, plan, seed):
        asked.append((len(train.y), len(test.y), plan.network.hidden, seed))
        found = baselines.gap_baselines(train, test, plan, seed)
        return {**found, POOLED_DNN: test.y.astype(np.float32)}  # it knows everything

    monkeypatch.setattr("simulations.search.sweep.gap_baselines", knowing)
    over = {"training.hidden": ("[32, 16]", "[8, 4]")}
    results = sweep("demo", over, tmp_path, overrides=[*SMALL, "data.held_out_share=0.25"], repeat=1)
    for row in results["rows"]:
        assert row["pooled_auc"] == 1 and row["gap_mean"] == 1 - row["auc_mean"]
    assert [each[2:] for each in asked] == [((32, 16), 1), ((8, 4), 1)], "a network for each, under the data's seed"
    sweep("demo", {"training.rows": ("8", "64")}, tmp_path, overrides=SMALL, repeat=1, overwrite=True)
    assert len(asked) == 3, "what a pooled model does not depend on does not train another"
    assert all(few < many for few, many in zip(asked[0][:2], asked[2][:2], strict=True)), "held out of both"


def test_another_format_of_the_cache_knows_nothing_of_the_old_one(tmp_path, monkeypatch):
    searched = []

    def search(setup, epsilon):
        searched.append(epsilon)
        return with_noise_for(setup, epsilon)

    trainings = Trainings(monkeypatch)
    monkeypatch.setattr("simulations.search.sweep.with_noise_for", search)
    over = {"epsilon": ("2",)}
    for version, n_runs in ((1, 1), (1, 1), (2, 2)):
        monkeypatch.setattr("simulations.search.sweep.CACHE_FORMAT", version)
        sweep("demo", over, tmp_path, overrides=[*SMALL, "privacy.sampling_rate=0.5"], repeat=1)
        assert trainings.count == len(searched) == n_runs


def test_fresh_throws_results_away(tmp_path, monkeypatch):
    trainings = Trainings(monkeypatch)
    for fresh in (False, False, True):
        sweep("demo", {"dropout": ("0",)}, tmp_path, overrides=SMALL, repeat=1, fresh=fresh)
    assert trainings.count == 2


def test_an_interrupted_sweep_goes_on(tmp_path, monkeypatch):
    over = {"training.rows": ("8", "16", "64")}
    with monkeypatch.context() as patch:
        broken = Trainings(patch, stop_after=2)
        with pytest.raises(KeyboardInterrupt):
            sweep("demo", over, tmp_path, overrides=SMALL, repeat=1)
        assert broken.count == 2
    assert not (tmp_path / RESULTS_FILE).exists()
    damaged = next(f for f in (tmp_path / CACHE).glob("*.json") if '"repetition"' in f.read_text())
    damaged.write_text(damaged.read_text()[:50])
    goes_on = Trainings(monkeypatch)
    told = []
    results = sweep(
        "demo", over, tmp_path, overrides=SMALL, repeat=1, on_trial=lambda done, total: told.append((done, total))
    )
    assert goes_on.count == 2, "the third, and the damaged one"
    assert len(results["rows"]) == 3 and told == [(i, 3) for i in range(4)]


@pytest.mark.parametrize(("epsilon", "rounds", "rate"), [(1.0, 12, 1.0), (0.5, 60, 0.1), (4.0, 10, 0.5)])
def test_noise_reaches_its_epsilon_to_two_percent(epsilon, rounds, rate):
    privacy = {"rounds": rounds, "sampling_rate": rate, "population": 1000, "min_survivors": 50}
    noise = noise_multiplier_for(epsilon, charges_of(make_plan(privacy=privacy)), 1e-5)
    found = make_plan(privacy={**privacy, "noise_multiplier": noise, "steps_per_clip": 1024})
    assert 0.98 * epsilon <= epsilon_to_public(charges_of(found), 1e-5) <= epsilon


def test_a_sweep_over_epsilon(tmp_path):
    over = {"epsilon": ("1", "2")}
    results = sweep("demo", over, tmp_path, overrides=[*SMALL, "privacy.sampling_rate=0.5"], repeat=1)
    for row, target in zip(results["rows"], (1, 2), strict=True):
        assert 0.98 * target <= row["epsilon_to_public"] <= target
        assert row["rounds"] == 3
    assert results["rows"][0]["noise_multiplier"] > results["rows"][1]["noise_multiplier"]


def test_a_share_of_each_cohort_stays_silent_in_a_trial(tmp_path):
    people, members = plant(40, 182, seed=2), list(range(0, 40, 2))
    setup = Setup.of(load_scenario("demo", SMALL), people)
    TrainingRows.write(tmp_path, history_of(people).until(setup.protocol.train_at), setup.plan)
    rows, kind = {"train_request": TrainingRows.load(tmp_path)}, setup.plan.updates[0]
    request = {"round": 1, "theta": pack_floats(setup.plan.network.initial_theta(0))}
    host = TrainingHost(rows, 40, tmp_path, dropout=0.3)
    counts = [host.collect(members, setup.plan, request, kind)[1] for _ in range(200)]
    assert len(set(counts)) > 1 and abs(np.mean(counts) - 14) < 6 * np.sqrt(20 * 0.3 * 0.7 / 200)
    assert TrainingHost(rows, 40, tmp_path).collect(members, setup.plan, request, kind)[1] == 20


def test_rounds_with_too_few_survivors_are_skipped_and_told(tmp_path):
    over = {"dropout": ("0", "0.9")}
    results = sweep("demo", over, tmp_path, overrides=[*SMALL, "privacy.min_survivors=32"], repeat=1)
    assert [row["skipped_mean"] for row in results["rows"]] == [0, 3]
    assert results["rows"][1]["rounds"] == 3, "a skipped round is paid for"


def test_a_change_of_any_event_changes_the_key():
    people = plant(20, 60, seed=1)
    assert population_sha256(people) == population_sha256(plant(20, 60, seed=1))
    paid = people.paid.copy()
    paid[7] += 1
    changed = type(people)(**{**vars(people), "paid": paid})
    assert population_sha256(changed) != population_sha256(people)


def row(values, epsilon, auc, pooled=0.8):
    return {"values": values, "epsilon_to_public": epsilon, "auc_mean": auc, "auc_sd": 0.01, "pooled_auc": pooled}


def drawn(folder, over, rows, simulated=False):
    """The figure's text, twice the same."""
    results = {"scenario": "demo", "simulated": simulated, "over": over, "rows": rows}
    texts = []
    for name in ("a.svg", "b.svg"):
        draw(results, folder / name)
        texts.append((folder / name).read_text())
    assert texts[0] == texts[1]
    return texts[0]


def test_the_figure_has_the_pooled_line_and_every_key(tmp_path):
    over = {"epsilon": ["1", "2"], "dropout": ["0", "0.1"]}
    rows = [row({"epsilon": e, "dropout": d}, float(e), 0.7) for e in ("1", "2") for d in ("0", "0.1")]
    text = drawn(tmp_path, over, rows, simulated=True)
    for part in ("SIMULATED", "pooled model", "epsilon to who sees the models", "dropout 0.1"):
        assert part in text


def test_the_figure_of_epsilon_alone(tmp_path):
    rows = [row({NOISE: noise}, epsilon, 0.7) for noise, epsilon in (("0", None), ("2", 1.5), ("4", 0.5))]
    text = drawn(tmp_path, {NOISE: ["0", "2", "4"]}, rows)
    assert "no noise" in text and "1.5" in text and "pooled" in text


def test_the_figure_of_words_and_of_people(tmp_path):
    words = {"training.hidden": ["[32, 16]", "[8, 4]"]}
    assert "[8, 4]" in drawn(
        tmp_path, words, [row({"training.hidden": v}, None, 0.7) for v in words["training.hidden"]]
    )
    users = {"data.users": ["10", "20"]}
    rows = [row({"data.users": v}, None, 0.7, pooled=0.8 + int(v) / 1000) for v in users["data.users"]]
    assert "data.users" in drawn(tmp_path, users, rows)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "expected --over KEY=VALUE,VALUE at least once"),
        (["--over", "epsilon"], "expected --over KEY=VALUE,VALUE, got 'epsilon'"),
        (["--over", "epsilon=1,much"], "expected numbers for epsilon, got 'much'"),
        (["--over", "epsilon=0"], "expected epsilon > 0, got 0"),
        (["--over", "dropout=1"], "expected dropout in [0, 1), got 1"),
        (["--over", "cohort=1"], "expected --over to name epsilon, dropout or a scenario key"),
        (["--over", "privacy.noise=1"], "unknown key privacy.noise; expected one of"),
        (["--over", "epsilon=1", "--over", "privacy.noise_multiplier=1"], "got both"),
        (["--over", "epsilon=1", "--over", "epsilon=2"], "once, got it twice"),
        (["--over", "privacy.clip_norm=0.1,-1"], "privacy.clip_norm=-1: expected clip_norm > 0"),
        (["--over", "dropout=0", "--repeat", "0"], "expected --repeat >= 1, got 0"),
    ],
)
def test_bad_input_is_a_clear_error(tmp_path, arguments, expected):
    result = invoke(tmp_path, *arguments)
    assert isinstance(result.exception, ConfigError)
    assert expected in str(result.exception)


def test_the_command_prints_a_table(tmp_path):
    result = invoke(tmp_path, "--over", "dropout=0,0.1", "--repeat", "2")
    assert result.exception is None
    assert "SIMULATED" in result.output and "sweep.svg" in result.output and "infinite" in result.output


def invoke(folder, *arguments):
    app = typer.Typer()
    register(app)
    sets = [part for each in SMALL for part in ("--set", each)]
    return CliRunner().invoke(app, ["sweep", "demo", *sets, "--out", str(folder), *arguments])


def test_results_of_something_else_are_not_replaced_unasked(tmp_path):
    """A sweep's of other values, a run's, or a folder that another process works in: refused before anything is trained."""
    over = {"training.rows": ("8",)}
    (tmp_path / RESULTS_FILE).write_text('{"scenario": "demo", "over": {"training.rows": ["64"]}, "set": []}')
    with pytest.raises(ConfigError, match="--overwrite replaces them"):
        sweep("demo", over, tmp_path, overrides=SMALL)
    assert "64" in (tmp_path / RESULTS_FILE).read_text()
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.scenario_file.write_text("{}")
    with pytest.raises(ConfigError, match="got that of a run"):
        sweep("demo", over, run.path, overrides=SMALL, overwrite=True)


def test_bits_cost_a_sweep_nothing_before_it_begins_either():
    scenario = load_scenario("demo", ["privacy.max_epsilon=50.0", "bits.every_steps=1", "bits.epsilon=5.0"])
    with pytest.raises(BudgetError, match="coin|bit"):
        check_scenario(scenario)
    check_training_budget(scenario)
