"""Whitened rounds: without noise one step is a Newton step; noise alone is held by a floor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.heads.whitening import noise_of_mean, whitening
from shared.heads import packed, unpacked
from shared.heads.learning import raw_curvature, raw_update
from shared.mechanisms import from_grid, protect
from shared.plan import PrivacyPlan
from tests.world.basics import examples

N = 6
#: Rows of one device, and the constant that its loss is divided by.
ROWS = 400


def problem(seed: int):
    """Standardised rows, labels that follow from them, and weights of before anybody learned."""
    random = np.random.default_rng(seed)
    mix = random.normal(size=(N, N))
    z = (random.normal(size=(ROWS, N)) @ mix).astype(np.float32)
    truth = random.normal(size=N) / np.linalg.norm(mix)
    y = (random.random(ROWS) < 1 / (1 + np.exp(-z @ truth))).astype(np.float32)
    return z, y, np.zeros(N, np.float32)


def loss(z, y, weights) -> float:
    score = z.astype(np.float64) @ weights
    return float(np.mean(np.logaddexp(0, score) - y * score))


@examples(20)
@given(seed=st.integers(0, 2**32 - 1))
def test_without_noise_one_step_is_a_newton_step_and_lessens_the_loss(seed):
    z, y, weights = problem(seed)
    real = np.ones(ROWS, np.float32)
    curvature = unpacked(raw_curvature(z, weights, real, ROWS), N)
    basis = whitening(curvature, 0.0, 0.0).astype(np.float32)
    step = raw_update(z, y, weights, basis, np.zeros(N, np.float32), real, ROWS)
    moved = weights + basis @ step
    slope = z.T.astype(np.float64) @ (y - 0.5) / ROWS
    np.testing.assert_allclose(moved, np.linalg.solve(curvature, slope), rtol=1e-2, atol=1e-3)
    assert loss(z, y, moved) < loss(z, y, weights)
    best = weights.astype(np.float64)
    for _ in range(30):
        p = 1 / (1 + np.exp(-z @ best))
        best += np.linalg.solve((z.T * (p * (1 - p))) @ z / ROWS, z.T @ (y - p) / ROWS)
    gained, possible = loss(z, y, weights) - loss(z, y, moved), loss(z, y, weights) - loss(z, y, best)
    assert gained > 0.8 * possible


@examples(20)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(1e-6, 1e3))
def test_pure_noise_is_taken_for_no_curvature_that_it_does_not_reach(seed, size):
    """The floor alone decides then: no direction is moved along farther than by it, and none of them is lost."""
    random = np.random.default_rng(seed)
    n = 28
    noise = unpacked(random.normal(0, size, n * (n + 1) // 2), n)
    basis = whitening(noise, size, 0.1)
    longest = np.linalg.norm(basis, ord=2) ** 2
    assert longest <= 1 / (size * np.sqrt(n)) * (1 + 1e-9)
    assert longest >= 1 / (4 * size * np.sqrt(n)), "what noise says is about as much as the floor"


def test_damping_holds_directions_of_which_little_is_known_without_noise():
    curvature = np.diag([1.0, 1e-9, 1e-9, 1e-9])
    assert np.linalg.norm(whitening(curvature, 0.0, 0.1), ord=2) ** 2 == pytest.approx(1 / (0.1 * 0.25), rel=1e-3)
    assert np.isfinite(whitening(np.zeros((4, 4)), 0.0, 0.1)).all()


def test_the_noise_of_a_mean_is_what_the_devices_shares_come_to():
    privacy = PrivacyPlan(1.0, 3.0, 1.0, 1, population=60, min_survivors=50, max_colluders=5)
    shares = [
        protect(
            np.zeros((60, 400)),
            clip_norm=1.0,
            steps_per_clip=privacy.steps_per_clip,
            share_sigma=privacy.share_sigma,
            entropy=np.random.default_rng(i).bytes,
        ).sum(axis=0, dtype=np.uint32)
        for i in range(10)
    ]
    means = np.concatenate([from_grid(total, privacy.grid_step) / privacy.expected_cohort for total in shares])
    assert means.std() == pytest.approx(noise_of_mean(privacy), rel=0.05)
    assert noise_of_mean(PrivacyPlan(1.0, 0.0, 1.0, 1, population=60, min_survivors=50)) == 0


def test_a_packed_matrix_s_noise_is_that_of_its_diagonal():
    """What `whitening` is told: entries off the diagonal carry less of it."""
    vectors = np.random.default_rng(0).normal(0, 2.0, (4000, 6))
    found = unpacked(vectors, 3)
    assert found[:, 0, 0].std() == pytest.approx(2.0, rel=0.05)
    assert found[:, 0, 1].std() == pytest.approx(2.0 / np.sqrt(2), rel=0.05)
    np.testing.assert_allclose(packed(found), vectors)
