"""Local training on the device equals the batched numpy network that hosts run: <= 1e-5 (DESIGN)."""

import numpy as np
import pytest

from client.model.runtime import open_model, pinned_model
from client.model.trainer import LocalTrainer
from client.model.training_rows import batches
from shared.network import fit
from tests.world.basics import NETWORK, make_plan

SETTINGS = [
    {"learning_rate": 0.3, "rows": 16},
    {"learning_rate": 0.3, "rows": 16, "local_steps": 5, "l2": 1e-3},
    {"learning_rate": 0.1, "rows": 7, "local_steps": 3, "l2": 1e-2, "dropout": 0.4},
    {"learning_rate": 0.5, "rows": 1, "local_steps": 1},
]


def work_of(plan, n_rows: int, device: int):
    random = np.random.default_rng((n_rows, device))
    x = random.normal(size=(n_rows, 27)).astype(np.float32)
    y = (random.random(n_rows) < 0.4).astype(np.float32)
    return batches(x, y, plan, round_number=3, device=device)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("n_rows", [0, 3, 40])
def test_raw_delta_equals_numpy_s(settings, n_rows):
    plan = make_plan(training=settings)
    theta = NETWORK.initial_theta(1)
    trainer = LocalTrainer(open_model(pinned_model()), plan.training)
    for device in (0, 1):
        work = work_of(plan, n_rows, device)
        found = trainer.raw_delta(theta, work)
        expected = fit(
            NETWORK,
            theta,
            work.x,
            work.y,
            work.weight,
            learning_rate=plan.training.learning_rate,
            l2=plan.training.l2,
            masks=work.masks,
        )
        assert found.shape == (NETWORK.n_parameters,) and found.dtype == np.float64
        np.testing.assert_allclose(found, expected - theta, atol=1e-5)
        if n_rows:
            assert np.abs(found).max() > 1e-4, "a comparison of two zeros would say nothing"


def test_without_rows_and_without_l2_nothing_moves():
    plan = make_plan(training={"dropout": 0.5})
    delta = LocalTrainer(open_model(pinned_model()), plan.training).raw_delta(
        NETWORK.initial_theta(1), work_of(plan, 0, 0)
    )
    assert not delta.any()


def test_learning_rate_0_returns_theta_unchanged():
    plan = make_plan(training={"learning_rate": 0.0, "local_steps": 4, "l2": 0.1})
    delta = LocalTrainer(open_model(pinned_model()), plan.training).raw_delta(
        NETWORK.initial_theta(1), work_of(plan, 40, 0)
    )
    assert not delta.any()


def test_training_leaves_the_theta_it_was_given_alone():
    plan = make_plan()
    theta = NETWORK.initial_theta(1)
    before = theta.copy()
    LocalTrainer(open_model(pinned_model()), plan.training).raw_delta(theta, work_of(plan, 40, 0))
    np.testing.assert_array_equal(theta, before)
