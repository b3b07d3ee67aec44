"""The last round of a head that is calibrated: of the slope and the intercept of what it says, and of nothing else.

A gradient in 28 coefficients is clipped where a device has many rows, and more often where turns are rare on one side: heads come out
too sure that nothing happens. In the last round the same devices are asked for the same gradient in turned coefficients v, of which
two are slope and intercept, `CLIPS` times further from being clipped; the others count next to nothing, and are not read. A device
needs nothing new for it: weights are start + basis @ coefficients, as in every round.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.arrays import Doubles, Floats, as_declared, hold_declared

#: How many times as far from the clip slope and intercept are, alone; and how little the other coefficients count in it.
CLIPS, NEXT_TO_NOTHING = 2.0, 1e-3


@dataclass(frozen=True, eq=False)
class LastRound:
    """Where a head stands, u (28,) of `basis` (28, 28), and `turn` (28, 28), orthonormal, whose first two columns are the changes of
    u that change the slope and the intercept of start + basis @ u."""

    basis: Doubles
    u: Doubles
    turn: Doubles

    def __post_init__(self) -> None:
        hold_declared(self)

    @classmethod
    @as_declared
    def of(cls, start: Floats, basis: Floats, u: Doubles) -> LastRound:
        """That of weights start + basis @ u, (28,), of inputs of which the last is the constant."""
        whitened = basis.astype(np.float64)
        slope, intercept = start + whitened @ u, np.zeros(len(u))
        slope[-1], intercept[-1] = 0, 1
        changes = np.linalg.solve(whitened, np.stack([slope, intercept], axis=1))
        return cls(whitened, u, np.linalg.qr(changes, mode="complete")[0])

    @property
    def _unit(self) -> Doubles:
        """How large a step of each v is: (28,)."""
        unit = np.full(len(self.u), NEXT_TO_NOTHING)
        unit[:2] = 1 / CLIPS
        return unit

    @property
    def asked_in(self) -> tuple[Doubles, Doubles]:
        """The basis (28, 28) and the coefficients (28,) of the request: v for u."""
        return self.basis @ (self.turn * self._unit), (self.u @ self.turn) / self._unit

    @as_declared
    def moved(self, mean: Doubles, rate: float) -> Doubles:
        """u (28,) after a step of this rate by minus the mean gradient (28,) in v."""
        out: Doubles = self.u + rate * (self.turn[:, :2] @ (mean[:2] * CLIPS))
        return out
