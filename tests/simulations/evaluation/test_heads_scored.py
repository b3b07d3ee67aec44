"""Heads in the tables: what devices computed, from the run's folder, on rows of lapses and take-offs; its alerts, called again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from client.detection.risk_levels import Direction
from shared.features import History
from simulations.decision.choice import Judged
from simulations.evaluation.alert_quality import lived_steps
from simulations.evaluation.cold.table import OWN, OWN_KNOWN, POPULARITY, POPULARITY_RULE, WITH_POPULARITY
from simulations.evaluation.evaluate import never_bought
from simulations.evaluation.replay import alerts_of, scores_at, with_setting
from simulations.evaluation.turn_quality import LEVEL, PHI, RHO, lapse_quality, rise_quality
from simulations.federation.equivalence import run_hosted, scenario_without_noise, some_people
from simulations.federation.observations import read_notes
from simulations.federation.run_folder import RunFolder
from simulations.people.heads_start import begun
from simulations.people.labelled_rows import history_of
from simulations.people.setup import Setup
from simulations.scenarios.config import PLANTED_PROTOCOL
from simulations.search.trials import Trials
from tests.simulations.federation.test_hosts import HEADS_TOO

NOTHING = np.empty(0, np.float32)
PEOPLE = some_people()


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A hosted run that learned heads: its folder, setup and what its devices would read of every lived step."""
    run = RunFolder(tmp_path_factory.mktemp("heads") / "run")
    settings = run_hosted(run, PEOPLE, scenario_without_noise(*HEADS_TOO))
    setup = replace(run.setup(run.scenario(), PEOPLE), plan=settings.plan)
    history = history_of(PEOPLE, setup.plan.read_features)
    heads = run.heads(setup.plan)
    scores = scores_at(history, setup, run.server.models()[-1], NOTHING, lived_steps(setup.protocol), heads)
    return run, setup, history, scores


def test_called_again_on_everybody_alerts_are_those_of_the_devices(ended):
    run, setup, _, scores = ended
    p, noted = read_notes(run, np.arange(PEOPLE.n_users), len(PEOPLE.catalogue), PEOPLE.n_steps)
    last = int(np.flatnonzero(~np.isnan(p).all(axis=(0, 2)))[-1])
    steps = scores.steps[scores.steps <= last]
    np.testing.assert_allclose(p[:, steps], scores.p[:, : len(steps)], atol=1e-6)
    raised = alerts_of(setup.plan, setup.plan.detection, scores)[:, : len(steps)]
    user, at, direction, category = np.nonzero(raised)
    ours = sorted(zip(user.tolist(), steps[at].tolist(), direction.tolist(), category.tolist(), strict=True))
    theirs = sorted(
        zip(*(column.tolist() for column in (noted.user, noted.step, noted.direction, noted.category)), strict=True)
    )
    assert ours == theirs and {Direction(one[2]) for one in ours} == set(Direction)
    falls = with_setting(setup.plan.detection, "risk", 0.1, falls_only=True)
    assert not alerts_of(setup.plan, falls, scores)[:, :, Direction.RISE].any(), "no line for rises is reached"


def test_both_heads_have_a_row_with_calibration_and_p_is_beside_them(ended):
    _, setup, history, scores = ended
    for quality, ours in ((lapse_quality, PHI), (rise_quality, RHO)):
        found = quality(history, setup, scores, None, 0)
        rows = {row.name: row for row in found.table}
        assert rows[ours].brier is not None and rows[ours].calibration_error is not None
        assert rows[LEVEL].brier is None and rows[ours].auc > 0.5
        assert set(rows[LEVEL].ahead) == {ours}, "others are compared with the head"


def test_of_some_users_are_scores_of_both_heads(ended):
    scores = ended[3]
    some = scores.of_users(np.array([3, 7]))
    np.testing.assert_array_equal(some.takeoff, scores.takeoff[[3, 7]])
    np.testing.assert_array_equal(some.risk, scores.risk[[3, 7]])


def test_a_decision_s_line_is_one_of_the_chance_of_a_lapse(ended):
    run, setup, history, _ = ended
    theta, heads = run.server.models()[-1], run.heads(setup.plan)
    by_heads = Judged.of(history, setup, theta, NOTHING, (), heads)
    by_p = Judged.of(history, setup, theta, NOTHING, ())
    (name,) = by_heads.scores
    assert np.abs(by_heads.scores[name][0] - by_p.scores[name][0]).max() > 0.01


def test_the_run_s_own_setup_starts_heads_where_the_run_did_whoever_would_teach_them_now(ended):
    run, setup, _, _ = ended
    before = begun.cache_info()
    other = run.scenario().model_copy(update={"heads": run.scenario().heads.model_copy(update={"epochs": 3})})
    again = run.setup(other, PEOPLE)
    assert again.heads_start.sha256 == setup.heads_start.sha256 == setup.plan.heads.start_sha256
    assert begun.cache_info() == before, "nobody is taught"


def test_a_trial_counts_heads_and_learns_none(tmp_path):
    trials = Trials(PEOPLE, tmp_path)
    before = begun.cache_info()
    setup = trials.setup(scenario_without_noise(*HEADS_TOO, "privacy.rounds=1", "warm_start.users=0"), PLANTED_PROTOCOL)
    trained = trials.train(setup)
    assert [kind.reply for kind in setup.plan.updates] == ["update", "crowd", "curvature", "head_update"]
    assert trained.rounds == 1 and trained.skipped == 0 and not trained.risk.size
    assert begun.cache_info() == before
    assert Setup.of(scenario_without_noise(), PEOPLE, PLANTED_PROTOCOL).heads_start is None


def test_the_run_s_own_sum_says_what_may_be_bought_for_the_first_time(ended):
    run, setup, history, _ = ended
    found = never_bought(setup, history, run.heads(setup.plan), 0)
    assert {row.name for row in found.table} == {OWN, OWN_KNOWN, POPULARITY, POPULARITY_RULE, WITH_POPULARITY}
    assert found.rows > found.lists > 0 and 0 < found.users <= PEOPLE.n_users
    always = np.ones_like(history.active)
    everything = History(always, always.astype(np.float32), always.astype(np.float32))
    assert never_bought(setup, everything, run.heads(setup.plan), 0) is None, "everybody knows every category"
