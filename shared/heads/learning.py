"""What one device adds to a round that learns heads, before the noise: the curvature of its loss, or its gradient.

Each head has its own clip, in the units of what it sends, and its share of one contribution: what leaves has an L2 norm of at most 1
whatever a device's rows are, since the shares' squares add up to no more. Curvature is that of a logistic loss with odds that are
held off 0, so that rows which are nearly certain count, too; as the upper triangle of a matrix whose other entries weigh sqrt 2, its
L2 norm is the matrix's Frobenius norm.

The rounds move whitened coefficients u, of which the weights are `start + basis @ u`: noise that is alike in all directions of u
harms each direction of the weights as much as it is known (docs/learning.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import Doubles, Floats, as_declared, hold_declared
from ..network import sigmoid
from ..register.heads_plan import HeadsPlan
from .symmetric import packed

#: p (1 - p) counts as at least that.
LEAST_VARIANCE = 0.01


@dataclass(frozen=True)
class HeadRows:
    """Rows of one head, of any number of devices: standardised inputs z (..., m, 28), labels y (..., m), and which of them are
    `real` (..., m), 1 or 0. Raw behaviour: the repr shows only how many."""

    z: Floats
    y: Floats
    real: Floats

    def __post_init__(self) -> None:
        hold_declared(self)

    def __repr__(self) -> str:
        return f"HeadRows(<raw> shape={self.y.shape})"


@as_declared
def curvature_vectors(plan: HeadsPlan, rows: Sequence[HeadRows], weights: Floats) -> Doubles:
    """What devices add to the sum of curvature, (..., 2 * 406): of both heads' rows, in the order of `TASKS`, at weights (2, 28).

    Guarantees. The L2 norm of each device's vector is at most 1.
    """
    parts = [
        clipped(raw_curvature(mine.z, at, mine.real, head.per), head.curvature_clip, head.share)
        for head, mine, at in zip(plan.heads, rows, weights, strict=True)
    ]
    return np.concatenate(parts, axis=-1)


@as_declared
def update_vectors(
    plan: HeadsPlan, rows: Sequence[HeadRows], start: Floats, basis: Floats, coefficients: Floats
) -> Doubles:
    """What devices add to a round of updates, (..., 2 * 28), at weights start + basis @ coefficients: start and coefficients
    (2, 28), basis (2, 28, 28).

    Guarantees. The L2 norm of each device's vector is at most 1.
    """
    parts = [
        clipped(raw_update(mine.z, mine.y, begin, way, at, mine.real, head.per), head.gradient_clip, head.share)
        for head, mine, begin, way, at in zip(plan.heads, rows, start, basis, coefficients, strict=True)
    ]
    return np.concatenate(parts, axis=-1)


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
