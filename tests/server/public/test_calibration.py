"""Public people say slope and intercept of the head of lapses: nothing of an order changes, and rates are theirs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.public.calibration import PublicTurns
from server.state import ServerFolder
from server.training import train
from shared.errors import ConfigError
from shared.network import sigmoid
from shared.register.heads_plan import N_INPUTS
from tests.server.heads.test_head_rounds import Devices, plan_of, settings_for
from tests.world.basics import examples


def people(seed: int = 0, n: int = 4000) -> PublicTurns:
    """Whose turns follow the first two inputs, one in five."""
    random = np.random.default_rng(seed)
    z = np.concatenate([random.normal(size=(n, N_INPUTS - 1)), np.ones((n, 1))], axis=1).astype(np.float32)
    y = random.random(n) < sigmoid((0.9 * z[:, 0] - 0.6 * z[:, 1] - 1.6).astype(np.float32))
    return PublicTurns(z, y.astype(np.float32))


@given(st.integers(0, 10**6), st.floats(0.05, 5), st.floats(-4, 4))
@examples(40)
def test_whatever_slope_and_intercept_rounds_left_the_same_come_out(seed: int, slope: float, intercept: float) -> None:
    rows, random = people(), np.random.default_rng(seed)
    weights = np.zeros(N_INPUTS)
    weights[:2] = 0.9, -0.6
    weights += random.normal(scale=0.1, size=N_INPUTS)
    other = slope * weights
    other[-1] += intercept
    ours, theirs = rows.calibrated(weights), rows.calibrated(other)
    np.testing.assert_allclose(rows.z @ ours, rows.z @ theirs, atol=0.02)
    p = sigmoid((rows.z @ ours).astype(np.float32))
    assert abs(p.mean() - rows.y.mean()) < 1e-3, "as likely on the whole as it was"
    before, after = rows.z @ weights, rows.z @ ours
    assert (np.argsort(before, kind="stable") == np.argsort(after, kind="stable")).mean() > 0.999


def test_an_order_that_is_the_wrong_way_round_is_left_alone() -> None:
    weights = np.zeros(N_INPUTS)
    weights[0] = -1
    np.testing.assert_array_equal(people().calibrated(weights), weights)


def test_rows_come_back_from_their_file_and_no_others_do(tmp_path) -> None:
    rows, file = people(n=50), tmp_path / "rows.npz"
    rows.save(file)
    again = PublicTurns.load(file)
    np.testing.assert_array_equal(again.z, rows.z)
    np.testing.assert_array_equal(again.y, rows.y)
    for damage in (b"", b"PK\x03\x04 half"):
        file.write_bytes(damage)
        with pytest.raises(ConfigError, match=r"expected z and y in rows\.npz"):
            PublicTurns.load(file)
    with pytest.raises(ConfigError, match="expected z and y"):
        PublicTurns.load(tmp_path / "none.npz")
    for wrong in (
        {"z": rows.z[:, :-1]},
        {"z": rows.z[:-1]},
        {"z": np.full_like(rows.z, np.nan)},
        {"y": rows.y * 2},
        {"y": rows.y * 0},
    ):
        with pytest.raises(ConfigError, match="expected"):
            replace(rows, **wrong)


def test_what_is_published_of_lapses_is_calibrated_and_of_takeoffs_as_rounds_left_it(tmp_path) -> None:
    plan, rows = plan_of(), people()
    settings = settings_for(tmp_path, plan)
    models = {}
    for name, public in (("with", rows), ("without", None)):
        heads = replace(settings.heads, public_lapses=public)
        folder, devices = ServerFolder(tmp_path / name), Devices(tmp_path / name, plan)
        train(devices, settings_for(tmp_path / name, plan, heads=heads), folder)
        models[name] = folder.models("heads").reshape(-1, 2, N_INPUTS).astype(np.float64)
        models[name, "asked"] = [fields["coefficients"] for kind, fields in devices.requests if kind == "head_request"]
    assert models["with", "asked"] == models["without", "asked"], "devices are asked at what rounds left"
    np.testing.assert_array_equal(models["with"][0], models["without"][0])
    np.testing.assert_array_equal(models["with"][:, 1], models["without"][:, 1])
    for ours, left in zip(models["with"][1:, 0], models["without"][1:, 0], strict=True):
        np.testing.assert_allclose(ours, rows.calibrated(left), rtol=1e-5, atol=1e-5)
