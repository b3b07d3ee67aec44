"""Heads: what they look at, where they start, what a device adds to a round, and what its plan says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.features import FeatureSpec, History, Richer, extract
from shared.heads import (
    TASKS,
    HeadRows,
    Heads,
    HeadsStart,
    crowd_of,
    curvature_vectors,
    packed,
    packed_length,
    pair_shares,
    unpacked,
    update_vectors,
)
from shared.heads.inputs import input_names, log_level, raw_inputs
from shared.heads.learning import clipped, raw_curvature, raw_update
from shared.mechanisms import protect
from shared.network import NetworkSpec, forward
from shared.register.heads_plan import N_INPUTS
from tests.world.heads import make_heads

FEATURES = FeatureSpec(12, more=Richer(8, 0.7, 6.0, 0.6, 4.0))
NETWORK = NetworkSpec(FEATURES.n_of_version_1, (4,))


def start_of(seed: int = 0) -> HeadsStart:
    random = np.random.default_rng(seed)
    networks = np.stack([NETWORK.initial_theta(seed + i) for i in range(3)])
    return HeadsStart(
        networks,
        random.normal(size=N_INPUTS - 1).astype(np.float32),
        random.uniform(0.5, 2, N_INPUTS - 1).astype(np.float32),
        random.normal(size=(2, N_INPUTS)).astype(np.float32),
    )


def history_of(users: int = 3, categories: int = 4, steps: int = 60, seed: int = 0) -> History:
    random = np.random.default_rng(seed)
    active = random.random((users, categories, steps)) < 0.2
    kinds = np.zeros((5, *active.shape), np.uint8)
    kinds[4] = active
    return History(active, active.astype(np.float32), active.astype(np.float32) * 3, kinds)


def test_the_list_of_inputs_has_its_length_and_no_name_twice() -> None:
    names = input_names(FEATURES)
    assert len(names) == N_INPUTS == len(set(names))


def test_a_start_comes_back_from_its_bytes_and_no_other_length_does() -> None:
    start = start_of()
    again = HeadsStart.from_bytes(start.to_bytes(), NETWORK)
    assert again.to_bytes() == start.to_bytes() and again.sha256 == start.sha256
    for data in (start.to_bytes()[:-4], start.to_bytes() + bytes(4), b""):
        with pytest.raises(ConfigError, match="expected .* bytes of where heads start"):
            HeadsStart.from_bytes(data, NETWORK)


@pytest.mark.parametrize("name", ["networks", "centre", "scale", "weights"])
def test_a_start_that_is_not_finite_is_none(name: str) -> None:
    start = start_of()
    broken = getattr(start, name).copy()
    broken.flat[0] = np.nan
    with pytest.raises(ConfigError, match="finite"):
        replace(start, **{name: broken})
    with pytest.raises(ConfigError, match="expected"):
        replace(start, **{name: getattr(start, name)[:1][..., :1]})
    with pytest.raises(ConfigError, match="positive scales"):
        replace(start, scale=np.zeros(N_INPUTS - 1, np.float32))


def test_what_heads_say_is_a_logistic_model_of_standardised_inputs() -> None:
    history, start = history_of(), start_of()
    x = extract(history, FEATURES, [40])[:, 0]
    popularity = np.linspace(-1, 1, 4).astype(np.float32)
    heads = Heads(start, popularity, start.weights)

    def score(theta: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return forward(NETWORK, theta, rows)

    p = np.stack([score(theta, x[..., :27]) for theta in start.networks])
    raw = raw_inputs(FEATURES, x, p, np.broadcast_to(popularity, x.shape[:-1]))
    z = np.clip((raw - start.centre) / start.scale, -4, 4)
    for task, said in zip(range(2), heads.read(FEATURES, score, x), strict=True):
        logit = z @ start.weights[task, :-1] + start.weights[task, -1]
        np.testing.assert_allclose(said, 1 / (1 + np.exp(-logit)), atol=1e-5)
    assert len(TASKS) == 2


def test_the_log_level_is_that_of_an_average_that_starts_at_nothing() -> None:
    history = history_of()
    x = extract(history, FEATURES, [30, 59])
    level = np.zeros(history.active.shape[:2])
    weight, seen_at = 2 / 25, {}
    for step in range(60):
        level += weight * (history.active[..., step] - level)
        seen_at[step] = level.copy()
    for i, step in enumerate((30, 59)):
        np.testing.assert_allclose(log_level(FEATURES, x)[:, i], np.log(seen_at[step] + 0.01), atol=2e-4)


@given(st.integers(1, 9), st.integers(0, 1000))
def test_a_packed_matrix_has_its_norm_and_comes_back(n: int, seed: int) -> None:
    half = np.random.default_rng(seed).normal(size=(2, n, n))
    matrix = half + np.swapaxes(half, -1, -2)
    assert packed(matrix).shape == (2, packed_length(n))
    np.testing.assert_allclose(np.linalg.norm(packed(matrix), axis=-1), np.linalg.norm(matrix, axis=(-2, -1)))
    np.testing.assert_allclose(unpacked(packed(matrix), n), matrix)


@given(st.integers(1, 6), st.integers(0, 8), st.integers(0, 1000), st.floats(0, 1))
def test_whoever_did_anything_adds_exactly_one_user_to_the_crowd(
    categories: int, steps: int, seed: int, share: float
) -> None:
    """The bound of the sum is met by everybody: nobody is clipped, and nobody counts for more."""
    active = np.random.default_rng(seed).random((5, categories, steps)) < share
    told = pair_shares(active, 4)
    norm = np.linalg.norm(told, axis=-1)
    did = active[:, :4].any(axis=(1, 2))
    np.testing.assert_allclose(norm, did.astype(float), atol=1e-12)
    assert (told >= 0).all()


def test_a_crowd_is_read_with_and_without_noise() -> None:
    active = np.zeros((3, 3, 10), bool)
    active[0, 0, :6] = active[0, 1, :6] = active[1, 0, :3] = active[2, 2, :9] = True
    total = pair_shares(active, 3).sum(axis=0)
    crowd = crowd_of(total, 3, 0.0)
    np.testing.assert_allclose(np.exp(crowd.popularity), np.array([1.5, 0.5, 1.0]), atol=1e-9)
    np.testing.assert_allclose(crowd.neighbours, crowd.neighbours.T, atol=1e-12)
    assert crowd.neighbours[0, 1] > crowd.neighbours[0, 2]
    assert not crowd_of(total, 3, 100.0).popularity.any()
    nobody = crowd_of(np.zeros(6), 3, 0.0)
    assert not nobody.popularity.any() and not nobody.neighbours.any(), "a sum of nobody says nothing"


def rows_of(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    z = np.concatenate([random.normal(size=(n, N_INPUTS - 1)), np.ones((n, 1))], axis=1).astype(np.float32)
    return z, (random.random(n) < 0.3).astype(np.float32)


def test_update_and_curvature_are_the_derivatives_of_the_loss() -> None:
    z, y = rows_of(40, 1)
    random = np.random.default_rng(2)
    start = random.normal(size=N_INPUTS).astype(np.float32) / 10
    basis = random.normal(size=(N_INPUTS, N_INPUTS)).astype(np.float32) / 5
    at = random.normal(size=N_INPUTS).astype(np.float32) / 10
    real = (np.arange(40) < 33).astype(np.float32)

    def loss(u: np.ndarray) -> float:
        score = (z.astype(float) @ (start + basis.astype(float) @ u))[:33]
        return float((np.logaddexp(0, score) - y[:33] * score).sum()) / 64

    step = 1e-5
    slope = [(loss(at + step * e) - loss(at - step * e)) / (2 * step) for e in np.eye(N_INPUTS)]
    np.testing.assert_allclose(raw_update(z, y, start, basis, at, real, 64.0), -np.array(slope), atol=1e-4)
    weights = (start / 10).astype(np.float32)
    p = 1 / (1 + np.exp(-z[:33].astype(float) @ weights))
    exact = (z[:33].T * np.maximum(p * (1 - p), 0.01)) @ z[:33] / 64
    np.testing.assert_allclose(unpacked(raw_curvature(z, weights, real, 64.0), N_INPUTS), exact, atol=1e-4)


def test_many_devices_give_what_each_gives_alone() -> None:
    z, y = rows_of(60, 3)
    start, basis = np.zeros(N_INPUTS, np.float32), np.eye(N_INPUTS, dtype=np.float32)
    real = np.ones(20, np.float32)
    many = raw_update(z.reshape(3, 20, -1), y.reshape(3, 20), start, basis, start, np.tile(real, (3, 1)), 8.0)
    for k in range(3):
        part = slice(20 * k, 20 * k + 20)
        np.testing.assert_allclose(many[k], raw_update(z[part], y[part], start, basis, start, real, 8.0), atol=1e-6)


@given(st.integers(0, 100), st.floats(1e-3, 1e3), st.floats(0.01, 1))
def test_a_clipped_part_has_its_share_at_most_whatever_it_was(seed: int, scale: float, share: float) -> None:
    """The guarantee: heads' parts side by side are no longer than 1."""
    vector = np.random.default_rng(seed).normal(size=(4, 7)) * scale
    norms = np.linalg.norm(clipped(vector, 0.5, share), axis=-1)
    assert (norms <= np.sqrt(share) * (1 + 1e-12)).all()
    small = vector * (0.4 / np.linalg.norm(vector, axis=-1, keepdims=True))
    np.testing.assert_allclose(clipped(small, 0.5, share), small / 0.5 * np.sqrt(share))


@given(
    st.integers(0, 1000), st.sampled_from([0.0, 1.0, 1e20, 3e38]), st.sampled_from([0.0, 1.0, 3e38]), st.integers(1, 40)
)
def test_whatever_a_server_sends_one_device_counts_for_one_at_most(seed: int, basis: float, at: float, n: int) -> None:
    """Rows at their bounds, and a basis and weights as large as a message can hold."""
    random = np.random.default_rng(seed)
    start, plan = start_of(seed), make_heads(start_of(seed))
    rows = []
    for _ in range(2):
        z = np.where(random.random((n, N_INPUTS)) < 0.5, 4, -4).astype(np.float32)
        rows.append(HeadRows(z, (random.random(n) < 0.5).astype(np.float32), np.ones(n, np.float32)))
    with np.errstate(all="ignore"):
        spread = random.normal(size=(2, N_INPUTS, N_INPUTS)).clip(-1, 1).astype(np.float32) * np.float32(basis)
        weights = random.normal(size=(2, N_INPUTS)).clip(-1, 1).astype(np.float32) * np.float32(at)
        told = [update_vectors(plan, rows, start.weights, spread, weights), curvature_vectors(plan, rows, weights)]
        sent = [protect(one, clip_norm=1.0, steps_per_clip=4096, share_sigma=0.0) for one in told]
    for vector in sent:
        assert np.linalg.norm(vector.view(np.int32).astype(float)) <= 4096
