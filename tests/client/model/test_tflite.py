"""The model file against Keras, in both runtimes, in processes of their own where TensorFlow is not.

Three environments take part: TensorFlow's (EBBTIDE_EXPORT_PYTHON) computes the reference and builds the file anew, this
one (ai-edge-litert) and tflite-runtime's (EBBTIDE_TFLITE_PYTHON) check it. `make test` makes all three and demands them
with EBBTIDE_REQUIRE_RUNTIMES=1; without that, a test whose environment is missing is skipped.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from client.model.runtime import model_file, pinned_sha256

ROOT = Path(__file__).parents[3]
TOLERANCE = 1e-5

pytestmark = pytest.mark.slow

#: What a device consists of, tested where only a device's dependencies are.
DEVICE_TESTS = [
    "tests/client/detection/test_alert_budget.py",
    "tests/client/detection/test_cusum.py",
    "tests/client/vault/test_data_on_device.py",
    "tests/client/detection/test_detectors.py",
    "tests/client/test_device.py",
    "tests/client/test_state.py",
    "tests/client/test_gate.py",
    "tests/client/vault/test_journal.py",
    "tests/client/vault/test_keys.py",
    "tests/promises/test_kill9.py",
    "tests/client/test_owner.py",
    "tests/shared/test_lapse_risk.py",
    "tests/client/model/test_training_rows.py",
    "tests/client/model/test_runtime.py",
    "tests/client/model/test_scorer.py",
    "tests/client/vault/test_store.py",
    "tests/client/vault/test_store_faults.py",
    "tests/client/model/test_trainer.py",
    "tests/client/vault/test_vault.py",
    "tests/client/test_version_2.py",
    "tests/client/detection/test_watch.py",
]


def python_of(variable: str, default: str) -> str:
    """The interpreter of another environment; the test is skipped, or fails if it is demanded, where there is none."""
    path = Path(os.environ.get(variable) or ROOT / default)
    if path.exists():
        return str(path)
    reason = f"no environment at {default} and none named by {variable} (`make test` makes one)"
    if os.environ.get("EBBTIDE_REQUIRE_RUNTIMES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def run(python: str, *arguments: str) -> str:
    """What a module prints, run from the repository's root in another process."""
    done = subprocess.run([python, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def tflite_python() -> str:
    return python_of("EBBTIDE_TFLITE_PYTHON", ".venv-tflite/bin/python")


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    """A folder with what Keras computes and a model file that was just built."""
    folder = tmp_path_factory.mktemp("reference")
    export_python = python_of("EBBTIDE_EXPORT_PYTHON", ".venv-export/bin/python")
    run(export_python, "-m", "tests.client.model.tflite.make_reference", str(folder))
    return folder


@pytest.fixture(scope="module", params=["ai_edge_litert", "tflite_runtime"])
def checked(request, reference) -> dict:
    """Largest differences as one runtime finds them."""
    python = sys.executable if request.param == "ai_edge_litert" else request.getfixturevalue("tflite_python")
    found = json.loads(run(python, "-m", "tests.client.model.tflite.check_runtime", str(reference)))
    assert found["runtime"] == f"{request.param}.interpreter"
    assert found["foreign_modules"] == [], "TensorFlow, Flower and the server are not imported"
    return found


@pytest.mark.parametrize("version", [1, 2])
def test_the_pinned_hash_is_the_committed_file_s(version):
    assert hashlib.sha256(model_file(version).read_bytes()).digest() == pinned_sha256(version)
    assert model_file(version).stat().st_size < 64 * 1024


def test_the_file_built_anew_has_the_committed_one_s_operators_and_only_builtin_ones(reference):
    operators = json.loads((reference / "operators.json").read_text(encoding="utf-8"))
    assert operators["committed"] == operators["rebuilt"]
    graphs = operators["committed"]
    assert len(graphs) == 5, "infer, train, fit, and the condition and body of fit's loop"
    every = [operator for graph in graphs for operator in graph]
    assert len(every) > 100
    assert not [o for o in every if o["custom"] is not None or o["name"].startswith(("CUSTOM", "FLEX", "PLACEHOLDER"))]
    assert sum(o["name"] == "WHILE" for o in every) == 1
    assert not [o for o in every if o["name"] in ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE")], (
        "theta is an input, not a variable"
    )


def test_scores_equal_keras_and_numpy(checked):
    assert checked["infer_keras"] <= TOLERANCE
    assert checked["infer_numpy"] <= TOLERANCE
    assert checked["infer_rebuilt"] <= TOLERANCE


@pytest.mark.parametrize("dropout", ["plain", "masked"])
def test_five_epochs_of_sgd_with_l2_equal_keras_and_numpy(checked, dropout):
    found = checked[dropout]
    assert found["moved"] > 0.1, "five epochs moved the weights: the comparison says something"
    for way in ("fit", "fit_rebuilt", "train", "numpy", "numpy_tflite"):
        assert found[way] <= TOLERANCE, way


@pytest.mark.parametrize("dropout", ["plain", "masked"])
def test_learning_rate_0_returns_theta_unchanged(checked, dropout):
    assert checked[dropout]["rate_0"] == 0


def test_the_device_s_own_tests_pass_under_tflite_runtime(tflite_python):
    assert all((ROOT / file).exists() for file in DEVICE_TESTS)
    check = "import importlib.util as u, client.model.runtime as r; print(r.runtime_name(), u.find_spec('tensorflow'))"
    assert run(tflite_python, "-c", check).split() == ["tflite_runtime.interpreter", "None"]
    out = run(tflite_python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", *DEVICE_TESTS)
    assert " passed" in out and "failed" not in out and "skipped" not in out
