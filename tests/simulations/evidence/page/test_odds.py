"""Epsilon in words is what epsilon says: bounds are bounds of real mechanisms, and rounded so that they stay bounds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from simulations.evidence.page.odds import in_a_thousand, odds_factor, one_in, right_at_most
from tests.world.basics import examples


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
def test_a_randomised_bit_reaches_the_bound_exactly(epsilon):
    """Told truly with odds of e^epsilon to 1, a bit is guessed right just as often as is said."""
    assert right_at_most(epsilon, 0.0) == pytest.approx(math.exp(epsilon) / (1 + math.exp(epsilon)))


@given(shift=st.floats(0.01, 6), epsilon=st.floats(0, 12))
@examples(50)
def test_nobody_bets_better_on_a_gaussian_than_is_said(shift, epsilon):
    """Of noise N(0, 1) or N(shift, 1): the best bettor of all beats no bound at any epsilon, with the delta that belongs to it."""
    delta = norm.cdf(shift / 2 - epsilon / shift) - math.exp(epsilon) * norm.cdf(-shift / 2 - epsilon / shift)
    best = norm.cdf(shift / 2)
    assert best <= right_at_most(epsilon, max(delta, 0.0)) + 1e-9


def test_the_bound_is_reached_at_the_epsilon_of_the_best_bettor():
    """At epsilon 0 delta is the distance of both worlds, so the bound is no larger than it has to be."""
    shift = 0.7
    delta = 2 * norm.cdf(shift / 2) - 1
    assert right_at_most(0.0, delta) == pytest.approx(norm.cdf(shift / 2))


@given(epsilon=st.floats(0, 5000), delta=st.floats(0, 1))
@examples(100)
def test_what_is_printed_is_never_below_the_bound(epsilon, delta):
    share = right_at_most(epsilon, delta)
    assert 0.5 <= share <= 1
    assert share <= in_a_thousand(share) / 1000 + 1e-12 and in_a_thousand(share) <= 1000
    factor = odds_factor(epsilon)
    if factor is None:
        assert epsilon > math.log(1e6)
    else:
        odds = math.exp(epsilon)
        assert odds * (1 - 1e-9) <= factor <= 1.011 * odds + (0.1 if odds < 9.9 else 1)


def test_more_epsilon_or_delta_never_says_less():
    shares = [right_at_most(epsilon, 1e-5) for epsilon in np.linspace(0, 20, 200)]
    assert shares == sorted(shares)
    assert right_at_most(1.0, 1e-5) < right_at_most(1.0, 1e-2)


@pytest.mark.parametrize(("epsilon", "said"), [(0.0, 1), (0.9935, 2.8), (6.331, 562), (3.0, 21), (20.0, None)])
def test_odds_as_they_are_printed(epsilon, said):
    assert odds_factor(epsilon) == said


def test_delta_as_one_in_so_many():
    assert one_in(1e-5) == 100_000
    assert one_in(3e-6) == 333_333
    assert one_in(0.0) is None
