"""Where phi's private rounds start, and where they lead: known weights are found again, from public rows and in rounds."""

import numpy as np
import pytest

from server.public.risk_start import PublicRows, RiskStart
from shared.errors import ConfigError
from shared.lapse_risk import N_COEFFICIENTS, READINGS, gradient, phi, readings
from shared.network import forward
from tests.world.basics import FEATURES, activity_theta, make_plan, make_risk

PLAN = make_plan(risk=make_risk())
THETA = activity_theta()
#: A lapse is the likelier the lower p and the longer the silence.
TRUE = np.array([-1.0, -0.8, -0.5, 2.0, 1.0, -1.0], np.float32)


def read_of(rows: PublicRows) -> np.ndarray:
    p, before = (forward(PLAN.network, THETA, x) for x in (rows.x, rows.x_before))
    return readings(FEATURES, rows.x, p, before)


def simulated(seed: int, n: int, weights: np.ndarray = TRUE) -> PublicRows:
    """Rows of made-up features, whose lapses follow phi under `weights`."""
    random = np.random.default_rng(seed)
    x, before = random.uniform(-1, 1, (2, n, FEATURES.n_features)).astype(np.float32)
    rows = PublicRows(x, before, np.zeros(n, np.float32))
    y = random.random(n) < phi(weights, read_of(rows))
    return PublicRows(x, before, y.astype(np.float32))


@pytest.fixture(scope="module")
def start() -> RiskStart:
    return RiskStart.learn(simulated(0, 40_000), PLAN, THETA)


def test_the_weights_behind_public_rows_are_found(start):
    weights = start.weights(start.coefficients)
    assert weights.shape == (len(READINGS),) and weights.dtype == np.float32
    fresh = read_of(simulated(1, 5_000))
    assert np.abs(phi(weights, fresh) - phi(TRUE, fresh)).mean() < 0.01
    np.testing.assert_allclose(weights, TRUE, atol=0.25)


def test_the_slope_s_direction_is_the_public_score_standardised(start):
    seen = read_of(simulated(0, 40_000)).astype(np.float64) @ start.basis
    assert (seen[:, 0] == 1).all()
    assert abs(seen[:, 1].mean()) < 1e-3 and seen[:, 1].std() == pytest.approx(1, abs=1e-3)
    assert start.coefficients[1] > 0


def test_newton_is_the_inverse_of_the_damped_curvature(start):
    """The gradient's derivative, by differences, on the same public rows."""
    rows = simulated(0, 40_000)
    read, weight = read_of(rows), np.full(len(rows.y), 1 / len(rows.y), np.float32)
    columns = []
    for i in range(N_COEFFICIENTS):
        step = np.zeros(N_COEFFICIENTS, np.float32)
        step[i] = 0.05
        ends = [gradient(start.basis, start.coefficients + s, read, rows.y, weight) for s in (step, -step)]
        columns.append((ends[0] - ends[1]) / 0.1)
    damped = np.stack(columns, axis=1) + 0.005 * np.eye(N_COEFFICIENTS)
    np.testing.assert_allclose(start.newton @ damped, np.eye(N_COEFFICIENTS), atol=0.02)


@pytest.mark.parametrize(("shift", "stretch"), [(1.0, 1.0), (-1.5, 1.0), (0.3, 0.8), (-0.5, 1.3)])
def test_rounds_find_the_intercept_and_the_slope_of_people_who_are_not_the_public_ones(start, shift, stretch):
    """Full gradients of other people's rows, turned into steps by the public curvature: as in noiseless rounds."""
    score = start.basis.astype(np.float64) @ start.coefficients
    other = (stretch * score + shift * np.eye(len(READINGS))[0]).astype(np.float32)
    people = simulated(5, 40_000, other)
    read, weight = read_of(people), np.full(len(people.y), 1 / len(people.y), np.float32)
    coefficients = start.coefficients.astype(np.float64)
    before = np.abs(phi(start.weights(coefficients), read) - phi(other, read)).mean()
    for _ in range(40):
        mean_delta = -gradient(start.basis, coefficients.astype(np.float32), read, people.y, weight)
        coefficients = coefficients + start.newton @ mean_delta
    expected = stretch * start.coefficients + np.array([shift, 0])
    np.testing.assert_allclose(coefficients, expected, atol=0.1)
    after = np.abs(phi(start.weights(coefficients), read) - phi(other, read)).mean()
    assert after < 0.02 and after < 0.3 * max(before, 0.05)


def test_rows_that_say_nothing_give_a_start_all_the_same():
    """Nobody lapsed, or all rows are alike: finite weights, and a phi on the right side."""
    rows = simulated(2, 500)
    nobody = RiskStart.learn(PublicRows(rows.x, rows.x_before, np.zeros_like(rows.y)), PLAN, THETA)
    alike = PublicRows(np.zeros_like(rows.x), np.zeros_like(rows.x), (np.arange(500) % 4 == 0).astype(np.float32))
    one = RiskStart.learn(alike, PLAN, THETA)
    for start in (nobody, one):
        assert all(np.isfinite(a).all() for a in (start.basis, start.coefficients, start.newton))
    assert phi(nobody.weights(nobody.coefficients), read_of(rows)).max() < 0.2
    np.testing.assert_allclose(phi(one.weights(one.coefficients), read_of(alike)), 0.25, atol=0.02)


# ---- the file


def test_public_rows_go_round(tmp_path):
    rows = simulated(3, 20)
    rows.save(tmp_path / "public.npz")
    again = PublicRows.load(tmp_path / "public.npz")
    for name in ("x", "x_before", "y"):
        np.testing.assert_array_equal(getattr(again, name), getattr(rows, name))


@pytest.mark.parametrize("missing", ["x", "x_before", "y"])
def test_a_file_without_one_of_the_arrays_is_refused(tmp_path, missing):
    arrays = {k: v for k, v in vars(simulated(3, 20)).items() if k != missing}
    np.savez(tmp_path / "public.npz", **arrays)
    with pytest.raises(ConfigError, match=r"expected x, x_before and y in public\.npz"):
        PublicRows.load(tmp_path / "public.npz")


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("no rows")
    (tmp_path / "empty.npz").write_bytes(b"")
    simulated(3, 20).save(tmp_path / "whole.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:-40])
    np.save(tmp_path / "one.npy", np.zeros(3))
    for name in ("text.npz", "empty.npz", "cut.npz", "one.npy", "absent.npz"):
        with pytest.raises(ConfigError, match=f"expected x, x_before and y in {name}"):
            PublicRows.load(tmp_path / name)


@pytest.mark.parametrize(
    ("n_x", "n_before", "n_y"), [(20, 19, 20), (20, 20, 19), (0, 0, 0)], ids=["before", "label", "none"]
)
def test_rows_of_different_length_or_none_are_refused(tmp_path, n_x, n_before, n_y):
    rows = simulated(3, 20)
    PublicRows(rows.x[:n_x], rows.x_before[:n_before], rows.y[:n_y]).save(tmp_path / "public.npz")
    with pytest.raises(ConfigError, match="expected rows of one length"):
        PublicRows.load(tmp_path / "public.npz")
