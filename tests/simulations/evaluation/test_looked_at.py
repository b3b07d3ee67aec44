"""Figures on a sample of users: what needs everybody's rows is of the sample, what is counted over all stays everybody's."""

from __future__ import annotations

import numpy as np
import pytest

from client.detection.risk_levels import Direction
from simulations.evaluation import evaluate as evaluation
from simulations.federation.equivalence import run_hosted, scenario_without_noise, some_people
from simulations.federation.observations import read_notes
from simulations.federation.run_folder import RunFolder
from simulations.people import looked_at
from simulations.people.looked_at import LookedAt, users_looked_at
from simulations.people.setup import Setup

SAMPLE = 30


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few people are many."""
    monkeypatch.setattr(looked_at, "LOOKED_AT", SAMPLE)


def test_few_users_are_all_looked_at_and_many_are_sampled_evenly(few: None) -> None:
    people = some_people()
    assert LookedAt.of(people.take(np.arange(SAMPLE)), 1).users.tolist() == list(range(SAMPLE))
    drawn = LookedAt.of(people, 1)
    assert drawn.population.n_users == len(np.unique(drawn.users)) == SAMPLE
    assert drawn.users.tolist() == sorted(drawn.users) == users_looked_at(people.n_users, 1).tolist()
    assert drawn.users.tolist() != users_looked_at(people.n_users, 2).tolist()
    for at, user in enumerate(drawn.users.tolist()):
        assert np.array_equal(drawn.population.user_events(at).time_s, people.user_events(user).time_s)
    often = sum(np.bincount(users_looked_at(50, seed), minlength=50) for seed in range(400))
    assert np.abs(often / 400 - SAMPLE / 50).max() < 6 * np.sqrt(0.24 / 400)


def test_everybody_is_taken_as_it_is() -> None:
    people = some_people()
    assert LookedAt.of(people, 0).population is people


@pytest.mark.usefixtures("few")
def test_a_sample_has_tables_of_its_own_and_counts_are_everybody_s(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, people = RunFolder(tmp_path), some_people()
    scenario = scenario_without_noise("detection.detector=rate", "detection.rate_threshold=0.02")
    run_hosted(run, people, scenario)
    setup, seed = Setup.of(scenario, people), scenario.data.seed
    held_out = np.arange(people.n_users) % 5 == 0
    of_sample = evaluation.evaluate(run, setup, people, held_out=held_out, seed=seed)
    users, everybody = users_looked_at(people.n_users, seed), np.arange(people.n_users)
    monkeypatch.setattr(looked_at, "LOOKED_AT", people.n_users)
    of_all = evaluation.evaluate(run, setup, people, held_out=held_out, seed=seed)

    assert (of_sample.looked_at, of_all.looked_at) == (SAMPLE, people.n_users)
    for name in ("privacy", "refused", "traffic", "bits", "sums", "cheat_bounds", "disk_bytes"):
        assert getattr(of_sample, name) == getattr(of_all, name), name
    assert of_sample.alerts.by_step == of_all.alerts.by_step
    assert of_sample.alerts.interventions == of_all.alerts.interventions

    p, shown = read_notes(run, everybody, len(people.catalogue), people.n_steps)
    falls = shown.of(Direction.FALL, setup.protocol.alert_steps)
    assert 0 < of_sample.alerts.fall.alerts == np.isin(falls.user, users).sum() < len(falls)
    assert of_all.alerts.fall.alerts == len(falls) == sum(of_all.alerts.by_step.fall)
    assert of_sample.answer.ours.contacts == of_sample.alerts.fall.alerts
    assert of_sample.held_out_users.users <= held_out[users].sum() < held_out.sum()

    noted = np.flatnonzero(np.isfinite(p).any(axis=(1, 2)))
    assert noted.tolist() == users.tolist(), "hosts note p of those who are looked at, and of nobody else"
    assert of_sample.interest.rows_without_score < of_all.interest.rows_without_score
    assert of_all.interest.rows == of_sample.interest.rows > 0
    assert of_sample.interest.auc == of_all.interest.auc


def test_a_run_says_what_it_takes_on_the_disk(tmp_path) -> None:
    run, people = RunFolder(tmp_path), some_people()
    assert run.disk_bytes() == 0
    people.save(run.population)
    kept = run.disk_bytes()
    assert kept == sum(file.stat().st_size for file in run.population.iterdir()) > people.time_s.nbytes
    run.device(3).mkdir(parents=True)
    (run.device(3) / "vault").write_bytes(bytes(77))
    run.results_file.write_bytes(bytes(5))
    assert run.disk_bytes() == kept + 77
