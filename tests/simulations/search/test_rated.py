"""Ratings of planted people: what a model is told, how private rounds learn of it, and what that comes to."""

import numpy as np
import pytest

from shared.events import Step
from simulations.people.teaching import planted_history
from simulations.scenarios.config import PLANTED_PROTOCOL
from simulations.search import rated


@pytest.fixture(scope="module")
def found():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"USERS": 300, "TEACHERS": 200, "POOLED_EPOCHS": 2}.items():
            patch.setattr(rated, name, value)
        yield rated.rated_aucs(0)


def test_a_rating_tells_of_a_pair_and_is_nothing_where_none_was_given():
    people = planted_history(PLANTED_PROTOCOL, Step.DAY, 5, 200, 3)
    rating, told = np.moveaxis(rated.ratings(people, np.random.Generator(np.random.Philox(1))), -1, 0)
    assert set(np.unique(told)) == {0, 1} and abs(told.mean() - rated.TOLD) < 0.06
    assert (np.abs(rating) <= 1).all() and not rating[told == 0].any()
    often = people.active.mean(axis=-1)
    assert np.corrcoef(rating[told == 1], often[told == 1])[0, 1] > 0.3


def test_every_way_is_judged_and_what_means_nothing_never_helps(found):
    assert tuple(found) == rated.WAYS
    assert all(0.5 < value < 1 for value in found.values())
    assert found["mistaken"] < found["assumed"]


def test_where_ratings_count_nothing_rounds_begin_as_without_them(found):
    """The same weights but for those of the two inputs, which are zero: the AUC can only move by what rounds learn."""
    assert found["rounds"] == pytest.approx(found["none"], abs=0.02)
    assert found["noiseless"] == pytest.approx(found["none"], abs=0.01)
