import numpy as np
import pytest

from server.optimizer import ServerOptimizer, ServerSettings
from shared.errors import ConfigError


def test_momentum_and_averaging_by_hand():
    optimizer = ServerOptimizer(np.array([1.0], np.float32), ServerSettings(learning_rate=2, momentum=0.5, tail=0.5))
    assert optimizer.published.tolist() == [1.0], "theta 0 before the first round"
    thetas, published = [], []
    for mean_delta in (0.1, 0.2, 0.0):
        optimizer.step(np.array([mean_delta]))
        thetas.append(optimizer.theta[0])
        published.append(optimizer.published[0])
    # velocity: .1, .25, .125
    np.testing.assert_allclose(thetas, [1.2, 1.7, 1.95])
    np.testing.assert_allclose(published, [1.2, 1.7, (1.7 + 1.95) / 2], rtol=1e-6)


def test_without_momentum_and_averaging_it_adds_the_mean_update():
    optimizer = ServerOptimizer(np.zeros(3, np.float32), ServerSettings(1.0, 0.0, 0.0))
    for _ in range(4):
        optimizer.step(np.array([1.0, -2.0, 0.5]))
    np.testing.assert_allclose(optimizer.published, [4, -8, 2])
    assert optimizer.published.dtype == np.float32 and optimizer.theta.dtype == np.float64


def test_what_it_was_given_and_what_it_published_stay_as_they_were():
    start, delta = np.ones(2, np.float32), np.ones(2)
    optimizer = ServerOptimizer(start, ServerSettings())
    before = optimizer.published
    optimizer.step(delta)
    optimizer.published[:] = 99
    np.testing.assert_array_equal([start, delta, before], np.ones((3, 2)))
    np.testing.assert_allclose(optimizer.published, 3)


@pytest.mark.parametrize(
    "settings",
    [
        (0, 0.9, 0.9),
        (-1, 0.9, 0.9),
        (np.nan, 0.9, 0.9),
        (1, 1, 0.9),
        (1, -0.1, 0.9),
        (1, 0.9, 1.1),
        (1, 0.9, -0.1),
        (1, 0.9, np.nan),
    ],
)
def test_settings_that_cannot_train_are_refused(settings):
    with pytest.raises(ConfigError, match="learning_rate > 0"):
        ServerSettings(*settings)
