"""The adapter of the TFLite runtimes: the pinned file and no other, shapes checked, errors that say what to do."""

import hashlib
import importlib

import numpy as np
import pytest

from client.model import runtime
from client.model.runtime import (
    MODEL_FILE,
    PINNED_SHA256,
    Model,
    model_file,
    open_model,
    pinned_model,
    pinned_sha256,
    runtime_name,
    verified,
)
from shared.errors import ModelError
from shared.features import FeatureSpec, Richer
from shared.network import NetworkSpec, forward, gradient
from tests.world.basics import NETWORK, activity_theta


@pytest.mark.parametrize("version", [1, 2])
def test_the_committed_file_is_the_pinned_one(version):
    data = model_file(version).read_bytes()
    assert hashlib.sha256(data).digest() == pinned_sha256(version)
    assert pinned_model(version) == verified(data) == data
    assert (model_file(1), pinned_sha256(1)) == (MODEL_FILE, bytes.fromhex(PINNED_SHA256)) and pinned_model(
        1
    ) == pinned_model()


def test_any_other_file_is_refused():
    data = bytearray(pinned_model())
    data[len(data) // 2] ^= 1
    for wrong in (bytes(data), pinned_model() + b"\0", pinned_model()[:-1], b""):
        with pytest.raises(ModelError, match="SHA-256"):
            verified(wrong)


def test_a_missing_file_is_a_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "MODEL_FILE", tmp_path / "interest.tflite")
    with pytest.raises(ModelError, match=r"interest\.tflite"):
        pinned_model()


@pytest.mark.parametrize(("version", "network"), [(1, NETWORK), (2, NetworkSpec(87))])
def test_the_model_is_built_for_the_product_s_network(version, network):
    model = open_model(pinned_model(version))
    assert model.sizes == (network.n_features, network.n_parameters, network.n_hidden)
    assert open_model(pinned_model(version)) is model, "an interpreter is kept, not made again"
    assert FeatureSpec(12).n_features == NETWORK.n_features
    assert FeatureSpec(12, more=Richer(4, 1.0, 1.0, 1.0, 1.0)).n_features == 87


def test_the_model_of_version_2_scores_and_trains_as_the_network_does():
    model, network = open_model(pinned_model(2)), NetworkSpec(87)
    random = np.random.default_rng(3)
    theta, x = network.initial_theta(4), random.normal(size=(50, 87)).astype(np.float32)
    np.testing.assert_allclose(model.run("infer", x=x, theta=theta)["p"], forward(network, theta, x), atol=1e-6)
    y, weight = (random.random(50) < 0.3).astype(np.float32), np.full(50, 1 / 50, np.float32)
    rows, masks = np.arange(50, dtype=np.int32)[None], np.ones((1, 50, 48), np.float32)
    rates = {"learning_rate": np.float32(0.5), "l2": np.float32(0)}
    found = model.run("fit", x=x, y=y, weight=weight, rows=rows, masks=masks, theta=theta, **rates)["fitted"][:-1]
    np.testing.assert_allclose(found, theta - 0.5 * gradient(network, theta, x, y, weight), atol=1e-6)


@pytest.mark.parametrize(
    ("x", "theta"),
    [((3, 27), (1440,)), ((3, 27), (1442,)), ((3, 27), (1, 1441)), ((3, 26), (1441,)), ((27,), (1441,)), ((3, 27), ())],
)
def test_inputs_of_another_shape_never_reach_the_runtime(x, theta):
    """Both runtimes take a theta that is too short, and read beyond its end."""
    model = open_model(pinned_model())
    with pytest.raises(ModelError, match="of shape"):
        model.run("infer", x=np.zeros(x, np.float32), theta=np.zeros(theta, np.float32))
    p = model.run("infer", x=np.zeros((2, 27), np.float32), theta=activity_theta())["p"]
    assert p.shape == (2,) and np.isfinite(p).all()


def test_without_a_runtime_the_error_says_what_to_install(monkeypatch):
    def no_module(name: str):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", no_module)
    runtime._interpreter_module.cache_clear()
    try:
        with pytest.raises(ModelError, match="pip install"):
            runtime_name()
        with pytest.raises(ModelError, match="no TFLite runtime"):
            Model(pinned_model())
    finally:
        runtime._interpreter_module.cache_clear()


def test_tflite_runtime_is_not_tried_with_numpy_2(monkeypatch):
    tried = []

    def no_module(name: str):
        tried.append(name)
        raise ImportError

    monkeypatch.setattr(importlib, "import_module", no_module)
    monkeypatch.setattr(np, "__version__", "2.4.0")
    runtime._interpreter_module.cache_clear()
    try:
        with pytest.raises(ModelError, match="numpy < 2, got 2.4.0"):
            runtime_name()
    finally:
        runtime._interpreter_module.cache_clear()
    assert tried == ["ai_edge_litert.interpreter"]


def test_a_file_that_is_no_interest_model_is_refused(monkeypatch):
    class Empty:
        def __init__(self, **_):
            pass

        def get_signature_list(self):
            return {"infer": {}}

        def get_signature_runner(self, name):
            return self

    monkeypatch.setattr(runtime, "_interpreter_module", lambda: type("module", (), {"Interpreter": Empty}))
    with pytest.raises(ModelError, match="missing"):
        Model(b"")
