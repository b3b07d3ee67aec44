"""What a choice by noisy votes costs that was made before a run by who holds everybody's lines: one more row beside a plan's.

Neighbours are those of a plan: one user's part, here the votes, becomes null. Of one user all votes together have an L2 length of
`steps` grid steps at most; every count of votes carries discrete Gaussian noise of `noise_multiplier` times as much, and a name
shows only above a threshold that names which one user alone brought pass with probability `names_delta` or less, all together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from shared import rdp
from shared.rdp import Curve


@dataclass(frozen=True)
class VotesCharge:
    """One choice. `votes`: at most so many of one user; `steps`: the sum's L2 sensitivity in steps of the noise's grid.

    Guarantees. With a user or without, as long as no name shows that the user alone brought, the counts are a Gaussian sum, which
    composes with all others: mu^2 grows by 1 / noise_multiplier^2. That none shows has probability >= 1 - names_delta, whatever the
    other counts are: it takes names_delta of delta one way, and -log(1 - names_delta) of epsilon the other way (`gap`).
    """

    line: str
    noise_multiplier: float
    votes: int
    steps: float
    names_delta: float
    times: int = 1
    privacy: None = None
    holds_against_server: bool = True  # it never sees a vote

    @property
    def noisy(self) -> bool:
        """Whether it promises anything at all."""
        return self.noise_multiplier > 0

    @property
    def sigma(self) -> float:
        """Of the noise on one count, in steps of its grid."""
        return self.noise_multiplier * self.steps

    @property
    def cost(self) -> Curve:
        """By Renyi DP, where no name of one user shows: (O,). A discrete Gaussian costs no more than a Gaussian (Canonne, Kamath and
        Steinke 2020, proposition 5)."""
        return rdp.gaussian(self.noise_multiplier)

    @property
    def gap(self) -> float:
        """What it takes of epsilon beside the noise."""
        return -math.log1p(-self.names_delta) * self.times
