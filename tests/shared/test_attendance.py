"""How many devices come: tails against scipy's, and what plans make of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from shared.attendance import (
    ABANDONED,
    COLLUDING_PERCENT,
    MORE_COLLUDERS,
    binomial,
    fewer_than,
    likely_colluders,
    likely_survivors,
    more_than,
)
from shared.errors import ConfigError
from tests.world.basics import examples


@given(trials=st.integers(0, 5000), probability=st.floats(0, 1))
@examples(100)
def test_tails_are_scipy_s(trials, probability):
    k = np.arange(trials + 1)
    np.testing.assert_allclose(binomial(trials, probability), binom.pmf(k, trials, probability), rtol=1e-9, atol=1e-14)
    below, above = binom.cdf(k - 1, trials, probability), binom.sf(k, trials, probability)
    np.testing.assert_allclose(fewer_than(trials, probability)[:-1], below, rtol=1e-8, atol=1e-14)
    np.testing.assert_allclose(more_than(trials, probability), above, rtol=1e-8, atol=1e-14)
    assert fewer_than(trials, probability)[-1] == pytest.approx(1)


def test_far_tails_keep_their_digits():
    """A tail of 1e-200 is not lost in the rounding of sums near 1."""
    for trials, probability in ((100_000, 0.9), (300, 0.2)):
        k = np.arange(trials + 1)
        for ours, theirs in (
            (fewer_than(trials, probability)[:-1], binom.cdf(k - 1, trials, probability)),
            (more_than(trials, probability), binom.sf(k, trials, probability)),
        ):
            far = (theirs > 1e-200) & (theirs < 1e-3)
            np.testing.assert_allclose(ours[far], theirs[far], rtol=1e-7)


@given(
    population=st.integers(1, 20_000), sampling_rate=st.sampled_from([1.0, 0.5, 0.2, 0.03]), dropout=st.floats(0, 0.9)
)
@examples(60)
def test_survivors_are_the_most_that_nearly_every_round_reaches(population, sampling_rate, dropout):
    answers = binom(population, sampling_rate * (1 - dropout))
    least = likely_survivors(population, sampling_rate, dropout)
    assert 1 <= least <= population
    assert least == 1 or answers.cdf(least - 1) <= ABANDONED * (1 + 1e-9)
    assert answers.cdf(least) > ABANDONED * (1 - 1e-9) or least == population


@given(population=st.integers(1, 20_000), sampling_rate=st.sampled_from([1.0, 0.5, 0.2, 0.03]))
@examples(60)
def test_colluders_are_all_of_them_or_the_most_that_a_sampled_cohort_is_likely_to_hold(population, sampling_rate):
    members = -(-COLLUDING_PERCENT * population // 100)
    most = likely_colluders(population, sampling_rate)
    if sampling_rate == 1:
        assert most == members
        return
    assert binom.sf(most, members, sampling_rate) <= MORE_COLLUDERS * (1 + 1e-9)
    assert most == 0 or binom.sf(most - 1, members, sampling_rate) > MORE_COLLUDERS * (1 - 1e-9)


@pytest.mark.parametrize("rate", [0.0, -0.5, 1.5])
def test_a_rate_that_no_plan_allows_is_refused_in_the_plan_s_words(rate):
    for follows in (lambda: likely_survivors(10, rate, 0.1), lambda: likely_colluders(10, rate)):
        with pytest.raises(ConfigError, match=f"expected sampling_rate in .0, 1., got {rate}"):
            follows()


@pytest.mark.parametrize(("trials", "probability"), [(-1, 0.5), (3, -0.1), (3, 1.1), (3, float("nan"))])
def test_what_is_no_probability_is_refused(trials, probability):
    with pytest.raises(ConfigError, match="expected trials >= 0 and a probability in 0..1"):
        binomial(trials, probability)
