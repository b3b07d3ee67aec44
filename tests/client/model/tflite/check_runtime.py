"""Runs where TensorFlow is not: `python -m tests.client.model.tflite.check_runtime FOLDER` prints the largest differences as JSON.

The same script runs in ai-edge-litert's environment and in tflite-runtime's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from client.model.runtime import Model, pinned_model, runtime_name
from shared.network import NetworkSpec, fit, forward


def difference(a, b) -> float:
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max())


def main(folder: Path) -> dict[str, object]:
    r = np.load(folder / "reference.npz")
    spec, x, y, theta = NetworkSpec(27), r["x"], r["y"], r["theta"]
    batch, steps = int(r["batch"]), int(r["steps"])
    rates = {"learning_rate": np.float32(r["learning_rate"]), "l2": np.float32(r["l2"])}
    rows = np.tile(np.arange(len(x), dtype=np.int32).reshape(-1, batch), (steps * batch // len(x), 1))
    weight = np.full(len(x), 1 / batch, np.float32)
    masks = {"plain": np.ones((len(x), spec.n_hidden), np.float32), "masked": r["mask"]}
    model, rebuilt = Model(pinned_model()), Model((folder / "rebuilt.tflite").read_bytes())
    out: dict[str, object] = {"runtime": runtime_name(), "numpy": np.__version__}
    out["infer_keras"] = difference(model.run("infer", x=x, theta=theta)["p"], r["p"])
    out["infer_numpy"] = difference(forward(spec, theta, x), r["p"])
    out["infer_rebuilt"] = difference(rebuilt.run("infer", x=x, theta=theta)["p"], r["p"])
    for name, mask in masks.items():
        data = {"x": x, "y": y, "weight": weight, "rows": rows, "masks": mask[rows], "theta": theta}
        fitted = model.run("fit", **data, **rates)["fitted"][:-1]
        again = rebuilt.run("fit", **data, **rates)["fitted"][:-1]
        stepped = theta
        for pick in rows:
            one = {"x": x[pick], "y": y[pick], "weight": weight[pick], "mask": mask[pick], "theta": stepped}
            stepped = model.run("train", **one, **rates)["theta"]
        settings = {k: float(v) for k, v in rates.items()}
        ours = fit(spec, theta, x[rows], y[rows], weight[rows], masks=mask[rows], **settings)
        still = model.run("fit", **data, learning_rate=np.float32(0), l2=rates["l2"])["fitted"][:-1]
        keras = r[f"theta_{name}"]
        out[name] = {
            "moved": difference(theta, keras),
            "fit": difference(fitted, keras),
            "fit_rebuilt": difference(again, keras),
            "train": difference(stepped, keras),
            "numpy": difference(ours, keras),
            "numpy_tflite": difference(ours, fitted),
            "rate_0": difference(still, theta),
        }
    out["foreign_modules"] = sorted(m for m in ("tensorflow", "keras", "flwr", "server") if m in sys.modules)
    return out


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
