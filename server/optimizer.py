"""How the server moves theta by a round's mean update: momentum, and an average of the iterates to publish."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shared.arrays import Doubles, Floats, as_declared
from shared.errors import ConfigError


@dataclass(frozen=True)
class ServerSettings:
    """`learning_rate` scales the mean update, `momentum` is heavy ball, `tail` the share of the latest rounds whose
    weights are averaged into the published model (0: the last weights alone)."""

    learning_rate: float = 2.0
    momentum: float = 0.9
    tail: float = 0.5

    def __post_init__(self) -> None:
        if not self.learning_rate > 0 or not 0 <= self.momentum < 1 or not 0 <= self.tail <= 1:
            raise ConfigError(
                "expected learning_rate > 0, momentum in [0, 1) and tail in 0..1, "
                f"got {self.learning_rate}, {self.momentum}, {self.tail}"
            )


class ServerOptimizer:
    """Theta, its velocity, and the average of the later iterates that is scored and shipped.

    Averaging the tail takes most of the noise out of the last weights (suffix averaging: Rakhlin, Shamir and Sridharan
    2012). All of it is post-processing of the private sums: it costs no epsilon.
    """

    @as_declared
    def __init__(self, theta: Floats, settings: ServerSettings) -> None:
        self._settings = settings
        self.theta = theta.astype(np.float64)
        self._velocity = np.zeros_like(self.theta)
        self._iterates: list[Doubles] = []

    @as_declared
    def step(self, mean_delta: Doubles) -> None:
        """One round: `mean_delta` (P,) is the sum of the updates over the expected cohort."""
        self._velocity = self._settings.momentum * self._velocity + mean_delta
        self.theta = self.theta + self._settings.learning_rate * self._velocity
        self._iterates.append(self.theta)

    @property
    def published(self) -> Floats:
        """The mean of the last `tail` of the iterates so far, float32 (P,); theta 0 before the first round."""
        n_tail = max(1, math.ceil(self._settings.tail * len(self._iterates)))
        later = self._iterates[-n_tail:] or [self.theta]
        mean: Floats = np.mean(later, axis=0).astype(np.float32)
        return mean

    def to_arrays(self) -> dict[str, Doubles]:
        """Everything that the next round needs, for a checkpoint."""
        iterates = np.reshape(self._iterates, (len(self._iterates), self.theta.size))
        return {"theta": self.theta, "velocity": self._velocity, "iterates": iterates}

    @as_declared
    def restore(self, arrays: Mapping[str, Doubles]) -> None:
        """Go on from `to_arrays`."""
        self.theta, self._velocity = arrays["theta"], arrays["velocity"]
        self._iterates = list(arrays["iterates"])
