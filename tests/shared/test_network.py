"""The numpy network against plain float64 Python, finite differences, and itself without a leading axis."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError, InputError
from shared.network import NetworkSpec, fit, forward, gradient, loss, sigmoid

SMALL = NetworkSpec(3, (4, 2))
L2 = 0.125  # exact in float32


def problem(seed: int, leading: tuple[int, ...] = (), rows: int = 5, spec: NetworkSpec = SMALL, dtype=np.float64):
    random = np.random.default_rng(seed)
    theta = random.normal(size=(*leading, spec.n_parameters)).astype(dtype)
    x = random.normal(size=(*leading, rows, spec.n_features)).astype(dtype)
    y = (random.random((*leading, rows)) < 0.5).astype(dtype)
    weight = random.random((*leading, rows)).astype(dtype)
    mask = ((random.random((*leading, rows, spec.n_hidden)) < 0.7) / 0.7).astype(dtype)
    return theta, x, y, weight, mask


def slow_logit(spec: NetworkSpec, theta, row, mask_row) -> float:
    """One row through the network, one multiplication at a time; theta is read kernel, bias, kernel, bias..."""
    values, at, unit = list(row), 0, 0
    sizes = [spec.n_features, *spec.hidden, 1]
    for layer, (n_in, n_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        kernel, bias = theta[at : at + n_in * n_out], theta[at + n_in * n_out : at + n_in * n_out + n_out]
        at += n_in * n_out + n_out
        out = [sum(values[i] * kernel[i * n_out + j] for i in range(n_in)) + bias[j] for j in range(n_out)]
        if layer < len(sizes) - 2:
            out = [max(v, 0.0) * mask_row[unit + j] for j, v in enumerate(out)]
            unit += n_out
        values = out
    return values[0]


def slow_loss(spec: NetworkSpec, theta, x, y, weight, mask, l2: float) -> float:
    total = 0.0
    for row, label, w, mask_row in zip(x.tolist(), y.tolist(), weight.tolist(), mask.tolist(), strict=True):
        logit = slow_logit(spec, theta, row, mask_row)
        log_p, log_not_p = -math.log1p(math.exp(-logit)), -math.log1p(math.exp(logit))
        total -= w * (label * log_p + (1 - label) * log_not_p)
    at = 0
    for shape in spec.shapes:
        size = math.prod(shape)
        total += l2 * sum(v * v for v in theta[at : at + size]) if len(shape) == 2 else 0.0
        at += size
    return total


def test_sizes_of_the_product_s_network():
    spec = NetworkSpec(27)
    assert (spec.n_parameters, spec.n_hidden) == (27 * 32 + 32 + 32 * 16 + 16 + 16 + 1, 48)
    assert spec.shapes == ((27, 32), (32,), (32, 16), (16,), (16, 1), (1,))


@given(st.integers(0, 2**32))
def test_forward_and_loss_are_their_formulas(seed):
    theta, x, y, weight, _ = problem(seed)
    ones = np.ones((len(x), SMALL.n_hidden))
    p = [1 / (1 + math.exp(-slow_logit(SMALL, theta.tolist(), row, ones[0]))) for row in x.tolist()]
    np.testing.assert_allclose(forward(SMALL, theta, x), p, rtol=1e-12)
    slow = slow_loss(SMALL, theta.tolist(), x, y, weight, ones, L2)
    assert loss(SMALL, theta, x, y, weight, l2=L2) == pytest.approx(slow, rel=1e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_gradient_is_the_slope_of_the_loss(seed, masked):
    theta, x, y, weight, mask = problem(seed)
    used = mask if masked else np.ones_like(mask)
    found = gradient(SMALL, theta, x, y, weight, l2=L2, mask=mask if masked else None)
    step, slopes = 1e-6, []
    for i in range(theta.size):
        ahead, behind = theta.copy(), theta.copy()
        ahead[i] += step
        behind[i] -= step
        difference = slow_loss(SMALL, ahead.tolist(), x, y, weight, used, L2)
        difference -= slow_loss(SMALL, behind.tolist(), x, y, weight, used, L2)
        slopes.append(difference / (2 * step))
    np.testing.assert_allclose(found, slopes, atol=2e-8, rtol=2e-6)


def test_float32_gradient_is_the_float64_one():
    spec = NetworkSpec(27)
    *arrays, mask = problem(1, (), 64, spec)
    exact = gradient(spec, *arrays, l2=L2, mask=mask)
    single = gradient(spec, *(a.astype(np.float32) for a in arrays), l2=L2, mask=mask.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, exact, atol=1e-5 * np.abs(exact).max())


@given(st.integers(0, 2**32))
def test_leading_axis_equals_a_loop(seed):
    theta, x, y, weight, mask = problem(seed, (2, 3), dtype=np.float32)
    together = (
        forward(SMALL, theta, x),
        loss(SMALL, theta, x, y, weight, l2=L2),
        gradient(SMALL, theta, x, y, weight, l2=L2, mask=mask),
    )
    for k in np.ndindex(2, 3):
        one = (theta[k], x[k], y[k], weight[k])
        alone = (
            forward(SMALL, *one[:2]),
            loss(SMALL, *one, l2=L2),
            gradient(SMALL, *one, l2=L2, mask=mask[k]),
        )
        for many, single in zip(together, alone, strict=True):
            np.testing.assert_allclose(many[k], single, atol=2e-6, rtol=2e-6)


@given(st.integers(0, 2**32))
def test_rows_of_weight_0_count_for_nothing(seed):
    theta, x, y, weight, mask = problem(seed, rows=8, dtype=np.float32)
    weight[3:6] = 0
    kept = weight > 0
    wild_x, wild_y = np.where(kept[:, None], x, np.float32(1e3)), np.where(kept, y, np.float32(1) - y)
    found = gradient(SMALL, theta, wild_x, wild_y, weight, mask=mask)
    without = gradient(SMALL, theta, x[kept], y[kept], weight[kept], mask=mask[kept])
    np.testing.assert_allclose(found, without, atol=1e-6, rtol=1e-5)


def test_a_dropped_unit_neither_speaks_nor_learns():
    theta, x, y, weight, _ = problem(3)
    mask = np.ones((len(x), SMALL.n_hidden))
    mask[:, 1] = 0
    kernel_1, bias_1, kernel_2, *_ = SMALL.split(gradient(SMALL, theta, x, y, weight, mask=mask))
    assert not kernel_1[:, 1].any() and not bias_1[1] and not kernel_2[1].any()
    assert kernel_1[:, [0, 2, 3]].any() and kernel_2[[0, 2, 3]].any()


def test_fit_is_that_many_steps_of_sgd_down_the_gradient():
    theta, *_ = problem(5, dtype=np.float32)
    _, x, y, weight, masks = problem(6, (3,), dtype=np.float32)
    by_hand = theta
    for s in range(3):
        by_hand = by_hand - np.float32(0.1) * gradient(SMALL, by_hand, x[s], y[s], weight[s], l2=L2, mask=masks[s])
    np.testing.assert_array_equal(fit(SMALL, theta, x, y, weight, learning_rate=0.1, l2=L2, masks=masks), by_hand)
    still = fit(SMALL, theta, x, y, weight, learning_rate=0.0, l2=L2, masks=masks)
    assert still.tobytes() == theta.tobytes()
    before, after = (
        loss(SMALL, t, x[0], y[0], weight[0])
        for t in (theta, fit(SMALL, theta, x[:1], y[:1], weight[:1], learning_rate=0.01))
    )
    assert after < before


def test_sigmoid_does_not_overflow():
    with np.errstate(all="raise", under="ignore"):
        p = sigmoid(np.array([-1e4, -100, 0, 100, 1e4], np.float32))
    np.testing.assert_allclose(p, [0, 0, 0.5, 1, 1], atol=1e-30)


def test_initial_theta_is_public_and_he_normal():
    spec = NetworkSpec(27)
    theta = spec.initial_theta(5)
    assert theta.dtype == np.float32 and theta.shape == (1441,)
    np.testing.assert_array_equal(theta, spec.initial_theta(5))
    assert (theta != spec.initial_theta(6)).any()
    kernel, bias, *_ = spec.split(theta)
    assert not bias.any()
    assert kernel.std() == pytest.approx(math.sqrt(2 / 27), rel=0.1)


def test_split_gives_views_and_refuses_another_length():
    theta = np.zeros((2, SMALL.n_parameters), np.float32)
    SMALL.split(theta)[0][1, 0, 0] = 7
    assert theta[1, 0] == 7
    with pytest.raises(InputError):
        SMALL.split(theta[:, :-1])


@pytest.mark.parametrize(
    "arguments",
    [(0,), (3, ()), (3, (4, 0)), (3, (1,) * 9), (3, (1,) * 100_000), (3, (2**63,)), (2**40, (1,)), (27, (512, 512))],
)
def test_sizes_below_1_or_beyond_what_a_message_holds_are_refused(arguments):
    with pytest.raises(ConfigError):
        NetworkSpec(*arguments)
