"""What 50 users' devices compute, show and spend is what it was at commit e1f0571, whatever was moved since."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.world.dump_run import leave_dump

VECTOR = Path(__file__).parents[2] / "vectors" / "fifty_users.npz"
#: Rounding of other machines.
CLOSE = ("theta", "phi", "p")


@pytest.fixture(scope="module", params=["devices", "hosts"])
def then_and_now(request, made_once):
    """The vector's arrays of one fidelity, and today's."""
    runs = made_once(f"fifty-{request.param}", partial(leave_dump, request.param))
    with np.load(runs / "dump.npz") as dump, np.load(VECTOR) as vector:
        now = dict(dump)
        then = {name: vector[f"{request.param}_{name}"] for name in now}
        assert len(vector.files) == 2 * len(then), "nothing of the vector is left out"
    return then, now


def test_three_rounds_give_the_same_theta_and_devices_the_same_p(then_and_now):
    then, now = then_and_now
    assert then["theta"].shape == (4, 1441) and np.isfinite(then["p"]).any(axis=(1, 2)).all()
    for name in CLOSE:
        np.testing.assert_allclose(now[name], then[name], rtol=0, atol=1e-6, err_msg=name)


def test_the_same_alerts_are_shown(then_and_now):
    then, now = then_and_now
    assert len(then["alerts"]) == 79 and set(then["alerts"][:, 2]) == {0, 1}, "falls and rises"
    np.testing.assert_array_equal(now["alerts"], then["alerts"])


def test_every_ledger_is_the_same_to_the_last_bit(then_and_now):
    """Without noise a round costs infinitely much; under caps, with noise, p, phi and coins have their finite cost."""
    then, now = then_and_now
    assert np.isinf(then["curves"]).any() and np.isfinite(then["capped_curves"]).all()
    assert np.unique(then["capped_curves"][:, :, 1:].any(axis=(0, 1, 3))).tolist() == [False, True], "all lines but one"
    for name in now:
        if name not in (*CLOSE, "alerts"):
            np.testing.assert_array_equal(now[name], then[name], err_msg=name)
