"""Logistic regression of a few numbers on public rows: its weights, and how its loss curves."""

from __future__ import annotations

import numpy as np

from shared.arrays import Doubles, Floats, as_declared

RIDGE = 1e-4
NEWTON_STEPS = 25


@as_declared
def logistic(x: Doubles, y: Floats, weights: Doubles) -> Doubles:
    """Weights of a ridge logistic regression, by Newton's method."""
    ridge = RIDGE * np.eye(x.shape[1])
    for _ in range(NEWTON_STEPS):
        p = 1 / (1 + np.exp(-(x @ weights)))
        slope = x.T @ (p - y) / len(y) + ridge @ weights
        weights = weights - np.linalg.solve(curvature_of(x, weights) + ridge, slope)
    return weights


@as_declared
def curvature_of(x: Doubles, weights: Doubles) -> Doubles:
    """Hessian of the mean log loss, (n, k) and (k,) -> (k, k)."""
    p = 1 / (1 + np.exp(-(x @ weights)))
    out: Doubles = (x * (p * (1 - p))[:, None]).T @ x / len(x)
    return out
