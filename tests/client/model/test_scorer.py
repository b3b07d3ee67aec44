import numpy as np
import pytest

from client.model.runtime import open_model, pinned_model
from client.model.scorer import CHUNK_ROWS, Scorer
from shared.network import forward
from tests.world.basics import NETWORK


@pytest.mark.parametrize(
    "shape", [(1,), (5,), (2, 3), (0,), (0, 4), (CHUNK_ROWS,), (CHUNK_ROWS + 1,), (2, CHUNK_ROWS, 1)]
)
def test_scores_are_the_numpy_network_s_in_any_shape_and_number(shape):
    theta = NETWORK.initial_theta(2)
    x = np.random.default_rng(0).normal(size=(*shape, 27)).astype(np.float32)
    p = Scorer(open_model(pinned_model()), theta).score(x)
    assert p.shape == shape and p.dtype == np.float32
    np.testing.assert_allclose(p, forward(NETWORK, theta, x), atol=1e-5)


def test_scores_do_not_depend_on_the_layout_or_type_of_the_rows():
    theta = NETWORK.initial_theta(2)
    x = np.random.default_rng(0).normal(size=(27, 9)).astype(np.float32)
    scorer = Scorer(open_model(pinned_model()), theta)
    np.testing.assert_array_equal(scorer.score(x.T), scorer.score(np.ascontiguousarray(x.T).astype(np.float64)))


def test_two_thetas_share_a_model_and_do_not_mix():
    model = open_model(pinned_model())
    x = np.random.default_rng(0).normal(size=(4, 27)).astype(np.float32)
    one, two = (Scorer(model, NETWORK.initial_theta(seed)) for seed in (1, 2))
    before = one.score(x)
    assert (two.score(x) != before).all()
    np.testing.assert_array_equal(one.score(x), before)
