"""What one device adds to a round that learns heads, before the noise: the curvature of its loss, or its gradient.

Each head has its own clip, in the units of what it sends, and its share of one contribution: what leaves has an L2 norm of at most 1
whatever a device's rows are, since the shares' squares add up to no more. Curvature is that of a logistic loss with odds that are
held off 0, so that rows which are nearly certain count, too; as the upper triangle of a matrix whose other entries weigh sqrt 2, its
L2 norm is the matrix's Frobenius norm.

The rounds move whitened coefficients u, of which the weights are `start + basis @ u`: noise that is alike in all directions of u
harms each direction of the weights as much as it is known (docs/learning.md).
"""

from __future__ import annotations

import numpy as np

from ..arrays import Doubles, Floats, as_declared
from ..network import sigmoid
from .symmetric import packed

#: p (1 - p) counts as at least that.
LEAST_VARIANCE = 0.01


@as_declared
def clipped(vector: Doubles, clip: float, share: float) -> Doubles:
    """Vectors (..., n) in units of the clip, none longer than the root of the `share`: sensitivity^2 of one head in a contribution."""
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    out: Doubles = vector * (np.sqrt(share) / np.maximum(length, clip))
    return out


@as_declared
def raw_curvature(z: Floats, weights: Floats, real: Floats, per: float) -> Doubles:
    """The curvature, `packed` (..., n (n + 1) / 2), of the loss of rows z (..., m, n) at weights (n,): sum of q z z^T with
    q = max(p (1 - p), LEAST_VARIANCE) / per, of rows that are `real` (..., m), 1 or 0."""
    p = sigmoid(np.asarray(z @ weights, np.float32))
    q = np.maximum(p * (1 - p), LEAST_VARIANCE) * real / np.float32(per)
    return packed(np.swapaxes(z * q[..., None], -1, -2).astype(np.float64) @ z)


@as_declared
def raw_update(
    z: Floats, y: Floats, start: Floats, basis: Floats, coefficients: Floats, real: Floats, per: float
) -> Doubles:
    """Minus the gradient in u (..., n) of the loss of rows z (..., m, n) with labels y (..., m), at weights start + basis @ u
    (n,), summed over rows that are `real` (..., m) and divided by `per`."""
    p = sigmoid(np.asarray(z @ (start + basis @ coefficients), np.float32))
    left = (y - p) * real / np.float32(per)
    out: Doubles = (left[..., None, :] @ z)[..., 0, :].astype(np.float64) @ basis
    return out
