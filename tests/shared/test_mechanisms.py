"""Clip and grid: what they do to ordinary vectors. The worst cases are in tests/privacy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError, InputError
from shared.mechanisms import DiscreteGaussian, clip_to_grid, from_grid, protect
from shared.plan import MAX_SHARE_SIGMA
from tests.world.basics import replayed_entropy

STEPS = 4096


@given(st.integers(0, 2**32), st.floats(0.01, 100), st.floats(1e-3, 0.999))
def test_a_vector_inside_the_clip_keeps_its_value_to_one_grid_step(seed, clip_norm, share):
    delta = np.random.default_rng(seed).normal(size=40)
    delta *= share * clip_norm / np.linalg.norm(delta)
    grid_step = clip_norm / STEPS
    error = clip_to_grid(delta, clip_norm, STEPS) * grid_step - delta
    assert np.abs(error).max() <= grid_step * (1 + 1e-6)


@given(st.integers(0, 2**32), st.floats(1.001, 1e6))
def test_a_vector_outside_the_clip_keeps_its_direction_at_the_clip_s_length(seed, share):
    delta = np.random.default_rng(seed).normal(size=40)
    delta /= np.linalg.norm(delta)
    grid = clip_to_grid(share * delta * 0.5, 0.5, STEPS)
    np.testing.assert_allclose(grid / STEPS, delta, atol=1 / STEPS + 1e-9)


@given(st.integers(0, 2**32))
def test_rounding_is_towards_zero(seed):
    delta = np.random.default_rng(seed).normal(size=40) * 0.01
    grid = clip_to_grid(delta, 1.0, STEPS)
    assert (np.abs(grid) <= np.abs(delta) * STEPS).all()
    assert (np.sign(grid) * np.sign(delta) >= 0).all()


def test_many_devices_at_once_are_each_device_alone():
    random = np.random.default_rng(0)
    deltas = random.normal(size=(2, 5, 30)) * random.choice([1e-6, 1.0, 1e200], size=(2, 5, 1))
    deltas[0, 1, 3], deltas[1, 2, 4] = np.nan, np.inf
    together = clip_to_grid(deltas, 0.5, STEPS)
    assert together.shape == deltas.shape and together.dtype == np.int32
    for k in np.ndindex(2, 5):
        np.testing.assert_array_equal(together[k], clip_to_grid(deltas[k], 0.5, STEPS))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "delta",
    [np.zeros(5), np.array([1.0, np.nan, 2]), np.array([np.inf, 0]), np.array([-np.inf, np.inf]), np.full(3, np.nan)],
)
def test_nothing_and_not_finite_become_the_null_contribution_in_silence(delta):
    assert not clip_to_grid(delta, 0.5, STEPS).any()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1.7e308, 1e200, 1e-200, 5e-324])
def test_extreme_but_finite_vectors_neither_overflow_nor_vanish_wrongly(scale):
    grid = clip_to_grid(np.array([scale, -scale, scale, -scale]), 0.5, STEPS)
    expected = STEPS // 2 - 1 if scale > 1 else 0
    np.testing.assert_array_equal(grid, expected * np.array([1, -1, 1, -1]))


def test_no_devices_give_no_rows():
    assert clip_to_grid(np.empty((0, 7)), 0.5, STEPS).shape == (0, 7)
    assert clip_to_grid(np.empty((3, 0)), 0.5, STEPS).shape == (3, 0)


@pytest.mark.parametrize("clip_norm", [0.0, -1.0, np.nan, np.inf])
def test_a_clip_that_clips_nothing_is_refused(clip_norm):
    with pytest.raises(ConfigError, match="clip_norm > 0"):
        clip_to_grid(np.ones(3), clip_norm, STEPS)


@given(st.lists(st.lists(st.integers(-(2**20), 2**20), min_size=3, max_size=3), min_size=1, max_size=20))
def test_sums_modulo_2_to_the_32_come_back_signed(rows):
    vectors = np.array(rows, np.int64)
    words = (vectors & 0xFFFFFFFF).astype(np.uint32)
    np.testing.assert_array_equal(from_grid(words.sum(axis=0, dtype=np.uint32), 0.25), vectors.sum(axis=0) * 0.25)


def test_protect_is_grid_plus_noise_modulo_2_to_the_32():
    delta = np.random.default_rng(1).normal(size=(3, 50)) * 0.01
    grid = clip_to_grid(delta, 0.5, STEPS)
    noise = DiscreteGaussian(20.0).sample((3, 50), replayed_entropy("x"))
    words = protect(delta, clip_norm=0.5, steps_per_clip=STEPS, share_sigma=20.0, entropy=replayed_entropy("x"))
    assert words.dtype == np.uint32
    np.testing.assert_array_equal(words.view(np.int32), grid + noise)


@pytest.mark.parametrize("sigma", [-1.0, np.nan, np.inf, MAX_SHARE_SIGMA * 1.01])
def test_a_sigma_without_a_table_is_refused(sigma):
    with pytest.raises(ConfigError, match="expected sigma"):
        DiscreteGaussian(sigma)


@pytest.mark.parametrize("length", [0, 39, 41, 400])
def test_entropy_of_the_wrong_length_is_refused(length):
    with pytest.raises(InputError, match="40 bytes of entropy"):
        DiscreteGaussian(3.0).sample((10,), lambda n: bytes(length))


def test_sigma_0_draws_zeros_and_takes_no_entropy():
    def no_entropy(n: int) -> bytes:
        raise AssertionError

    assert not DiscreteGaussian(0.0).sample((2, 3), no_entropy).any()
