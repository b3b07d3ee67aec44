"""The three parts of a plan that learn heads, each as `server/training.py` learns any: one sum of what everybody does, one of
curvature, then rounds of gradients in whitened coefficients.

All that a learner needs beside its settings follows from what was published before it, so that a run that goes on makes the very
same requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.arrays import Doubles, Floats, as_declared
from shared.codec import pack_floats
from shared.heads import crowd_of, unpacked
from shared.plan import Plan
from shared.register.heads_plan import N_HEADS, N_INPUTS, HeadsPlan

from ..optimizer import ServerOptimizer, ServerSettings
from . import CROWD, CURVATURE, HEADS
from .settings import HeadsSettings
from .whitening import noise_of_mean, whitening

#: One sum is what was asked for: nothing is scaled, and nothing averaged.
ONE_SUM = ServerSettings(1.0, 0.0, 0.0)


class CrowdLearner:
    """How popular categories are, from one sum of everybody's shares of pairs; its checkpoint keeps the whole sum."""

    checkpoint, phase = CROWD, "crowd_round"

    def __init__(self, plan: Plan) -> None:
        self._heads = heads_of(plan)
        self.optimizer = ServerOptimizer(np.zeros(self._heads.lengths[0], np.float32), ONE_SUM)

    def fields(self) -> dict[str, Any]:
        return {}

    @as_declared
    def step(self, mean_delta: Doubles) -> None:
        self.optimizer.step(mean_delta)

    @property
    def model(self) -> Floats:
        """Log popularity (C,): of each category 0 before there is a sum."""
        if not self.optimizer.theta.any():
            return np.zeros(self._heads.n_categories, np.float32)
        noise = noise_of_mean(self._heads.crowd)
        return crowd_of(self.optimizer.theta, self._heads.n_categories, noise).popularity.astype(np.float32)


class CurvatureLearner:
    """How the loss of both heads curves where they start: the mean over devices, as it came, of 2 * 406 values."""

    checkpoint, phase = CURVATURE, "curvature_round"

    def __init__(self, plan: Plan) -> None:
        self.optimizer = ServerOptimizer(np.zeros(heads_of(plan).lengths[1], np.float32), ONE_SUM)

    def fields(self) -> dict[str, Any]:
        return {}

    @as_declared
    def step(self, mean_delta: Doubles) -> None:
        self.optimizer.step(mean_delta)

    @property
    def model(self) -> Floats:
        return self.optimizer.published


class HeadLearner:
    """Both heads: a round moves their whitened coefficients u, (2, 28), by the mean gradient. What is published of lapses has its slope
    and intercept from public people, if there are any (`server/public/calibration.py`)."""

    checkpoint, phase = HEADS, "head_rounds"

    @as_declared
    def __init__(self, plan: Plan, settings: HeadsSettings, curvature: Floats) -> None:
        heads = heads_of(plan)
        self._rates = np.array(settings.rates)[:, None]
        self._start, self._public = settings.start.weights, settings.public_lapses
        self._scale = np.array([head.gradient_clip / np.sqrt(head.share) for head in heads.heads])[:, None]
        self.basis = bases(heads, curvature, settings.damping)
        self.optimizer = ServerOptimizer(np.zeros(heads.lengths[2], np.float32), settings.server)

    def fields(self) -> dict[str, Any]:
        return {"basis": pack_floats(self.basis), "coefficients": pack_floats(self.optimizer.theta)}

    @as_declared
    def step(self, mean_delta: Doubles) -> None:
        """A mean over devices of minus the gradient, each head's in units of its clip, of which it has a share."""
        gradient = mean_delta.reshape(N_HEADS, N_INPUTS) * self._scale
        self.optimizer.step((self._rates * gradient).ravel())

    @property
    def model(self) -> Floats:
        """Weights of standardised inputs, one head after the other: (56,)."""
        u = self.optimizer.published.reshape(N_HEADS, N_INPUTS, 1)
        weights = (self._start + (self.basis @ u)[..., 0]).astype(np.float64)
        if self._public is not None and u.any():
            weights[0] = self._public.calibrated(weights[0])
        return weights.ravel().astype(np.float32)


def heads_of(plan: Plan) -> HeadsPlan:
    """What a plan says of heads."""
    assert plan.heads is not None, "a plan that learns heads"
    return plan.heads


@as_declared
def bases(heads: HeadsPlan, curvature: Floats, damping: float) -> Floats:
    """The basis of each head's whitened coefficients, (2, 28, 28), of the mean (2 * 406,) of what devices added to their sum."""
    noise = noise_of_mean(heads.curvature)
    found = []
    for head, part in zip(heads.heads, curvature.astype(np.float64).reshape(N_HEADS, -1), strict=True):
        unit = head.curvature_clip / np.sqrt(head.share)
        found.append(whitening(unpacked(part * unit, N_INPUTS), noise * unit, damping))
    return np.stack(found).astype(np.float32)


@as_declared
def is_known(learned: Mapping[str, Floats]) -> bool:
    """Whether there is a curvature to go by: without one no round of the heads is asked for."""
    return "curvature" in learned and bool(learned["curvature"].any())
