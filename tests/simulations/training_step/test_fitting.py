"""Local training in loops adds to theta what `shared.network.fit` adds, to the last bits of float32, and to each device on its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.model.training_rows import draw_masks
from shared.errors import InputError
from shared.network import NetworkSpec
from shared.plan import LocalTraining
from simulations.training_step.by_arrays import deltas_by_arrays
from simulations.training_step.fitting import deltas_in_loops
from tests.world.basics import examples

SIZES = st.integers(1, 37)


def make_rows(spec: NetworkSpec, shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y and weight of devices, steps and rows: each device has as many rows as chance says, padded with others'."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(*shape, spec.n_features)).astype(np.float32)
    y = (random.random(shape) < 0.3).astype(np.float32)
    n = random.integers(0, shape[2] + 1, (shape[0], 1, 1))
    weight = np.where(np.arange(shape[2]) < n, 1 / shape[2], 0) * np.ones(shape)
    return x, y, weight.astype(np.float32)


def apart(
    spec: NetworkSpec, theta: np.ndarray, rows: tuple[np.ndarray, ...], **how: float
) -> tuple[np.ndarray, np.ndarray]:
    """How far the two ways lie apart, and how long what is added is: (D,) each."""
    ours, theirs = (way(spec, theta, *rows, **how) for way in (deltas_in_loops, deltas_by_arrays))
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype == np.float32
    return np.linalg.norm(ours - theirs, axis=1), np.linalg.norm(theirs, axis=1)


@pytest.mark.parametrize("n_features", [27, 31])
@pytest.mark.parametrize(("local_steps", "n_rows"), [(1, 64), (4, 64), (2, 13)])
@pytest.mark.parametrize("l2", [0.0, 1e-3])
def test_what_is_added_differs_by_a_hundred_thousandth_of_its_length_at_most(n_features, local_steps, n_rows, l2):
    spec = NetworkSpec(n_features)
    rows = make_rows(spec, (30, local_steps, n_rows), 1)
    far, length = apart(spec, spec.initial_theta(4), rows, learning_rate=0.3, l2=l2)
    assert (far <= 1e-5 * length).all() and (length[rows[2].any(axis=(1, 2))] > 0).all()


@examples(40, derandomize=True)
@given(
    SIZES,
    st.lists(SIZES, min_size=1, max_size=4),
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 20)),
    st.sampled_from([0.0, 0.01, 1.0]),
    st.sampled_from([0.0, 0.02]),
    st.integers(0, 2**32),
)
def test_networks_of_all_sizes_are_fitted(n_features, hidden, shape, learning_rate, l2, seed):
    """Theta is rounded at every step, which counts where little is added."""
    spec = NetworkSpec(n_features, tuple(hidden))
    theta = spec.initial_theta(seed)
    far, length = apart(spec, theta, make_rows(spec, shape, seed), learning_rate=learning_rate, l2=l2)
    assert (far <= 1e-5 * length + 2e-7 * np.linalg.norm(theta)).all()


def test_what_stands_behind_a_device_s_rows_counts_for_nothing():
    spec = NetworkSpec(5, (7,))
    x, y, weight = make_rows(spec, (9, 2, 11), 3)
    theta = spec.initial_theta(2)
    clean = deltas_in_loops(spec, theta, x, y, weight, learning_rate=0.3)
    for garbage in (np.nan, np.inf, 1e30):
        other = np.where(weight[..., None] > 0, x, np.float32(garbage))
        np.testing.assert_array_equal(deltas_in_loops(spec, theta, other, y, weight, learning_rate=0.3), clean)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("local_steps", [1, 3])
def test_a_device_whose_numbers_overflow_is_alone_with_it(bad, local_steps):
    """The others are given the same bits as without it; its own vector is not finite, which clips to nothing."""
    spec = NetworkSpec(5, (7, 3))
    x, y, weight = make_rows(spec, (6, local_steps, 11), 3)
    weight[:] = np.float32(1 / 11)
    theta = spec.initial_theta(2)
    clean = deltas_in_loops(spec, theta, x, y, weight, learning_rate=0.3)
    x[2, 0] = bad
    found = deltas_in_loops(spec, theta, x, y, weight, learning_rate=0.3)
    others = np.arange(6) != 2
    np.testing.assert_array_equal(found[others], clean[others])
    assert not np.isfinite(found[2]).all() or bad == 3e38


def test_devices_together_are_each_device_alone():
    spec = NetworkSpec(27)
    rows, theta = make_rows(spec, (5, 2, 33), 8), spec.initial_theta(1)
    together = deltas_in_loops(spec, theta, *rows, learning_rate=0.3, l2=1e-3)
    for device in range(5):
        alone = (part[device : device + 1] for part in rows)
        np.testing.assert_array_equal(
            deltas_in_loops(spec, theta, *alone, learning_rate=0.3, l2=1e-3)[0], together[device]
        )


def test_dropout_is_the_arrays_matter():
    spec, training = NetworkSpec(5, (7,)), LocalTraining(rows=11, local_steps=2, dropout=0.5)
    x, y, weight = make_rows(spec, (3, 2, 11), 3)
    masks = np.stack([draw_masks(training, 7, np.random.default_rng(i)) for i in range(3)])
    arguments = spec, spec.initial_theta(2), x, y, weight
    ours, theirs = (way(*arguments, learning_rate=0.3, masks=masks) for way in (deltas_in_loops, deltas_by_arrays))
    np.testing.assert_array_equal(ours, theirs)
    assert (ours != deltas_in_loops(*arguments, learning_rate=0.3)).any()


def test_rows_of_another_network_are_refused():
    """Nothing in the loops would notice that they read what is not theirs."""
    spec = NetworkSpec(5, (7,))
    x, y, weight = make_rows(spec, (3, 2, 11), 3)
    theta = spec.initial_theta(2)
    for bad in (
        (theta[:-1], x, y, weight),
        (theta, x[..., :-1], y, weight),
        (theta, x[:, :1], y, weight),
        (theta, x, y[:2], weight),
        (theta, x, y, weight[..., :3]),
    ):
        with pytest.raises(InputError, match="expected theta, x and y as"):
            deltas_in_loops(spec, *bad, learning_rate=0.3)
