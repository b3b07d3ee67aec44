"""Slope and intercept of a head, set again on planted (public) people when its rounds have moved it.

Train weeks come early in what a data set holds: nobody is known for long then, and turns are rarer than they will be. What a head learns
of the order of its rows holds later on, how likely turns are on the whole does not, and clipping makes that worse. Planted people are
known in all of time. It is post-processing of private sums and of nobody's data: it costs no epsilon, and changes no order.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from shared.arrays import Doubles, Floats, as_declared, hold_declared
from shared.errors import ConfigError
from shared.files import replacing
from shared.register.heads_plan import N_INPUTS

from .logistic import logistic


@dataclass(frozen=True)
class PublicTurns:
    """Rows of a head of people who are no secret: standardised inputs z (n, 28), and whether the turn followed, y (n,): 1 or 0."""

    z: Floats
    y: Floats

    def __post_init__(self) -> None:
        hold_declared(self)
        if self.z.shape != (len(self.y), N_INPUTS) or not (len(self.y) and np.isfinite(self.z).all()):
            raise ConfigError(
                f"expected finite rows of {N_INPUTS} inputs with a label each, got {self.z.shape} and {self.y.shape}"
            )
        if not (np.isin(self.y, (0, 1)).all() and 0 < self.y.mean() < 1):
            raise ConfigError("expected labels 0 and 1, some of each, of public rows of heads")

    @classmethod
    def load(cls, file: Path) -> PublicTurns:
        """From an .npz file with z and y; ConfigError if they are not there, or no such rows."""
        try:
            with np.load(file) as arrays:
                z, y = (arrays[name].astype(np.float32) for name in ("z", "y"))
        except (OSError, EOFError, BadZipFile, KeyError, TypeError, ValueError):
            raise ConfigError(f"expected z and y in {file.name}") from None
        return cls(z, y)

    def save(self, file: Path) -> None:
        """Whole or not at all."""
        with replacing(file) as out:
            np.savez(out, z=self.z, y=self.y)

    @as_declared
    def calibrated(self, weights: Doubles) -> Doubles:
        """Weights (28,) that order all rows as these do, and say of these people's turns what came of them: a slope and an intercept by
        logistic regression. Weights whose order is the wrong way round among them stay as they are."""
        score = self.z.astype(np.float64) @ weights
        centre, spread = float(score.mean()), float(score.std()) or 1.0
        standardised = np.stack([(score - centre) / spread, np.ones(len(score))], axis=1)
        slope, intercept = logistic(standardised, self.y, np.zeros(2))
        if slope <= 0:
            return weights
        out: Doubles = slope / spread * weights
        out[-1] += intercept - slope * centre / spread
        return out
