"""What heads say of interests: the chance of a lapse, and of a take-off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..arrays import Floats, as_declared, hold_declared
from ..errors import ConfigError
from ..features import FeatureSpec
from ..network import sigmoid
from ..register.heads_plan import N_INPUTS
from .inputs import BOUND, raw_inputs
from .start import TASKS, HeadsStart

#: p (...,) of rows x (..., F) by a network with these weights theta (P,).
Score = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class Heads:
    """Heads as of one round: where they started, the log popularity (C,) of the categories, weights (2, 28) of standardised
    inputs, in the order of `TASKS`."""

    start: HeadsStart
    popularity: Floats
    weights: Floats

    def __post_init__(self) -> None:
        hold_declared(self)
        if self.weights.shape != (len(TASKS), N_INPUTS) or self.popularity.ndim != 1:
            raise ConfigError(
                f"expected weights of shape {(len(TASKS), N_INPUTS)} and a popularity of each category, got shapes "
                f"{self.weights.shape} and {self.popularity.shape}"
            )
        if not (np.isfinite(self.weights).all() and np.isfinite(self.popularity).all()):
            raise ConfigError("expected finite weights and popularity of heads")

    @as_declared
    def inputs(self, features: FeatureSpec, score: Score, x: Floats, popularity: Floats) -> Floats:
        """Standardised inputs (..., 28) of rows x (..., F) of categories of this log popularity (...,), the last one 1. The networks
        look at the columns of version 1."""
        p = np.stack([score(theta, x[..., : features.n_of_version_1]) for theta in self.start.networks])
        raw = raw_inputs(features, x, p, popularity)
        out = np.ones((*raw.shape[:-1], N_INPUTS), np.float32)
        np.clip((raw - self.start.centre) / self.start.scale, -BOUND, BOUND, out=out[..., :-1])
        return out

    @as_declared
    def chances(self, z: Floats) -> Floats:
        """P(turn) by task, (2, ...), of standardised inputs (..., 28)."""
        return np.moveaxis(sigmoid(np.asarray(z @ self.weights.T, np.float32)), -1, 0)

    @as_declared
    def read(self, features: FeatureSpec, score: Score, x: Floats) -> Floats:
        """P(turn) by task, (2, ..., C), of rows x (..., C, F) of every category."""
        popularity = np.broadcast_to(self.popularity, x.shape[:-1])
        return self.chances(self.inputs(features, score, x, popularity))
