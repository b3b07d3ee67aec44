"""phi: the probability that a watched interest lapses, from a few readings of p and of silence.

    phi = sigmoid(readings @ weights)

The readings have fixed scales. Weights come in two steps: planted (public) people give their direction, and private
rounds learn two coefficients on top, an intercept and a slope, as Platt scaling does (Platt 1999, "Probabilistic outputs
for support vector machines", section 2). Two numbers need little noise, and keep the order that the readings give. phi
does without the CUSUM's statistics, and without a curve of many knots: neither gained (docs/learning.md).
"""

from __future__ import annotations

import numpy as np

from .arrays import Floats, as_declared
from .features import FeatureSpec
from .network import sigmoid

#: What phi looks at, in order: 1; logit p / 2; its change over `rate_steps`, / 2; steps since the last active one, in
#: windows; the same in the user's own intervals, / 5; the fast minus the slow average of activity.
READINGS = ("constant", "level", "rate", "silence", "own_silence", "fading")
#: What private rounds learn: intercept and slope.
N_COEFFICIENTS = 2

_FEATURES = ("recency", "recency_per_interval", "ewma_difference")
_LEAST_P = 0.01


@as_declared
def readings(features: FeatureSpec, x: Floats, p: Floats, p_before: Floats) -> Floats:
    """Readings (..., R) of feature rows x (..., F), with p (...,) now and p_before (...,) `rate_steps` earlier.

    A p that is NaN (never touched then) reads as p now: no change.
    """
    level = logit(p)
    before = np.where(np.isnan(p_before), level, logit(p_before))
    out = np.empty((*p.shape, len(READINGS)), np.float32)
    out[..., 0] = 1
    out[..., 1] = level / 2
    out[..., 2] = (level - before) / 2
    for i, name in enumerate(_FEATURES, start=3):
        out[..., i] = x[..., features.names.index(name)] / 2 + np.float32(0.5)
    return out


@as_declared
def logit(p: Floats) -> Floats:
    """log(p / (1 - p)) with p held in .01...99; NaN stays NaN.

    >>> [round(x, 2) for x in logit(np.array([0.5, 0.9, 1.0], np.float32)).tolist()]
    [0.0, 2.2, 4.6]
    """
    held: Floats = p.clip(np.float32(_LEAST_P), np.float32(1 - _LEAST_P))
    held /= 1 - held
    return np.log(held, out=held)


@as_declared
def phi(weights: Floats, read: Floats) -> Floats:
    """P(lapse), float32 (...,), of readings (..., R) under weights (R,); NaN where a reading is."""
    score: Floats = np.asarray(read @ weights.astype(np.float32), np.float32)
    return sigmoid(score)


@as_declared
def gradient(basis: Floats, coefficients: Floats, read: Floats, y: Floats, weight: Floats) -> Floats:
    """Gradient of sum_i weight_i bce(phi_i, y_i) in the coefficients: float32 (..., 2).

    basis (R, 2): weights = basis @ coefficients (2,). read (..., n, R), y and weight (..., n).
    """
    seen = read @ basis
    score: Floats = np.asarray(seen @ coefficients, np.float32)
    left = (sigmoid(score) - y) * weight
    out: Floats = (seen * left[..., None]).sum(axis=-2)
    return out
