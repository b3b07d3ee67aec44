"""An update that is seen alone tells of its device's rows; a sum does not."""

import numpy as np
import pytest

from shared.network import NetworkSpec, gradient
from simulations.attacks.unmasked import VIEWS, Seen, correlation, recovered, rows_read, whose
from simulations.published.attack_evidence import update_numbers


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> Seen:
    return Seen.of("demo", ("data.users=40", "privacy.noise_multiplier=1.5"), tmp_path_factory.mktemp("unmasked"))


def test_one_update_tells_of_its_rows_and_whose_it_is_and_a_sum_does_not(seen):
    found = {key: recovered(seen, shares) for key, (_, shares) in VIEWS.items()}
    assert found["bare"].rows > 0.6 and found["bare"].returned > 0.6 and found["bare"].told_apart == 1.0
    assert found["share"].told_apart < 1.0
    assert abs(found["sum"].rows) < 0.5 < found["bare"].rows and found["sum"].told_apart < 0.4
    assert found["sum"].told_apart < found["share"].told_apart, "one share of noise hides less than all of them"


def test_vectors_are_clipped_and_noise_is_that_of_so_many_devices(seen):
    assert np.linalg.norm(seen.vectors, axis=1).max() <= 1
    assert np.array_equal(seen.behind(0), seen.vectors)
    noise = seen.behind(4) - seen.vectors
    assert noise.std() == pytest.approx(2 * seen.privacy.share_sigma / seen.privacy.steps_per_clip, rel=0.05)


def test_a_single_row_is_read_off_its_gradient_exactly():
    network = NetworkSpec(6, (8, 4))
    theta = network.initial_theta(3)[None]
    x = np.random.default_rng(1).normal(size=(1, 1, 6)).astype(np.float32)
    update = -gradient(network, theta, x, np.ones((1, 1), np.float32), np.ones((1, 1), np.float32))
    np.testing.assert_allclose(rows_read(network, update.astype(np.float64)), x[0], rtol=1e-4)


def test_the_nearest_candidate_is_named():
    candidates = np.eye(3)
    assert whose(candidates[[2, 0]] + 0.1, candidates).tolist() == [2, 0]


def test_correlation_is_by_ranks():
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert correlation(a, np.exp(a)) == pytest.approx(1) and correlation(a, -(a**3)) == pytest.approx(-1)
    assert correlation(a, np.zeros(4)) == 0.0


def test_what_is_recovered_is_published(monkeypatch):
    monkeypatch.setattr(
        "simulations.published.attack_evidence.recovered_by_view",
        lambda: (4, {key: type("R", (), {"rows": 0.5, "returned": 0.25, "told_apart": 1.0}) for key in VIEWS}),
    )
    found = update_numbers()
    assert set(found) == {f"attack.update.{key}.{m}" for key in VIEWS for m in ("rows", "returned", "told_apart")}
    assert found["attack.update.bare.rows"].value == 0.5 and "0.2500" in found["attack.update.sum.told_apart"].baseline
