"""Membership inference: right where the answer is known, and near chance on the model that is published."""

import numpy as np
import pytest

from shared.network import NetworkSpec
from simulations.attacks.membership import MODELS, attacked, scores_of
from simulations.audit.membership import judged, losses_of
from simulations.people.labelled_rows import Rows
from simulations.published.attack_evidence import membership_numbers

SMALL = ("data.users=40", "privacy.rounds=4")


def test_an_overfitted_model_tells_who_taught_it_and_ours_does_not():
    bare = attacked("bare", trainings=4, more=("data.users=20", "privacy.rounds=60"))
    planned = attacked("planned", trainings=4, more=SMALL)
    assert np.mean(bare.aucs) > 0.6 and 0.2 < np.mean(planned.aucs) < 0.8
    assert len(bare.aucs) == len(planned.aucs) == 4 and 0 <= planned.found <= 1


def test_scores_are_the_loss_that_others_have_without_a_person_less_one_s_own():
    losses = np.array([[1.0, 4.0], [3.0, 1.0], [5.0, 2.0]])
    held_out = np.array([[False, True], [True, False], [True, True]])
    scores = scores_of(losses, held_out)
    assert scores[0].tolist() == [3.0, -2.0], "the first: (3 + 5) / 2 - 1; the second was held out of itself: 2 - 4"
    assert scores[1, 1] == pytest.approx(3.0 - 1.0)


def test_nobody_to_compare_with_gives_no_score():
    assert np.isnan(scores_of(np.ones((2, 1)), np.array([[False], [False]]))).all()


def test_perfect_scores_find_everybody_and_scores_of_chance_nobody_in_particular():
    held_out = np.tile(np.arange(200) % 2 == 0, (2, 1))
    found = judged(np.where(held_out, 0.0, 1.0) + np.random.default_rng(1).uniform(0, 0.1, held_out.shape), held_out)
    assert found.aucs == (1.0, 1.0) and found.found == 1.0
    by_chance = judged(np.random.default_rng(2).uniform(size=held_out.shape), held_out)
    assert 0.4 < np.mean(by_chance.aucs) < 0.6 and by_chance.found < 0.06


def test_losses_are_means_over_a_user_s_rows():
    network = NetworkSpec(2, (2,))
    rows = Rows(np.zeros((3, 2), np.float32), np.array([True, False, True]), *np.array([[0, 0, 2], [5] * 3, [0] * 3]))
    found = losses_of(network, np.zeros(network.n_parameters, np.float32), rows, 3)
    assert found[[0, 2]] == pytest.approx(np.log(2)) and np.isnan(found[1]), "p is a half"


def test_every_model_is_published(monkeypatch):
    found = type("F", (), {"aucs": (0.5, 0.6), "found": 0.01})
    monkeypatch.setattr("simulations.published.attack_evidence.attacked", lambda key, done: found)
    assert set(membership_numbers()) == {f"attack.member.{key}.{m}" for key in MODELS for m in ("auc", "found")}
