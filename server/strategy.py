"""How the server moves theta by a round's mean update: momentum, and an average of the iterates to publish."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ServerSettings:
    """`learning_rate` scales the mean update, `momentum` is heavy ball, `averaging` the weight of the old average."""

    learning_rate: float = 2.0
    momentum: float = 0.9
    averaging: float = 0.9

    def __post_init__(self) -> None:
        if not self.learning_rate > 0 or not 0 <= self.momentum < 1 or not 0 <= self.averaging < 1:
            raise ConfigError(
                "expected learning_rate > 0 and momentum, averaging in [0, 1), "
                f"got {self.learning_rate}, {self.momentum}, {self.averaging}"
            )


class ServerOptimizer:
    """Theta, its velocity, and the exponentially averaged iterate that is scored and shipped.

    Post-processing of the private sums: costs no epsilon.
    """

    def __init__(self, theta: Floats, settings: ServerSettings) -> None:
        self._settings = settings
        self.theta = theta.astype(np.float64)
        self._velocity = np.zeros_like(self.theta)
        self._average: NDArray[np.float64] | None = None

    def step(self, mean_delta: NDArray[np.float64]) -> None:
        """One round: `mean_delta` (P,) is the sum of the updates over the expected cohort."""
        s = self._settings
        self._velocity = s.momentum * self._velocity + mean_delta
        self.theta = self.theta + s.learning_rate * self._velocity
        if self._average is None:
            self._average = self.theta.copy()
        else:
            self._average = s.averaging * self._average + (1 - s.averaging) * self.theta

    @property
    def published(self) -> Floats:
        """The averaged iterate, float32 (P,); theta 0 before the first round."""
        return (self.theta if self._average is None else self._average).astype(np.float32)

    def to_arrays(self) -> dict[str, NDArray[np.float64]]:
        """Everything that the next round needs, for a checkpoint."""
        average = np.empty(0) if self._average is None else self._average
        return {"theta": self.theta, "velocity": self._velocity, "average": average}

    def restore(self, arrays: Mapping[str, NDArray[np.float64]]) -> None:
        """Go on from `to_arrays`."""
        self.theta, self._velocity = arrays["theta"], arrays["velocity"]
        self._average = arrays["average"] if arrays["average"].size else None
