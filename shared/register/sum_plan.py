"""The part of a plan that says who adds its rounds up."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError

MAX_HELPERS, MAX_DEVICE_SEATS = 5, 240
SPARE_SEATS = 2  #: answers beyond those that determine a sum


def expect(condition: bool, expectation: str, value: object) -> None:
    """ConfigError unless a number of a plan is as expected."""
    if not condition:
        raise ConfigError(f"expected {expectation}, got {value}")


@dataclass(frozen=True)
class SumPlan:
    """Who adds a round up, so that the server learns the sum alone (`shared/secure_sum/`).

    `helpers`: as many servers of others hold the seats, all of whom have to answer; any one of them that is honest keeps
    every vector to itself. With `seats` > 0 enrolled devices hold them: of `drawn` that chance seats in a round, the first
    `seats` that are not named absent. Any `private` of them learn nothing together, `opening` open the sum; helpers, then, lay
    pads over the vectors (0: none do).
    """

    helpers: int = 3
    seats: int = 0
    drawn: int = 0
    t_priv: int = 0
    t_rec: int = 0

    def __post_init__(self) -> None:
        expect(0 <= self.helpers <= MAX_HELPERS, f"helpers in 0..{MAX_HELPERS}", self.helpers)
        if not self.seats:
            expect(self.helpers >= 2, "at least two helpers, where no device holds a seat", self.helpers)
            expect(not (self.drawn or self.t_priv or self.t_rec), "no thresholds, where helpers hold the seats", "some")
            return
        expect(4 <= self.seats <= MAX_DEVICE_SEATS, f"seats in 4..{MAX_DEVICE_SEATS}, or 0", self.seats)
        expect(self.seats <= self.drawn <= 2 * self.seats, "drawn in seats..2 * seats", self.drawn)
        expect(
            0 < self.t_priv < self.t_rec <= self.seats - SPARE_SEATS,
            f"0 < t_priv < t_rec <= seats - {SPARE_SEATS}",
            (self.t_priv, self.t_rec),
        )

    @property
    def private(self) -> int:
        """How many seats learn nothing together."""
        return self.t_priv if self.seats else self.helpers - 1

    @property
    def opening(self) -> int:
        """How many seats determine a sum."""
        return self.t_rec if self.seats else self.helpers

    @property
    def answers(self) -> int:
        """How many answers a sum is opened with, at least: of device seats two more than determine it, so that a false one is
        noticed."""
        return self.t_rec + SPARE_SEATS if self.seats else self.helpers
