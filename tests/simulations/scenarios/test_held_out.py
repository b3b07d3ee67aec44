"""Users held out of training: their rows reach no gradient, everything else about their devices stays as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.app import run
from shared.errors import ConfigError
from simulations.baselines import interest_models as baselines
from simulations.baselines.interest_models import EBBTIDE
from simulations.evaluation import results_file
from simulations.federation.host_training import fresh_entropy, sum_of_updates
from simulations.federation.hosted.counters import Counters
from simulations.federation.hosted.training_rows import TrainingRows, rows_of_host
from simulations.federation.in_process import LocalHost
from simulations.federation.run_folder import RunFolder
from simulations.federation.run_settings import run_settings
from simulations.people.labelled_rows import history_of
from simulations.people.of_scenario import protocol_of
from simulations.people.planted import plant
from simulations.people.setup import Setup
from simulations.run import evaluate_run, simulate
from simulations.scenarios.config import load_scenario
from simulations.scenarios.held_out import expect_hosts, held_out_users
from simulations.search.sweep import sweep
from simulations.search.trials import Trials

N_USERS = 40
QUIET = ["privacy.noise_multiplier=0.0", "privacy.sampling_rate=1.0", "privacy.rounds=2", "risk.rounds=0"]
QUIET += ["simulation.dropout=0.0", "caps.table=none"]


def scenario(*overrides: str, share: float = 0.25):
    hosted = ["simulation.fidelity=hosts", f"data.users={N_USERS}", f"data.held_out_share={share}"]
    return load_scenario("demo", [*QUIET, *hosted, *overrides])


@pytest.fixture(scope="module")
def people():
    return plant(N_USERS, protocol_of(scenario()).n_steps, seed=4)


def with_other_events(people, who):
    """The same people, but what users `who` (K,) did they did in other categories."""
    mine = np.repeat(who, np.diff(people.offsets))
    category = people.category.copy()
    category[mine] = (category[mine] + 1) % len(people.catalogue)
    assert mine.any() and (category != people.category).sum() == mine.sum()
    return replace(people, category=category)


def run_in(folder, people, chosen):
    """Server and host as in a run, in this process; the last model."""
    own, setup = RunFolder(folder), Setup.of(chosen, people)
    own.prepare(setup, people)
    settings = run_settings(setup, own)
    run(LocalHost(own), settings, settings.schedule.clock())
    return own.server.models()[-1]


def test_theta_does_not_move_when_events_of_held_out_users_change(tmp_path, people):
    """On a host of a run, and in a trial."""
    chosen = scenario()
    mask = held_out_users(chosen, N_USERS)
    strangers, others = with_other_events(people, mask), with_other_events(people, ~mask)
    hosted = [run_in(tmp_path / name, each, chosen) for name, each in (("a", people), ("b", strangers), ("c", others))]
    np.testing.assert_array_equal(hosted[0], hosted[1])
    assert np.abs(hosted[0] - hosted[2]).max() > 1e-4, "events of the others do move it"
    tried = [Trials(each, tmp_path / f"trials-{i}") for i, each in enumerate((people, strangers, others))]
    thetas = [trials.train(trials.setup(chosen)).theta for trials in tried]
    np.testing.assert_array_equal(thetas[0], thetas[1])
    np.testing.assert_allclose(thetas[0], hosted[0], rtol=0, atol=1e-6)
    assert np.abs(thetas[0] - thetas[2]).max() > 1e-4
    assert np.abs(thetas[0] - tried[0].train(tried[0].setup(scenario(share=0))).theta).max() > 1e-4


def test_a_held_out_device_gives_zero_plus_noise_as_any_without_rows(tmp_path, people):
    chosen = scenario("privacy.noise_multiplier=2.0", "privacy.steps_per_clip=4096")
    mask = held_out_users(chosen, N_USERS)
    run_in(tmp_path, people, chosen)
    host = RunFolder(tmp_path).host(0)
    plan, rows = host.plan(), rows_of_host(host, Counters(host.counters), host.plan(), "train_request")
    assert (np.diff(rows.offsets)[mask] == 0).all() and (np.diff(rows.offsets)[~mask] > 0).any()
    who = np.flatnonzero(mask)
    arguments = (rows, who, who)
    theta = plan.network.initial_theta(1)
    entropy = fresh_entropy(tmp_path)
    noisy = sum_of_updates(*arguments, plan, theta, 1, entropy).view(np.int32).astype(float)
    assert noisy.std() == pytest.approx(plan.privacy.share_sigma * np.sqrt(len(who)), rel=0.1)
    quiet = replace(plan, privacy=replace(plan.privacy, noise_multiplier=0.0))
    assert not sum_of_updates(*arguments, quiet, theta, 1, entropy).any()


def test_rows_of_the_others_are_what_they_were(tmp_path, people):
    chosen = scenario()
    setup = Setup.of(chosen, people)
    mask = held_out_users(chosen, N_USERS)
    history = history_of(people).until(setup.protocol.train_at)
    for name, held_out in (("all", None), ("some", mask)):
        (tmp_path / name).mkdir()
        TrainingRows.write(tmp_path / name, history, setup.plan, held_out)
    everybody, some = (TrainingRows.load(tmp_path / name) for name in ("all", "some"))
    for user in range(N_USERS):
        mine, kept = (slice(*rows.offsets[user : user + 2]) for rows in (everybody, some))
        if mask[user]:
            assert kept.start == kept.stop < len(everybody.x)
        else:
            np.testing.assert_array_equal(some.x[kept], everybody.x[mine])
            np.testing.assert_array_equal(some.y[kept], everybody.y[mine])


def test_the_mask_follows_from_the_seed_and_lies_in_the_run_folder(tmp_path, people):
    chosen = scenario()
    mask = held_out_users(chosen, N_USERS)
    assert mask.sum() == 10
    np.testing.assert_array_equal(mask, held_out_users(scenario("privacy.rounds=3"), N_USERS))
    assert (mask != held_out_users(scenario("data.seed=2"), N_USERS)).any()
    own = RunFolder(tmp_path / "run")
    own.prepare(Setup.of(chosen, people), people)
    np.testing.assert_array_equal(own.held_out(), mask)
    own.expect_same_run(chosen)
    with pytest.raises(ConfigError, match="began with"):
        own.expect_same_run(scenario(share=0.5))
    own.prepare(Setup.of(scenario(share=0), people), people)
    assert not own.held_out_file.exists() and own.held_out() is None


@pytest.mark.slow
def test_evaluating_a_run_again_reads_the_mask_and_shows_the_table(tmp_path, people, monkeypatch):
    monkeypatch.setattr(baselines, "DNN_BATCHES", 40)
    folder, chosen = tmp_path / "run", scenario()
    run_in(folder, people, chosen)
    results = evaluate_run(folder)
    mask = held_out_users(chosen, N_USERS)
    apart = results.held_out_users
    assert 0 < apart.users <= mask.sum() and apart.baselines[0].name == EBBTIDE
    assert results_file.read(RunFolder(folder).results_file) == results
    assert "never" in RunFolder(folder).report_file.read_text()
    assert (
        f"The same for {apart.users} users whose data no model has learned from"
        in RunFolder(folder).report_file.read_text()
    )
    RunFolder(folder).held_out_file.unlink()
    whole = evaluate_run(folder)
    assert whole.held_out_users is None
    assert whole.interest.rows == results.interest.rows + apart.rows


def test_a_trial_is_scored_on_the_users_who_train(tmp_path, people):
    chosen = scenario()
    trials = Trials(people, tmp_path)
    setup, mask = trials.setup(chosen), trials.held_out(chosen)
    theta = trials.train(setup).theta
    parts = [trials.score(setup.plan, theta, setup.protocol.test_steps, each).auc for each in (None, mask, ~mask)]
    assert len(set(parts)) == 3


@pytest.mark.slow
def test_a_sweep_keeps_results_of_other_masks_apart(tmp_path):
    over = {"data.held_out_share": ("0", "0.25", "0.5")}
    rows = sweep("demo", over, tmp_path, overrides=[*QUIET, f"data.users={N_USERS}"], repeat=1)["rows"]
    assert len({row["auc_mean"] for row in rows}) == len({row["pooled_auc"] for row in rows}) == 3


def test_devices_as_shipped_cannot_be_held_out(tmp_path):
    chosen = load_scenario("demo", ["data.held_out_share=0.2"])
    with pytest.raises(ConfigError, match=r"expected simulation.fidelity hosts .* got devices"):
        expect_hosts(chosen)
    with pytest.raises(ConfigError, match="expected simulation.fidelity hosts"):
        simulate(chosen, tmp_path / "run", lambda phase, done, total: None)
    assert not (tmp_path / "run").exists()
    expect_hosts(load_scenario("demo"))
    expect_hosts(scenario())


@pytest.mark.parametrize(("share", "users"), [(0.01, 40), (0.99, 40)])
def test_somebody_has_to_be_on_either_side(share, users):
    with pytest.raises(ConfigError, match=f"expected data.held_out_share .* got {share:g} of {users} users"):
        held_out_users(scenario(share=share), users)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(ConfigError, match=r"data.held_out_share: .* got"):
        scenario(share=share)
