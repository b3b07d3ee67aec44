"""From a noisy curvature to directions in which a step is as long as what is known allows.

A private gradient carries noise that is alike in all directions. In coefficients u, of which the weights are start + basis @ u with
basis = U / sqrt(max(e, 0) + floor), e and U the eigenvalues and eigenvectors of the curvature, a step along the gradient is a Newton
step, and the noise harms each direction of the weights as little as the loss is flat there. What the curvature says below its own
noise is no knowledge: the floor holds it.
"""

from __future__ import annotations

import math

import numpy as np

from shared.arrays import Doubles, as_declared
from shared.plan import PrivacyPlan


def noise_of_mean(privacy: PrivacyPlan) -> float:
    """Standard deviation, in clips, of the noise in each value of a sum over the expected cohort, all of whom answered."""
    cohort = privacy.expected_cohort
    shares = privacy.share_sigma / privacy.steps_per_clip * math.sqrt(cohort)
    return shares / cohort


@as_declared
def whitening(curvature: Doubles, noise_sd: float, damping: float) -> Doubles:
    """The basis (n, n) of a symmetric curvature (n, n), whose entries carry noise of `noise_sd`; that of an entry off the diagonal
    weighs 1 / sqrt 2, as of a `packed` one. No direction counts less than `damping` times the mean eigenvalue.

    >>> whitening(np.diag([4.0, 1.0]), 0.0, 0.01).round(2).__abs__().tolist()
    [[0.0, 0.5], [1.0, 0.0]]
    """
    n = len(curvature)
    values, vectors = np.linalg.eigh(curvature)
    floor = max(damping * float(np.trace(curvature)) / n, noise_sd * math.sqrt(n), float(np.finfo(np.float32).tiny))
    out: Doubles = vectors / np.sqrt(np.maximum(values, 0) + floor)
    return out
