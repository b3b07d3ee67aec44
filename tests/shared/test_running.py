"""Features one step after the other: the same as of the whole history, in room that does not grow."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InputError
from shared.features import Crowd, History, extract
from shared.features.running import Running
from tests.shared.test_features_2 import RICHER, SPECS, histories
from tests.world.basics import counted_history, examples

#: Of both versions; with a kind that is not used, and a group.
FEWER = replace(RICHER, groups=(0, 3), kinds=(0, 4))
ALL_SPECS = [*SPECS, *(replace(spec, more=None) for spec in SPECS), replace(SPECS[1], more=FEWER)]


@pytest.mark.parametrize("leading", [(), (3,)])
@examples(60)
@given(data=st.data(), spec=st.sampled_from(ALL_SPECS))
def test_step_after_step_is_the_whole_history(leading, data, spec):
    history = data.draw(histories(leading, most_steps=80))
    now = Running.start(spec, history.active.shape[:-1])
    every = extract(history, spec, range(history.n_steps))
    for step in range(history.n_steps):
        now = now.then(history.count[..., step], history.amount[..., step], history.kinds[..., step])
        np.testing.assert_allclose(now.rows(), every[..., step, :, :], atol=1e-6)
    np.testing.assert_allclose(Running.of(history, spec).rows(), now.rows(), atol=1e-6)


@examples(60)
@given(histories(), st.sampled_from(ALL_SPECS), st.data())
def test_who_begins_in_between_goes_on_as_who_was_there_from_the_start(history, spec, data):
    now = Running.of(history.until(data.draw(st.integers(-1, history.n_steps - 1))), spec)
    for step in range(now.n_steps, history.n_steps):
        now = now.then(history.count[..., step], history.amount[..., step], history.kinds[..., step])
    np.testing.assert_allclose(now.rows(), extract(history, spec, [history.n_steps - 1])[0], atol=1e-6)


def test_what_is_known_of_others_is_read_as_well():
    history, spec = counted_history(np.random.default_rng(2), (3, 30), 0.4), SPECS[0]
    crowd = Crowd(np.array([1.0, 0.0, -2.0]), np.ones((3, 3)) - np.eye(3))
    np.testing.assert_allclose(Running.of(history, spec).rows(crowd), extract(history, spec, [29], crowd)[0], atol=1e-6)


@pytest.mark.parametrize("spec", ALL_SPECS)
def test_ten_years_take_no_more_room_than_the_longest_window(spec):
    history = counted_history(np.random.default_rng(5), (4, 3000), 0.2)
    whole = Running.of(history, spec)
    assert whole.size_bytes == Running.of(history.until(spec.window_steps - 1), spec).size_bytes
    np.testing.assert_allclose(whole.rows(), extract(history, spec, [2999])[0], atol=1e-6)
    assert repr(whole) == "Running(<raw> n_steps=3000)"


def test_a_step_leaves_what_was_before_it_as_it_was():
    """A write that fails may have to go on from there."""
    history = counted_history(np.random.default_rng(7), (3, 20), 0.5)
    before = Running.of(history, SPECS[0])
    rows = before.rows()
    before.then(np.ones(3), np.ones(3), np.ones((5, 3), np.uint8))
    np.testing.assert_array_equal(before.rows(), rows)


def test_kinds_have_to_be_counted_where_they_are_used():
    ones = np.ones((2, 3), np.float32)
    history = History(ones > 0, ones, ones)
    assert Running.of(history, replace(SPECS[0], more=None)).rows().shape == (2, 27)
    with pytest.raises(InputError, match="counted by kind"):
        Running.of(history, SPECS[0])
