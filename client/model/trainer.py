"""Local training on the device: one call of the model's `fit` signature."""

from __future__ import annotations

import numpy as np

from shared.arrays import Doubles, Floats
from shared.plan import LocalTraining

from .runtime import Model
from .training_rows import Batches


class LocalTrainer:
    """Runs a device's batches through TFLite."""

    def __init__(self, model: Model, training: LocalTraining) -> None:
        self._model, self._training = model, training

    def raw_delta(self, theta: Floats, work: Batches) -> Doubles:
        """Theta after the local work minus theta before: float64 (P,). Raw: it has to be protected before it leaves."""
        n_steps, n_rows, n_features = work.x.shape
        fitted = self._model.run(
            "fit",
            x=work.x.reshape(-1, n_features),
            y=work.y.reshape(-1),
            weight=work.weight.reshape(-1),
            rows=np.arange(n_steps * n_rows, dtype=np.int32).reshape(n_steps, n_rows),
            masks=work.masks,
            theta=theta,
            learning_rate=np.float32(self._training.learning_rate),
            l2=np.float32(self._training.l2),
        )["fitted"]
        return fitted[:-1].astype(np.float64) - theta
