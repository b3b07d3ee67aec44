"""Opens the interest model in whichever TFLite runtime is installed; refuses a file that is not the pinned one.

Two runtimes do: ai-edge-litert (the default) and tflite-runtime 2.14, the last of its name, which needs numpy < 2.
TensorFlow is never imported.
"""

from __future__ import annotations

import hashlib
import importlib
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Floats
from shared.errors import ModelError

#: SHA-256 of client/model/interest.tflite, for features of version 1. A device runs no other file but the one below, whoever
#: offers it.
PINNED_SHA256 = "65a1708041cc21758f32b6e1d0f3b0a5cf95df260b0eb1eda2e4741353c23a7a"
MODEL_FILE = Path(__file__).parent / "interest.tflite"
#: And of client/model/interest_2.tflite, for features of version 2: the same network with more inputs.
PINNED_2_SHA256 = "9f7435baf4c8d0c7e1ba4f54f94ca473b03989918c2b37668360937d30803881"
MODEL_2_FILE = Path(__file__).parent / "interest_2.tflite"

_RUNTIMES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")


def model_file(version: int) -> Path:
    """The packaged model file for features of a version."""
    return MODEL_FILE if version == 1 else MODEL_2_FILE


def pinned_sha256(version: int) -> bytes:
    """Its SHA-256, 32 bytes."""
    return bytes.fromhex(PINNED_SHA256 if version == 1 else PINNED_2_SHA256)


def pinned_model(version: int = 1) -> bytes:
    """What is in it; ModelError if it is missing or not the pinned one."""
    file = model_file(version)
    try:
        data = file.read_bytes()
    except OSError:
        raise ModelError(f"expected the packaged model {file.name}: reinstall ebbtide") from None
    return verified(data)


def verified(data: bytes) -> bytes:
    """The same bytes, if their SHA-256 is pinned; ModelError otherwise."""
    digest = hashlib.sha256(data).hexdigest()
    if digest not in (PINNED_SHA256, PINNED_2_SHA256):
        pinned = f"{PINNED_SHA256[:12]}... or {PINNED_2_SHA256[:12]}..."
        raise ModelError(f"expected a model with SHA-256 {pinned}, got {digest[:12]}...")
    return data


def runtime_name() -> str:
    """Import name of the runtime in use; ModelError, with what to install, if there is none."""
    return str(_interpreter_module().__name__)


@lru_cache(maxsize=1)
def _interpreter_module() -> Any:
    problems = []
    for name in _RUNTIMES:
        if name.startswith("tflite_runtime") and int(np.__version__.split(".")[0]) >= 2:
            problems.append(f"tflite-runtime 2.14 needs numpy < 2, got {np.__version__}")
            continue
        try:
            return importlib.import_module(name)
        except ImportError as error:
            problems.append(f"{name}: {error}")
    raise ModelError(f"no TFLite runtime (pip install 'ebbtide[litert]'): {'; '.join(problems)}")


class Model:
    """One opened model file. Its signatures take and return numpy arrays; calls are serialised by a lock."""

    def __init__(self, data: bytes) -> None:
        interpreter = _interpreter_module().Interpreter(model_content=data, num_threads=1)
        self._signatures = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}
        missing = {"infer", "train", "fit"} - set(self._signatures)
        if missing:
            raise ModelError(f"expected signatures infer, train, fit; missing {sorted(missing)}")
        self._shapes = {
            name: {key: tuple(map(int, d["shape_signature"])) for key, d in runner.get_input_details().items()}
            for name, runner in self._signatures.items()
        }
        self._interpreter = interpreter  # its signatures live as long as it does
        self._lock = threading.Lock()

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many features, weights and hidden units the file is built for."""
        fit = self._shapes["fit"]
        return fit["x"][-1], fit["theta"][-1], fit["masks"][-1]

    def run(self, signature: str, **inputs: NDArray[Any] | np.float32) -> dict[str, Floats]:
        """Outputs of one signature, by name. ModelError for an input of another shape: the runtimes do not check, and
        read beyond a theta that is too short."""
        for name, shape in self._shapes[signature].items():
            got = np.shape(inputs[name])
            if len(got) != len(shape) or any(want not in (-1, n) for want, n in zip(shape, got, strict=True)):
                raise ModelError(f"expected {name} of shape {shape}, got {got}")
        with self._lock:
            return dict(self._signatures[signature](**inputs))


def open_model(data: bytes) -> Model:
    """The opened model, kept: creating an interpreter costs more than a round of training. ModelError unless it is the
    pinned file, whenever it is used: what was pinned when it arrived may not be any more."""
    return _opened(verified(data))


@lru_cache(maxsize=2)
def _opened(data: bytes) -> Model:
    return Model(data)
