"""phi and its levels: what it reads, how it moves, what it is learned by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.detection.chances import Chances, Weights, chances_of, recent_rows
from client.detection.risk_levels import (
    HIGH_BELOW,
    HIGH_FROM,
    MEDIUM_BELOW,
    MEDIUM_FROM,
    Direction,
    RiskLevel,
    risk_levels,
)
from shared.features import extract
from shared.lapse_risk import N_COEFFICIENTS, READINGS, gradient, logit, phi, readings
from tests.world.basics import FEATURES, N_CATEGORIES, make_plan, make_risk, random_history

LOW, MEDIUM, HIGH = RiskLevel.LOW, RiskLevel.MEDIUM, RiskLevel.HIGH
R = len(READINGS)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def some_readings(random: np.random.Generator, n: int) -> np.ndarray:
    x = random.uniform(-1, 1, (n, FEATURES.n_features)).astype(np.float32)
    p, before = random.uniform(0.02, 0.98, (2, n)).astype(np.float32)
    return readings(FEATURES, x, p, before)


# ---- readings


def test_readings_are_a_constant_logits_in_halves_and_features_in_0_to_1():
    x = np.zeros((2, FEATURES.n_features), np.float32)
    for name, values in (("recency", (1, -1)), ("recency_per_interval", (0, 1)), ("ewma_difference", (0.5, -0.5))):
        x[:, FEATURES.names.index(name)] = values
    p, before = floats(0.5, 0.9), floats(0.9, 0.1)
    read = readings(FEATURES, x, p, before)
    ln9 = np.log(9)
    expected = {
        "constant": (1, 1),
        "level": (0, ln9 / 2),
        "rate": (-ln9 / 2, ln9),
        "silence": (1, 0),
        "own_silence": (0.5, 1),
        "fading": (0.75, 0.25),
    }
    assert read.dtype == np.float32 and tuple(expected) == READINGS
    for i, name in enumerate(READINGS):
        np.testing.assert_allclose(read[:, i], expected[name], atol=1e-6, err_msg=name)


def test_silence_is_counted_in_windows_and_in_the_user_s_own_intervals():
    """The scales that the names promise, on a user who was active in every second step until step 11."""
    history = random_history(np.random.default_rng(0), (1, 30), 0)
    history.active[0, 1:12:2], history.count[0, 1:12:2] = True, 1
    p = np.full((2, 1), 0.5, np.float32)
    read = readings(FEATURES, extract(history, FEATURES, [14, 17]), p, p)[:, 0]
    silence, own = READINGS.index("silence"), READINGS.index("own_silence")
    np.testing.assert_allclose(read[:, silence], np.array([3, 6]) / FEATURES.window_steps, atol=0.02)
    assert read[1, own] == pytest.approx(6 / 2 / 5, abs=0.02) and read[0, own] < read[1, own]


def test_a_p_that_was_not_there_before_reads_as_no_change_and_one_that_is_not_there_now_as_nothing():
    x = np.zeros((2, FEATURES.n_features), np.float32)
    read = readings(FEATURES, x, floats(0.3, np.nan), floats(np.nan, 0.3))
    assert read[0, READINGS.index("rate")] == 0 and np.isfinite(read[0]).all()
    assert np.isnan(phi(np.ones(R, np.float32), read)[1])


def test_a_certain_p_has_a_finite_logit():
    np.testing.assert_allclose(logit(floats(0, 1)), [-np.log(99), np.log(99)], rtol=1e-5)
    assert np.isnan(logit(floats(np.nan)))[0]


# ---- phi


@given(st.integers(0, 2**32))
def test_phi_rises_with_its_score_and_is_a_probability(seed):
    random = np.random.default_rng(seed)
    read, weights = some_readings(random, 50), random.normal(size=R).astype(np.float32)
    out, score = phi(weights, read), read.astype(np.float64) @ weights
    order = np.argsort(score)
    assert out.dtype == np.float32 and ((out > 0) & (out < 1)).all()
    assert (np.diff(out[order]) >= -1e-6).all() and out[order[-1]] > out[order[0]]
    np.testing.assert_allclose(out, 1 / (1 + np.exp(-score)), atol=1e-6)


@given(st.integers(0, 2**32))
def test_the_gradient_is_that_of_the_summed_loss_for_one_device_and_for_many(seed):
    random = np.random.default_rng(seed)
    read = np.stack([some_readings(random, 7) for _ in range(3)])
    y = random.integers(0, 2, (3, 7)).astype(np.float32)
    weight = np.where(random.random((3, 7)) < 0.3, 0, random.random((3, 7))).astype(np.float32)
    basis = random.normal(size=(R, N_COEFFICIENTS)).astype(np.float32)
    coefficients = random.normal(size=N_COEFFICIENTS).astype(np.float32)
    slope = gradient(basis, coefficients, read, y, weight)
    assert slope.shape == (3, N_COEFFICIENTS)

    def loss(at: np.ndarray) -> np.ndarray:
        score = read.astype(np.float64) @ (basis.astype(np.float64) @ at)
        return (weight * (np.logaddexp(0, score) - y * score)).sum(axis=-1)

    for i in range(N_COEFFICIENTS):
        step = np.zeros(N_COEFFICIENTS)
        step[i] = 1e-5
        numeric = (loss(coefficients + step) - loss(coefficients - step)) / 2e-5
        np.testing.assert_allclose(slope[:, i], numeric, rtol=1e-3, atol=1e-4)
    for k in range(3):
        np.testing.assert_allclose(gradient(basis, coefficients, read[k], y[k], weight[k]), slope[k], atol=1e-5)


# ---- on a device


def test_p_and_phi_are_of_the_step_and_nobody_is_judged_on_what_they_never_touched():
    plan, step = make_plan(risk=make_risk(rate_steps=3)), 14
    history = random_history(np.random.default_rng(1), (N_CATEGORIES, 20), 0.3)
    history.active[0], history.count[0], history.amount[0] = False, 0, 0
    history.active[1], history.count[1], history.amount[1] = False, 0, 0
    history.active[1, 13], history.count[1, 13] = True, 1  # known now, and not `rate_steps` ago
    x, known = recent_rows(history, plan, step)
    np.testing.assert_array_equal(x, extract(history, FEATURES, [step - 3, step]))
    assert known[:, :2].tolist() == [[False, False], [False, True]]
    p = np.array([[0.2, 0.3, 0.4, 0.5], [0.6, 0.7, 0.8, 0.9]], np.float32)
    weights = np.linspace(-1, 1, R).astype(np.float32)
    now, risk, takeoff = chances_of(plan, Weights(np.zeros(1, np.float32), weights), lambda theta, x: p, x, known)
    assert np.isnan(takeoff).all()
    assert np.isnan([now[0], risk[0]]).all()
    np.testing.assert_array_equal(now[1:], p[1, 1:])
    before = np.where(known[0], p[0], np.float32(np.nan))
    expected = phi(weights, readings(FEATURES, x[1], p[1], before))
    np.testing.assert_array_equal(risk[1:], expected[1:])
    assert np.isfinite(risk[1]), "no p before: no change"


def test_without_weights_or_without_a_part_for_phi_there_is_no_phi():
    history = random_history(np.random.default_rng(1), (N_CATEGORIES, 20), 0.9)
    weights = np.ones(R, np.float32)
    for plan, given_weights, n_steps in ((make_plan(risk=make_risk()), weights[:0], 2), (make_plan(), weights, 1)):
        x, known = recent_rows(history, plan, 14)
        assert x.shape[:2] == (n_steps, N_CATEGORIES)
        weights_now = Weights(np.zeros(1, np.float32), given_weights)
        p, risk, _ = chances_of(plan, weights_now, lambda theta, x: np.full(x.shape[:-1], 0.5, np.float32), x, known)
        assert np.isnan(risk).all() and np.isfinite(p).all()


# ---- levels


def test_without_phi_a_fall_is_the_worse_the_lower_p_and_a_rise_the_better_the_higher():
    p = floats(0.05, HIGH_BELOW, 0.15, MEDIUM_BELOW, 0.5, 0.79, 0.81, 0.91, 1.0)
    levels = risk_levels(Chances.of_p(p))
    assert levels[Direction.FALL].tolist() == [HIGH, HIGH, MEDIUM, MEDIUM, LOW, LOW, LOW, LOW, LOW]
    assert levels[Direction.RISE].tolist() == [LOW, LOW, LOW, LOW, LOW, LOW, MEDIUM, HIGH, HIGH]


def test_with_phi_a_fall_s_level_is_a_band_of_the_probability_of_a_lapse_whatever_p_is():
    risk = floats(0, 0.24, MEDIUM_FROM, 0.49, HIGH_FROM, 1)
    for p in (0.01, 0.5, 0.95):
        levels = risk_levels(Chances.of_p(np.full_like(risk, p), risk))
        assert levels[Direction.FALL].tolist() == [LOW, LOW, MEDIUM, MEDIUM, HIGH, HIGH]
        assert set(levels[Direction.RISE].tolist()) == {HIGH if p == 0.95 else LOW}


def test_with_a_head_a_rise_s_level_is_a_band_of_the_probability_of_a_take_off():
    chance = floats(0, 0.24, MEDIUM_FROM, 0.49, HIGH_FROM, 1)
    levels = risk_levels(Chances.of_p(np.full_like(chance, 0.05), takeoff=chance))
    assert levels[Direction.RISE].tolist() == [LOW, LOW, MEDIUM, MEDIUM, HIGH, HIGH]


def test_levels_never_fall_as_the_evidence_grows_and_keep_leading_axes():
    p = np.linspace(0, 1, 60, dtype=np.float32).reshape(3, 20)
    levels = risk_levels(Chances.of_p(p))
    assert levels.shape == (3, 2, 20)
    assert (np.diff(levels[:, Direction.FALL].ravel()) <= 0).all()
    assert (np.diff(levels[:, Direction.RISE].ravel()) >= 0).all()
    assert (np.diff(risk_levels(Chances.of_p(1 - p, p))[:, Direction.FALL].ravel()) >= 0).all()


def test_no_score_is_never_more_than_low():
    nothing = floats(np.nan)
    assert (risk_levels(Chances.of_p(nothing)) == RiskLevel.LOW).all()
