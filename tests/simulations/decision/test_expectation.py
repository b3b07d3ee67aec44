"""What is expected of later weeks: as much as before where nothing moves, in wider intervals where something does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.decision.expectation import COUNTS, LEAST_DOUBT, MOST_DOUBT, Drift, drift_of, expected_of
from simulations.decision.weeks import Outcome, Period
from tests.world.basics import examples

EARLIER, LATEST, LATER = Period(10, 10, 29), Period(26, 26, 37), Period(38, 42, 61)
STEPS = np.arange(10, 38)


def drift(watching, above):
    return drift_of(np.asarray(watching, float), np.asarray(above, float), STEPS, (EARLIER, LATEST, LATER))


def lived(seed, rate=0.05):
    random = np.random.Generator(np.random.Philox(seed))
    right, wrong = ((random.random((400, 20)) < rate).astype(float) for _ in range(2))
    return Outcome(right, wrong, (random.random((400, 13)) < rate).astype(float))


def test_where_nothing_moves_as_much_comes_as_came():
    still = drift(np.full(28, 500), np.full(28, 40))
    assert still == Drift(1.0, LEAST_DOUBT, LEAST_DOUBT)
    outcome = lived(1)
    found = expected_of(outcome, EARLIER, LATER, 13, still)
    assert found.mean["right"] == pytest.approx(outcome.right.sum() / 20, rel=0.2)


def test_streams_that_become_fewer_are_taken_to_go_on_so_half_as_fast():
    shrinking = drift(500 * 0.99 ** np.arange(28), 40 * 0.99 ** np.arange(28))
    to_latest, to_later = 0.99 ** (LATEST.middle - EARLIER.middle), 0.99 ** (LATER.middle - LATEST.middle)
    assert shrinking.watched == pytest.approx(to_latest * to_later**0.5, rel=0.01)


@given(st.floats(0.2, 5.0), st.integers(0, 2**32 - 1))
@examples(20)
def test_more_drift_is_more_doubt_within_bounds(growth, seed):
    above = 200 * growth ** (np.arange(28) / 28)
    moved = drift(np.full(28, 500), above)
    assert LEAST_DOUBT <= moved.watched_doubt <= moved.doubt <= MOST_DOUBT
    outcome = lived(seed)
    still, wide = (expected_of(outcome, EARLIER, LATER, 13, Drift(1.0, LEAST_DOUBT, d)) for d in (LEAST_DOUBT, 0.8))
    for name in COUNTS:
        assert still.mean[name] == wide.mean[name]
    assert (wide.drawn["wrong"].std()) > still.drawn["wrong"].std()
