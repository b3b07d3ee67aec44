"""Runs where TensorFlow is: `python -m tests.tflite.make_reference FOLDER` writes what Keras computes, and a rebuilt model.

The other side is `check_runtime.py`, which runs where TensorFlow is not.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from server.export import build, keras_model, tf
from shared.network import NetworkSpec

EPOCHS, BATCH, N_ROWS, LEARNING_RATE, L2, KEEP = 5, 16, 256, 0.1, 1e-3, 0.8


def flat(model) -> np.ndarray:
    return np.concatenate([w.ravel() for w in model.get_weights()]).astype(np.float32)


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
    (folder / "rebuilt.tflite").write_bytes(build(spec))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
