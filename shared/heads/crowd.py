"""What everybody does, from one sum: how popular categories are, and which of them go together.

A device adds S = v v^T, where v_c^2 is the share of category c in all that its user did. Its Frobenius norm is |v|^2 = 1, so nobody
moves the sum by more than 1, and nobody is clipped. The diagonal is popularity; the rest costs no more.
"""

from __future__ import annotations

import math

import numpy as np

from ..arrays import Bools, Doubles, as_declared
from ..errors import InputError
from ..features import Crowd
from .symmetric import packed, unpacked

#: A category counts for at least this share of the most popular one, so that its log says something.
LEAST_POPULAR = 0.01
#: Noise alone reaches so many times its edge in one or two of a thousand sums of ten categories, and more rarely of more.
CLEARLY = 1.3


@as_declared
def pair_shares(active: Bools, n_categories: int) -> Doubles:
    """What users add to the sum, `packed` (..., C (C + 1) / 2), of which steps were active (..., c, T): those of categories beyond
    `n_categories` C are not counted, those that a device lacks are 0.

    Guarantees. The L2 norm is 1, or 0 of a user who did nothing.
    """
    steps = active[..., :n_categories, :].sum(axis=-1, dtype=np.float64)
    shares = np.zeros((*steps.shape[:-1], n_categories))
    shares[..., : steps.shape[-1]] = steps / np.maximum(steps.sum(axis=-1, keepdims=True), 1)
    v = np.sqrt(shares)
    return packed(v[..., :, None] * v[..., None, :])


@as_declared
def crowd_of(values: Doubles, n_categories: int, noise_sd: float) -> Crowd:
    """What a sum of `pair_shares` says, whose values carry noise of this standard deviation.

    Popularity: the log of each category's share against the average one, in the sum `without_noise`; what is less than
    `LEAST_POPULAR` of the most counts as much as that, so that all are 0 where noise outweighs everything. Neighbours: the cosine
    between categories there, less what each has with the others on average, over their number.

    >>> crowd_of(packed(np.diag([1.0, 1.0, 4.0])), 3, 0.0).popularity.round(2).tolist()
    [-0.69, -0.69, 0.69]
    """
    if not np.isfinite(values).all():
        raise InputError("expected a finite sum of shares of categories")
    pairs = without_noise(unpacked(values, n_categories), noise_sd)
    shares = np.diagonal(pairs)
    held = np.maximum(shares, max(LEAST_POPULAR * float(shares.max()), float(np.finfo(np.float64).tiny)))
    root = np.sqrt(held)  # apart: the product of two small ones is 0
    cosine = pairs / root[:, None] / root
    np.fill_diagonal(cosine, 0)
    others = max(n_categories - 1, 1)
    means = cosine.sum(axis=1) / others
    neighbours = (cosine - means[:, None] - means + means.mean()) / others
    np.fill_diagonal(neighbours, 0)
    return Crowd(np.log(held / held.mean()), neighbours)


@as_declared
def without_noise(matrix: Doubles, noise_sd: float) -> Doubles:
    """A symmetric matrix (n, n) of positive directions, with most of its noise taken out; 0 if none stands `CLEARLY` out of it.

    The diagonal carries noise of `noise_sd`, other entries 1 / sqrt 2 of that: of one size in every direction. Eigenvalues e beyond the
    edge that noise alone reaches, sqrt(2 n) `noise_sd`, stay as sqrt(e^2 - edge^2), by what noise adds to them; the rest go (Shabalin and
    Nobel 2013, of a symmetric matrix). Little noise changes nothing; under much, a category's popularity comes from its pairs with all
    others instead of one number.
    """
    value, vector = np.linalg.eigh(matrix)
    edge = noise_sd * math.sqrt(2 * len(matrix))
    if value[-1] <= CLEARLY * edge:
        return np.zeros_like(matrix)
    kept = np.sqrt(np.maximum(value**2 - edge**2, 0)) * (value > 0)
    half = vector * np.sqrt(kept)
    out: Doubles = half @ half.T
    return out
