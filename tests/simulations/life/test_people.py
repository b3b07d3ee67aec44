"""Users whose steps close one after the other are read as whole histories are, from whichever step they begin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.detection.bursts import held_by_burst
from shared.errors import InputError
from shared.features import Crowd, History, established, extract, seen
from simulations.life.cells import cells_of
from simulations.life.people import People
from tests.shared.test_features_2 import SPECS
from tests.shared.test_running import ALL_SPECS
from tests.world.basics import examples
from tests.world.lively import lively, make_lively

USERS = 3


@examples(60)
@given(st.data(), st.sampled_from(ALL_SPECS))
def test_steps_are_read_as_whole_histories_are(data, spec):
    """All in one piece, or in several, from whichever step on."""
    history = data.draw(lively(USERS))
    people = People(history, spec, bursts=True)
    step = data.draw(st.integers(0, history.n_steps - 1))
    while step < history.n_steps:
        steps = range(step, step + data.draw(st.integers(1, history.n_steps - step)))
        people.close(steps)
        np.testing.assert_allclose(people.rows(), extract(history, spec, steps), rtol=0, atol=1e-6)
        np.testing.assert_array_equal(people.known(), seen(history, steps))
        np.testing.assert_array_equal(people.held(), held_by_burst(history, spec, steps))
        whole = established(history, steps, window_steps=spec.window_steps, min_active=3, lapse_steps=5)
        np.testing.assert_array_equal(people.watched(3, 5), whole)
        step = steps.stop + data.draw(st.integers(0, 3))


@examples(40)
@given(st.data(), st.sampled_from(ALL_SPECS))
def test_what_comes_later_changes_nothing(data, spec):
    history = data.draw(lively(USERS))
    step = data.draw(st.integers(0, history.n_steps - 1))
    knows, does_not = People(history, spec, bursts=True), People(history.until(step), spec, bursts=True)
    knows.close([step])
    does_not.close([step])
    np.testing.assert_array_equal(knows.rows(), does_not.rows())
    np.testing.assert_array_equal(knows.held(), does_not.held())


def test_what_is_known_of_others_is_read_as_well():
    history, crowd = (
        make_lively(4, (USERS, 4, 40), 0.3),
        Crowd(np.array([1.0, 0.0, -2.0, 0.5]), np.ones((4, 4)) - np.eye(4)),
    )
    people = People(history, SPECS[0])
    people.close([39])
    rows = people.rows(crowd)
    np.testing.assert_allclose(rows, extract(history, SPECS[0], [39], crowd), rtol=0, atol=1e-6)
    assert rows[..., -2:].any()


def test_bursts_hold_some_and_not_for_ever():
    """So that the properties above speak of something."""
    history, spec = make_lively(1, (USERS, 4, 80), 0.3), SPECS[0]
    people = People(history, spec, bursts=True)
    people.close(range(history.n_steps))
    assert 0.1 < np.mean(people.held()) < 0.9


def test_kinds_have_to_be_counted_where_they_are_used():
    ones = np.ones((USERS, 2, 3), np.float32)
    history = History(ones > 0, ones, ones)
    people = People(history, replace(SPECS[0], more=None))
    people.close([2])
    assert people.rows().shape == (USERS, 1, 2, 27)
    with pytest.raises(InputError, match="counted by kind"):
        People(history, SPECS[0])


def test_cells_show_nothing_of_anybody():
    cells, _ = cells_of(make_lively(1, (USERS, 2, 9), 0.5), SPECS[0], bursts=False)
    assert repr(cells) == f"Cells(<raw> n={cells.steps.size - 2 * USERS})"
