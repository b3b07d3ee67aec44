"""Where phi's private rounds start, from public (planted) people: directions, coefficients, curvature.

Planted people say how the readings hang together; private rounds only have to find an intercept and a slope. Their
Newton steps use the planted people's curvature (the Hessian of a logistic regression), which is public, so a noisy mean
gradient is the only thing that touches anybody's data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Doubles, Floats, as_declared, hold_declared
from shared.errors import ConfigError
from shared.files import replacing
from shared.lapse_risk import N_COEFFICIENTS, READINGS, readings
from shared.network import forward
from shared.plan import Plan

from .logistic import curvature_of, logistic

#: Added to the curvature, so that noise in a direction of little curvature moves nothing far.
DAMPING = 0.005


@dataclass(frozen=True)
class PublicRows:
    """Lapse rows of people who are no secret: x and x_before (n, F), `rate_steps` apart, y (n,): a lapse followed."""

    x: Floats
    x_before: Floats
    y: Floats

    def __post_init__(self) -> None:
        hold_declared(self)

    @classmethod
    def load(cls, file: Path) -> PublicRows:
        """From an .npz file with x, x_before and y; ConfigError if they are not there, or not of one length."""
        try:
            with np.load(file) as arrays:
                rows = cls(*(arrays[name].astype(np.float32) for name in ("x", "x_before", "y")))
        except (OSError, EOFError, BadZipFile, KeyError, TypeError, ValueError):
            raise ConfigError(f"expected x, x_before and y in {file.name}") from None
        if not (rows.x.shape == rows.x_before.shape and rows.x.shape[:1] == rows.y.shape and len(rows.y)):
            raise ConfigError(f"expected rows of one length in {file.name}, got {rows.x.shape} and {rows.y.shape}")
        return rows

    def save(self, file: Path) -> None:
        """Whole or not at all."""
        with replacing(file) as out:
            np.savez(out, x=self.x, x_before=self.x_before, y=self.y)


@dataclass(frozen=True)
class RiskStart:
    """basis (R, 2) and coefficients (2,), whose product are phi's weights; `newton` (2, 2) turns a gradient into a step."""

    basis: Floats
    coefficients: Floats
    newton: Doubles

    def __post_init__(self) -> None:
        hold_declared(self)

    @classmethod
    @as_declared
    def learn(cls, public: PublicRows, plan: Plan, theta: Floats) -> RiskStart:
        """From public rows, whose p this theta makes. The slope's direction is the public phi's logit, standardised."""
        p, p_before = (forward(plan.network, theta, x) for x in (public.x, public.x_before))
        read = readings(plan.features, public.x, p, p_before).astype(np.float64)
        weights = logistic(read, public.y, np.zeros(len(READINGS)))
        score = read @ weights
        centre, scale = float(score.mean()), max(float(score.std()), 1e-6)
        basis = np.zeros((len(READINGS), N_COEFFICIENTS))
        basis[0, 0] = 1
        basis[:, 1] = weights / scale
        basis[0, 1] -= centre / scale
        curvature = curvature_of(read @ basis, np.array([centre, scale])) + DAMPING * np.eye(N_COEFFICIENTS)
        start = np.array([centre, scale], np.float32)
        return cls(basis.astype(np.float32), start, np.linalg.inv(curvature).astype(np.float64))

    @as_declared
    def weights(self, coefficients: NDArray[np.floating]) -> Floats:
        """phi's weights (R,) under some coefficients (2,)."""
        out: Floats = (self.basis.astype(np.float64) @ coefficients).astype(np.float32)
        return out
