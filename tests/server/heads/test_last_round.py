"""The last round of a head that is calibrated: it asks at the same weights, and moves slope and intercept alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from server.heads.last_round import LastRound
from server.heads.learners import bases
from server.heads.whitening import whitening
from server.state import ServerFolder
from server.training import train
from shared.codec import unpack_floats
from shared.heads import HeadRows, update_vectors
from shared.heads.learning import raw_curvature
from shared.heads.symmetric import unpacked
from shared.network import sigmoid
from shared.register.heads_plan import N_INPUTS
from tests.server.heads.test_head_rounds import START, Devices, plan_of, settings_for
from tests.world.basics import examples
from tests.world.heads import make_heads

CALIBRATED = (1.0, 0.0)


def some(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    start = random.normal(size=N_INPUTS).astype(np.float32)
    basis = (random.normal(size=(N_INPUTS, N_INPUTS)) + 4 * np.eye(N_INPUTS)).astype(np.float32)
    return start, basis, random.normal(size=N_INPUTS)


@given(st.integers(0, 10**6))
@examples(50)
def test_it_asks_at_the_weights_where_the_head_stands(seed: int) -> None:
    start, basis, u = some(seed)
    last = LastRound.of(start, basis, u)
    asked, at = last.asked_in
    np.testing.assert_allclose(asked @ at, basis @ u, atol=1e-6)
    in_float32 = asked.astype(np.float32) @ at.astype(np.float32)
    np.testing.assert_allclose(in_float32, basis @ u, atol=2e-4)


@given(st.integers(0, 10**6))
@examples(50)
def test_it_moves_weights_along_slope_and_intercept_and_no_further_the_larger_the_rest_is(seed: int) -> None:
    start, basis, u = some(seed)
    last = LastRound.of(start, basis, u)
    mean = np.random.default_rng(seed + 1).normal(size=N_INPUTS)
    before, after = start + basis @ u, start + basis @ last.moved(mean, 1.0)
    slope = before.copy()
    slope[-1] = 0
    change = (after - before)[:-1]
    share = change @ slope[:-1] / (slope @ slope)
    np.testing.assert_allclose(change, share * slope[:-1], atol=1e-5)
    louder = mean.copy()
    louder[2:] *= 1e6
    np.testing.assert_array_equal(last.moved(louder, 1.0), last.moved(mean, 1.0))
    np.testing.assert_array_equal(last.moved(mean, 0.0), u)


def test_a_head_that_clipping_made_too_sure_says_the_rate_again() -> None:
    """300 devices, a few with many rows of rare turns: rounds of clipped gradients end below the rate, the last one near it."""
    random = np.random.default_rng(3)
    plan = make_heads(START)
    n, m = 300, 64
    z = np.concatenate([random.normal(size=(n, m, N_INPUTS - 1)), np.ones((n, m, 1))], axis=2).astype(np.float32)
    true = np.zeros(N_INPUTS)
    true[:3], true[-1] = (0.8, -0.5, 0.4), -2.5
    own = random.normal(scale=1.5, size=(n, 1))
    y = (random.random((n, m)) < sigmoid(np.asarray(z @ true + own, np.float32))).astype(np.float32)
    rows = [HeadRows(z, y, np.ones((n, m), np.float32))] * 2
    start = np.zeros((2, N_INPUTS), np.float32)
    start[:, 0], start[:, -1] = 0.5, -2
    scale = plan.lapse.gradient_clip / np.sqrt(plan.lapse.share)
    curved = unpacked(raw_curvature(z, start[0], np.ones((n, m), np.float32), plan.lapse.per).mean(axis=0), N_INPUTS)
    basis = np.stack([whitening(curved, 0.0, 0.1)] * 2).astype(np.float32)

    def mean_of(way: np.ndarray, at: np.ndarray) -> np.ndarray:
        told = update_vectors(
            plan, rows, start, np.stack([way] * 2).astype(np.float32), np.stack([at] * 2).astype(np.float32)
        )
        assert np.linalg.norm(told, axis=1).max() <= 1 + 1e-6
        return told.mean(axis=0).reshape(2, N_INPUTS)[0] * scale

    def off(u: np.ndarray) -> float:
        return float(sigmoid(np.asarray(z @ (start[0] + basis[0] @ u), np.float32)).mean() - y.mean())

    u = np.zeros(N_INPUTS)
    for _ in range(30):
        u = u + 0.3 * mean_of(basis[0], u)
    last = LastRound.of(start[0], basis[0], u)
    after = last.moved(mean_of(*last.asked_in), 1.0)
    assert off(u) < -0.01, "clipping made it too sure"
    assert abs(off(after)) < 0.7 * abs(off(u))


def test_only_a_calibrated_head_s_last_round_differs_and_the_model_is_where_it_ends(tmp_path) -> None:
    plan = plan_of()
    settings = settings_for(tmp_path, plan)
    heads = type(settings.heads)(START, (0.3, 0.5), 0.1, 0.5, CALIBRATED)
    federation, folder = Devices(tmp_path, plan), ServerFolder(tmp_path)
    train(federation, settings_for(tmp_path, plan, heads=heads), folder)
    asked = [request for name, request in federation.requests if name == "head_request"]
    before = Devices(tmp_path / "w", plan)
    train(before, settings_for(tmp_path / "w", plan), ServerFolder(tmp_path / "w"))
    others = [request for name, request in before.requests if name == "head_request"]
    assert [request["basis"] for request in asked[:-1]] == [request["basis"] for request in others[:-1]]
    way, whole = (unpack_floats(request["basis"]).reshape(2, N_INPUTS, N_INPUTS) for request in (asked[-1], others[-1]))
    at, plain = (unpack_floats(request["coefficients"]).reshape(2, N_INPUTS) for request in (asked[-1], others[-1]))
    np.testing.assert_array_equal(way[1], whole[1])
    np.testing.assert_array_equal(at[1], plain[1])
    mine, theirs = (ServerFolder(path).models("heads").reshape(-1, 2, N_INPUTS) for path in (tmp_path, tmp_path / "w"))
    np.testing.assert_array_equal(mine[:-1], theirs[:-1])
    np.testing.assert_array_equal(mine[-1, 1], theirs[-1, 1])
    np.testing.assert_allclose(START.weights[0] + way[0] @ at[0], mine[-2, 0], atol=1e-3)
    basis = bases(plan.heads, folder.models("curvature")[-1], 0.1)[0]
    assert np.linalg.norm(mine[-1, 0] - mine[-2, 0]) > 1e-6
    change = np.linalg.solve(basis.astype(np.float64), mine[-1, 0].astype(np.float64) - mine[-2, 0])
    slope = mine[-2, 0].astype(np.float64)
    slope[-1] = 0
    ways = np.linalg.solve(basis.astype(np.float64), np.stack([slope, np.eye(N_INPUTS)[-1]], axis=1))
    left = change - ways @ np.linalg.lstsq(ways, change, rcond=None)[0]
    assert np.linalg.norm(left) < 1e-3 * np.linalg.norm(change) + 1e-4


def test_a_run_that_goes_on_asks_the_very_same_last_request(tmp_path) -> None:
    plan = plan_of()
    heads = type(settings_for(tmp_path, plan).heads)(START, (0.3, 0.5), 0.1, 0.5, CALIBRATED)
    whole = Devices(tmp_path / "w", plan)
    train(whole, settings_for(tmp_path / "w", plan, heads=heads), ServerFolder(tmp_path / "w"))
    first, second = Devices(tmp_path, plan, crash_in_round=7), Devices(tmp_path, plan)
    try:
        train(first, settings_for(tmp_path, plan, heads=heads), ServerFolder(tmp_path))
    except RuntimeError:
        train(second, settings_for(tmp_path, plan, heads=heads), ServerFolder(tmp_path))
    mine = [request for name, request in (*first.requests, *second.requests) if name == "head_request"]
    theirs = [request for name, request in whole.requests if name == "head_request"]
    assert [request["basis"] for request in mine[-1:]] == [request["basis"] for request in theirs[-1:]]
