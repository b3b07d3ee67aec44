"""Clip, grid and noise in loops: the integers of `shared.mechanisms`, and its bound on the length of every vector, hostile ones too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError, InputError
from shared.mechanisms import DiscreteGaussian, clip_to_grid, protect
from simulations.training_step.protection import _SUMS, add_noise, onto_grid, protect_in_loops
from tests.promises.test_sensitivity import CLIPS, SIZES, STEPS, adversarial, norm_squared
from tests.world.basics import examples, full, replayed_entropy

HOSTILE = [np.nan, np.inf, -np.inf, 3.4e38, 1e-45, 1e-38, -0.0, 0.0, 1.0]


@examples(60)
@given(st.sampled_from(CLIPS), st.sampled_from(STEPS), st.sampled_from(SIZES), st.integers(0, 2**32))
def test_no_vector_is_longer_than_the_clip_after_rounding(clip_norm, steps, size, seed):
    for vector in adversarial(clip_norm, steps, size, seed):
        grid = onto_grid(vector, clip_norm, steps)
        assert norm_squared(grid) <= steps**2
        np.testing.assert_array_equal(grid, clip_to_grid(vector, clip_norm, steps))


@examples(200)
@given(
    st.one_of(
        st.lists(st.floats(width=64), min_size=1, max_size=40).map(np.array),
        st.lists(st.floats(width=32), min_size=1, max_size=40).map(lambda values: np.array(values, np.float32)),
        st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=200).map(lambda values: np.array(values, np.float32)),
    ),
    st.floats(1e-300, 1e300),
    st.integers(1, 2**31 - 1),
)
def test_nor_is_any_vector_that_hypothesis_finds(vector, clip_norm, steps):
    grid = onto_grid(vector, clip_norm, steps)
    assert norm_squared(grid) <= steps**2
    assert grid.dtype == np.int32 and (np.isfinite(vector).all() or not grid.any())
    assert np.abs(grid.astype(np.int64) - clip_to_grid(vector, clip_norm, steps)).max() <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, _SUMS - 1, _SUMS, _SUMS + 1, 1441])
def test_many_random_vectors_are_given_the_same_integers(dtype, size):
    random = np.random.default_rng(size)
    for _ in range(full(20)):
        vectors = (random.normal(size=(100, size)) * random.choice([1e-3, 1.0, 1e3], size=(100, 1))).astype(dtype)
        clip_norm = float(random.uniform(0.1, 2)) * size**0.5
        np.testing.assert_array_equal(onto_grid(vectors, clip_norm, 4096), clip_to_grid(vectors, clip_norm, 4096))


def test_the_longest_vector_that_a_plan_allows_keeps_to_the_clip():
    """Equal values add up to the largest error of a sum; no integer is more than a step from the reference's."""
    equal = np.full(2**18, 1 / 3)
    for vector in (equal, equal.astype(np.float32), np.linspace(0.1, 1, 2**18)):
        grid = onto_grid(vector, 0.5, 2**30)
        assert int((grid.astype(object) ** 2).sum()) <= 2**60
        assert np.abs(grid - clip_to_grid(vector, 0.5, 2**30)).max() <= 1


def test_one_vector_that_is_not_finite_leaves_the_others_as_they_are():
    vectors = np.random.default_rng(0).normal(size=(2, 6, 30))
    clean = onto_grid(vectors, 0.5, 4096)
    for at, value in enumerate((np.nan, np.inf, -np.inf, 1e308, 5e-324)):
        vectors[1, at, 3] = value
    found = onto_grid(vectors, 0.5, 4096)
    assert not found[1, :3].any()
    np.testing.assert_array_equal(found[0], clean[0])
    np.testing.assert_array_equal(found[1, 5], clean[1, 5])
    np.testing.assert_array_equal(found, clip_to_grid(vectors, 0.5, 4096))


@pytest.mark.parametrize("shape", [(0, 7), (3, 0), (0,)])
def test_no_devices_give_no_rows(shape):
    assert protect_in_loops(np.empty(shape), clip_norm=0.5, steps_per_clip=9, share_sigma=2.0).shape == shape


@pytest.mark.parametrize("how", [{"clip_norm": 0.0}, {"steps_per_clip": 0}, {"share_sigma": -1.0}])
def test_what_clips_nothing_is_refused(how):
    with pytest.raises(ConfigError, match="expected"):
        protect_in_loops(np.ones(3), **{"clip_norm": 0.5, "steps_per_clip": 9, "share_sigma": 2.0, **how})


@examples(40)
@given(
    st.floats(0.0, 500.0),
    st.sampled_from([(3,), (1, 50), (7, 1441), (2, 3, 40)]),
    st.sampled_from([np.float32, np.float64]),
    st.integers(0, 2**32),
)
def test_the_same_entropy_gives_the_same_words(sigma, shape, dtype, seed):
    raw = (np.random.default_rng(seed).normal(size=shape) * 0.05).astype(dtype)
    how = {"clip_norm": 0.5, "steps_per_clip": 4096, "share_sigma": sigma}
    ours, theirs = (way(raw, **how, entropy=replayed_entropy(seed)) for way in (protect_in_loops, protect))
    assert ours.dtype == np.uint32
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("sigma", [0.3, 2.0, 20.7, 368.0])
@pytest.mark.parametrize("second", [b"\x00", b"\x7f", b"\xff"])
def test_words_that_tie_are_told_apart_by_the_same_second_words(sigma, second):
    """Each threshold, and the words beside it."""
    table = DiscreteGaussian(sigma).table
    rest_bits = 33 - table.high.size.bit_length()
    threshold = (np.arange(table.high.size, dtype=np.int64) << rest_bits) + table.high
    words = np.concatenate([threshold + apart for apart in (-1, 0, 1)])
    words = words[(words >= 0) & (words < 2**32)].astype("<u4")

    def crafted(n: int) -> bytes:
        return words.tobytes() if n == 4 * words.size else second * n

    out = np.full(words.size, 5, np.int32)
    add_noise(out, sigma, crafted)
    np.testing.assert_array_equal(out - 5, DiscreteGaussian(sigma).sample((words.size,), crafted))


def test_entropy_of_the_wrong_length_is_refused():
    with pytest.raises(InputError, match="12 bytes of entropy"):
        add_noise(np.zeros(3, np.int32), 2.0, lambda n: bytes(n - 1))


def test_sigma_0_takes_no_entropy():
    def no_entropy(n: int) -> bytes:
        raise AssertionError

    raw = np.ones((2, 3))
    words = protect_in_loops(raw, clip_norm=9.0, steps_per_clip=90, share_sigma=0.0, entropy=no_entropy)
    np.testing.assert_array_equal(words, clip_to_grid(raw, 9.0, 90))
