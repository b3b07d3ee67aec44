"""The rows that loops draw are the ones that every device draws for itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.model.training_rows import draw, draw_words, generator
from simulations.training_step.by_arrays import draws_by_arrays
from simulations.training_step.draws import _at_rank, _philox_words, _pick, draws_in_loops
from tests.world.basics import examples

pytestmark = pytest.mark.filterwarnings(
    "ignore:overflow encountered:RuntimeWarning"
)  # of words, where nothing is compiled
KEYS = st.integers(0, 2**63 - 1)


@examples(60)
@given(
    st.lists(st.tuples(st.integers(0, 90), KEYS), max_size=5),
    st.tuples(st.integers(1, 3), st.integers(1, 40)),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32),
)
def test_the_same_rows_are_drawn_as_by_arrays_and_by_each_device_alone(devices, shape, seed, round_number):
    n_rows, numbers = np.array(devices, np.int64).reshape(-1, 2).T
    found = draws_in_loops(n_rows, numbers, shape, seed, round_number)
    np.testing.assert_array_equal(found, draws_by_arrays(n_rows, numbers, shape, seed, round_number))
    assert found.shape == (len(devices), *shape) and found.dtype == np.int64
    for (n, number), mine in zip(devices, found, strict=True):
        np.testing.assert_array_equal(mine, draw(n, *shape, generator(seed, round_number, number)))


@examples(40)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(1, 9))
def test_words_are_those_of_numpy_s_generator(seed, device, round_number, blocks):
    out = np.empty(4 * blocks, np.uint64)
    _philox_words(np.uint64(seed), np.uint64(device), np.uint64(round_number), out)
    np.testing.assert_array_equal(out, draw_words(out.size, 1, generator(seed, round_number, device))[0])


@examples(60)
@given(
    st.lists(st.sampled_from([0, 1, 2**56 - 1, 2**56, 2**63, 2**64 - 2, 2**64 - 1]), min_size=1, max_size=40), st.data()
)
def test_the_smallest_words_are_picked_also_where_many_are_equal(values, data):
    words, n = np.array(values, np.uint64), data.draw(st.integers(1, len(values)))
    bound = np.uint64(_at_rank(words, n - 1, np.empty(256, np.int64), np.empty(words.size, np.uint64)))
    assert bound == np.sort(words)[n - 1]
    out = np.full(n, -1)
    _pick(words, bound, out)
    assert (np.diff(out) > 0).all() and out[0] >= 0
    np.testing.assert_array_equal(np.sort(words[out]), np.sort(words)[:n])
