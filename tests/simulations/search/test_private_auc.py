"""A private evaluation of 2,000 devices comes near the clear one; its bins and weights are those that planted people give."""

import pytest
from sklearn.metrics import roc_auc_score

from client.model.recipes import drawn_rows
from shared.register.recipes import SCORE_EDGES_MILLI, SCORE_WEIGHTS_CENTI
from simulations.search.private_auc import CALENDARS, DEVICES, ROWS, SILENT, crowd, errors_of
from simulations.search.score_cells import edges_of, weights_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("calendar", CALENDARS)
def test_it_is_within_a_hundredth_of_the_clear_auc_of_the_same_rows(calendar):
    people = crowd(calendar, seed=11)
    found = errors_of(people)
    privacy = people.query.privacy
    assert (privacy.population, people.query.number("rows"), privacy.delta) == (DEVICES, ROWS, 1e-5)
    assert 0.7 < found.clear < 0.9 and found.rms <= 0.010
    assert abs(found.bins) < 0.003 and abs(found.clip) < 0.005 and 0.002 < found.noise < 0.009
    assert found.coverage >= 0.85  # of 100, where 95 are expected: four standard errors


def test_clear_is_what_scikit_learn_says_of_the_rows_of_who_answers():
    people = crowd("weeks", seed=12, devices=200)
    found = errors_of(people, draws=1)
    numbers = people.answering()
    about = people.seen(numbers)
    _, x, y = drawn_rows(about)
    assert found.clear == roc_auc_score(y, about.score(x)) and 0.8 < len(numbers) / 200 / (1 - SILENT) < 1.2


def test_bins_and_weights_are_made_again():
    crowds = [crowd(calendar, seed=7) for calendar in CALENDARS]
    assert edges_of(crowds) == list(SCORE_EDGES_MILLI)
    assert weights_of(crowds) == [list(row) for row in SCORE_WEIGHTS_CENTI]
