"""A bound on epsilon is wrong no more often than it says: on mechanisms whose epsilon is known, and on scores that say nothing."""

import math

import numpy as np
import pytest
from scipy import stats

from shared.errors import InputError
from shared.rdp import gaussian_epsilon
from simulations.audit.bounds import (
    above,
    epsilon_at_least,
    epsilon_of_counts,
    one_run_chance,
    one_run_epsilon,
    rounds_chance,
)
from simulations.audit.canaries import guessed, right_guesses
from tests.world.basics import full

#: Of so many audits at this confidence, as many as `ALLOWED` may be wrong by chance (one in 10,000 tests has more).
AUDITS, CONFIDENCE = full(100), 0.9
ALLOWED = int(stats.binom.isf(1e-4, AUDITS, 1 - CONFIDENCE))


@pytest.mark.parametrize("mu", [0.3, 1.0, 4.0])
def test_the_bound_holds_for_gaussians_whose_epsilon_is_known(mu):
    random = np.random.default_rng(5)
    at = np.linspace(-2, mu + 4, 2000)
    truth = np.max(np.log(stats.norm.sf(at - mu) / stats.norm.sf(at)))
    pairs = ((random.normal(mu, 1, 400), random.normal(0, 1, 400)) for _ in range(AUDITS))
    found = [epsilon_at_least(*pair, 0.0, CONFIDENCE) for pair in pairs]
    assert sum(one > truth for one in found) <= ALLOWED and max(found) > 0


def test_the_bound_of_what_cannot_be_told_is_nothing_and_of_what_can_it_grows_with_the_trials():
    same = np.zeros(1000)
    assert epsilon_at_least(same, same, 0.0) == 0.0
    few, many = (epsilon_at_least(np.ones(n), np.zeros(n), 0.0) for n in (100, 10_000))
    assert 1 < few < many and many == pytest.approx(math.log(5000 / 7.6), abs=0.05)
    assert epsilon_at_least(np.ones(100), np.zeros(100), 1.0) == 0.0, "delta 1 promises nothing"


@pytest.mark.parametrize("mu", [0.0, 0.5, 2.0])
def test_of_thresholds_that_were_fixed_before_the_best_bound_holds(mu):
    random, thresholds, delta = np.random.default_rng(6), np.linspace(-1, 4, 12), 1e-3
    found = []
    for _ in range(AUDITS):
        right, wrong = (above(random.normal(centre, 1, 2000), thresholds) for centre in (mu, 0.0))
        found.append(float(epsilon_of_counts(right, wrong, 2000, delta, CONFIDENCE)))
    truth = gaussian_epsilon(mu, delta) if mu else 0.0
    assert sum(one > truth for one in found) <= ALLOWED and (mu == 0 or max(found) > 0.2 * truth)


def test_counts_give_what_their_scores_give_and_many_audits_are_judged_at_once():
    thresholds = np.array([0.5, 1.5])
    assert above(np.array([0.0, 1.0, 1.5, 2.0]), thresholds).tolist() == [3, 1], "on the line is not above it"
    right, wrong = np.array([[90, 50], [9, 5]]), np.array([[10, 1], [9, 5]])
    both = epsilon_of_counts(right, wrong, 100, 0.0)
    assert both[0] == epsilon_of_counts(right[0], wrong[0], 100, 0.0) > 0 == both[1]
    assert both[0] < math.log(50), "less than the rates themselves say"
    assert epsilon_of_counts(np.array([0]), np.array([100]), 100, 0.0) == 0.0


# ---- one run


@pytest.mark.parametrize(
    ("canaries", "guesses", "right", "delta", "epsilon"),
    [(1000, 100, 75, 1e-4, 0.673), (100_000, 1510, 1439, 1e-5, 2.675)],
)
def test_one_run_gives_the_numbers_of_its_source(canaries, guesses, right, delta, epsilon):
    """Steinke, Nasr and Jagielski 2023, appendix D (page 46) and section 7 (page 28), at 95 %."""
    assert one_run_epsilon([right], canaries, guesses, delta, 0.95) == pytest.approx(epsilon, abs=1e-3)


def test_without_delta_it_is_the_binomial_tail_and_delta_makes_it_likelier():
    assert one_run_chance(100, 100, 75, math.log(3), 0.0) == pytest.approx(stats.binom.sf(74, 100, 0.75))
    assert one_run_chance(100, 100, 75, 0.0, 1e-4) > one_run_chance(100, 100, 75, 0.0, 0.0)
    assert one_run_chance(100, 10, 0, 0.0, 0.1) == 1.0
    for wrong in ((10, 11, 5), (10, 5, 6), (10, 5, -1)):
        with pytest.raises(InputError, match="right <= guesses <= canaries"):
            one_run_chance(*wrong, 0.0, 0.0)


def test_rounds_add_up_and_one_is_itself():
    assert rounds_chance([60], 500, 100, 0.1, 1e-5) == pytest.approx(one_run_chance(500, 100, 60, 0.1, 1e-5))
    one, many = (one_run_epsilon([65] * n, 500, 100, 1e-5) for n in (1, 12))
    assert one < many < math.log(65 / 35)


@pytest.mark.parametrize("rounds", [1, 5])
def test_scores_that_say_nothing_give_a_bound_above_nothing_no_more_often_than_stated(rounds):
    random, shape = np.random.default_rng(7), (rounds, 300)
    found = []
    for _ in range(AUDITS):
        right = right_guesses(random.normal(size=shape), random.random(shape) < 0.5)
        found.append(one_run_epsilon(right, 300, 2 * guessed(300), 1e-5, CONFIDENCE))
    assert sum(one > 0 for one in found) <= ALLOWED


@pytest.mark.parametrize("sigma", [0.4, 2.0])
def test_canaries_behind_gaussian_noise_show_no_more_than_its_epsilon_and_too_little_noise_shows_more(sigma):
    random, shape, delta = np.random.default_rng(8), (4, 600), 1e-5

    def bound(noise: float) -> float:
        inside = random.random(shape) < 0.5
        right = right_guesses(inside + noise * random.normal(size=shape), inside)
        return one_run_epsilon(right, 600, 2 * guessed(600), delta, CONFIDENCE)

    truth = gaussian_epsilon(1 / sigma, delta)
    assert sum(bound(sigma) > truth for _ in range(AUDITS // 4)) == 0, "far below, as guesses are in the middle, too"
    assert sigma < 1 or bound(sigma / 8) > truth
