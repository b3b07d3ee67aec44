"""Interest probabilities on the device: theta and feature rows in, p out, through the TFLite model."""

from __future__ import annotations

import numpy as np

from shared.arrays import Floats

from .runtime import Model

CHUNK_ROWS = 1024


class Scorer:
    """Scores rows under one theta (P,)."""

    def __init__(self, model: Model, theta: Floats) -> None:
        self._model, self._theta = model, theta

    def score(self, x: Floats) -> Floats:
        """p in [0, 1], float32 (...,), of rows x (..., F)."""
        rows = np.ascontiguousarray(x.reshape(-1, x.shape[-1]), dtype=np.float32)
        parts = [
            self._model.run("infer", x=rows[at : at + CHUNK_ROWS], theta=self._theta)["p"]
            for at in range(0, len(rows), CHUNK_ROWS)
        ]
        p = np.concatenate(parts) if parts else np.empty(0, np.float32)
        return p.reshape(x.shape[:-1])
