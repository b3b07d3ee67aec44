"""Runs where TensorFlow is: `python -m tests.client.model.tflite.make_reference FOLDER` writes what Keras computes, the model file built
anew, and the operators of the committed and of the new file.

The other side is `check_runtime.py`, which runs where TensorFlow is not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from client.model.runtime import MODEL_FILE
from server.export import build, keras_model, tf
from shared.network import NetworkSpec

EPOCHS, BATCH, N_ROWS, LEARNING_RATE, L2, KEEP = 5, 16, 256, 0.1, 1e-3, 0.8


def flat(model) -> np.ndarray:
    return np.concatenate([w.ravel() for w in model.get_weights()]).astype(np.float32)


def operators(data: bytes) -> list[list[dict[str, object]]]:
    """Every operator of every subgraph in order, read with the schema that TensorFlow ships."""
    from tensorflow.lite.python import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    model = schema.Model.GetRootAs(data, 0)

    def describe(operator) -> dict[str, object]:
        code = model.OperatorCodes(operator.OpcodeIndex())
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        custom = code.CustomCode()
        return {"name": names[builtin], "version": code.Version(), "custom": custom and custom.decode()}

    graphs = [model.Subgraphs(i) for i in range(model.SubgraphsLength())]
    return [[describe(graph.Operators(i)) for i in range(graph.OperatorsLength())] for graph in graphs]


def main(folder: Path) -> None:
    spec = NetworkSpec(27)
    random = np.random.default_rng(0)
    x = random.normal(size=(N_ROWS, spec.n_features)).astype(np.float32)
    truth = random.normal(size=spec.n_features)
    y = (1 / (1 + np.exp(-x @ truth)) > random.random(N_ROWS)).astype(np.float32)
    steps = EPOCHS * N_ROWS // BATCH
    mask = (random.random((N_ROWS, spec.n_hidden)) < KEEP).astype(np.float32) / np.float32(KEEP)
    out = {"x": x, "y": y, "mask": mask, "learning_rate": LEARNING_RATE, "l2": L2, "batch": BATCH, "steps": steps}

    tf.keras.utils.set_random_seed(1)
    plain = keras_model(spec, l2=L2)
    theta = flat(plain)
    out |= {"theta": theta, "p": plain.predict(x, verbose=0)[:, 0]}
    masked = keras_model(spec, l2=L2, masked=True)
    for name, model, inputs in (("plain", plain, x), ("masked", masked, [x, mask])):
        model.set_weights([np.asarray(w) for w in spec.split(theta)])
        model.compile(tf.keras.optimizers.SGD(LEARNING_RATE), "binary_crossentropy")
        history = model.fit(inputs, y, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0)
        out |= {f"theta_{name}": flat(model), f"loss_{name}": history.history["loss"]}
    np.savez(folder / "reference.npz", **out)
    rebuilt = build(spec)
    (folder / "rebuilt.tflite").write_bytes(rebuilt)
    found = {"committed": operators(MODEL_FILE.read_bytes()), "rebuilt": operators(rebuilt)}
    (folder / "operators.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
