"""Another reading of the same sum, with less of its noise: not what devices read (`shared/heads/crowd.py`), measured beside it.

The sum is a symmetric matrix plus noise of one size in every direction. Of what it says along its eigenvectors, that which no noise
alone reaches is kept, shrunk by what noise adds to it, and the rest is dropped (Shabalin and Nobel 2013, of a symmetric matrix). With
little noise that changes nothing; with much, a category's popularity comes from its pairs with all others instead of one number.
"""

from __future__ import annotations

import numpy as np

from shared.arrays import Doubles, as_declared
from shared.features import Crowd
from shared.heads import unpacked
from shared.heads.crowd import LEAST_POPULAR


@as_declared
def steadier_crowd(values: Doubles, n_categories: int, noise_sd: float) -> Crowd:
    """Log popularity (C,) and neighbours (C, C), from the sum without most of its noise; neighbours are the cosine between
    categories less what each has with the others on average, whole."""
    pairs = without_noise(unpacked(values, n_categories), noise_sd)
    shares = np.diagonal(pairs)
    held = np.maximum(shares, max(LEAST_POPULAR * float(shares.max()), float(np.finfo(np.float64).tiny)))
    root = np.sqrt(held)  # apart: the product of two small ones is 0
    cosine = pairs / root[:, None] / root
    np.fill_diagonal(cosine, 0)
    means = cosine.sum(axis=1) / max(n_categories - 1, 1)
    neighbours = cosine - means[:, None] - means + means.mean()
    np.fill_diagonal(neighbours, 0)
    return Crowd(np.log(held / held.mean()), neighbours)


@as_declared
def without_noise(matrix: Doubles, noise_sd: float) -> Doubles:
    """A symmetric matrix (n, n) whose diagonal carries noise of `noise_sd` and whose other entries 1 / sqrt 2 of that: its positive
    eigenvalues e beyond the edge of noise, each as sqrt(e^2 - edge^2), edge = sqrt(2 n) `noise_sd`; 0 if none is."""
    value, vector = np.linalg.eigh(matrix)
    kept = np.sqrt(np.maximum(value**2 - 2 * len(matrix) * noise_sd**2, 0)) * (value > 0)
    out: Doubles = (vector * kept) @ vector.T
    return out
