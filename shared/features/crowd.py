"""What private sums told of other people, as features read it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Doubles, hold_declared
from ..errors import InputError


@dataclass(frozen=True)
class Crowd:
    """What everybody's sums say of the categories; public, the same on every device.

    `popularity` (C,): log shares of users, 0 for a category of the average share; `neighbours` (C, C): how much activity in
    category j says of category i, rows i, with nothing of a category for itself.
    """

    popularity: Doubles
    neighbours: Doubles

    def __post_init__(self) -> None:
        hold_declared(self)
        n = self.popularity.size
        if self.popularity.shape != (n,) or self.neighbours.shape != (n, n) or np.diagonal(self.neighbours).any():
            raise InputError(
                f"expected popularity (C,) and neighbours (C, C) with nothing on their diagonal, got shapes "
                f"{self.popularity.shape} and {self.neighbours.shape}"
            )
        if not (np.isfinite(self.popularity).all() and np.isfinite(self.neighbours).all()):
            raise InputError("expected finite popularity and neighbours")
