"""How many devices come: tails against scipy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from shared.attendance import binomial, fewer_than, more_than
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


@pytest.mark.parametrize(("trials", "probability"), [(-1, 0.5), (3, -0.1), (3, 1.1), (3, float("nan"))])
def test_what_is_no_probability_is_refused(trials, probability):
    with pytest.raises(ConfigError, match="expected trials >= 0 and a probability in 0..1"):
        binomial(trials, probability)
