"""The top categories of a log, chosen behind noise, and the row of a run's account that says what that cost."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np

from server.privacy.votes import VotesCharge
from shared.arrays import Ints, as_declared
from shared.mechanisms import DiscreteGaussian
from shared.plan import MAX_SHARE_SIGMA

from ..scenarios.config import Scenario
from ..scenarios.sections import noise_for

#: What the row is called.
LINE: Final = "choice of categories"
#: Categories that one user votes for at most: the sum's L2 sensitivity is the root of it.
MOST_VOTES: Final = 16
#: At which delta the choice alone has its epsilon, and the part of it for names that one user brought.
DELTA, NAMES_DELTA = 1e-6, 1e-8
#: A vote is at most so many steps of the noise's grid: on a finer one, discrete noise is nearer to a Gaussian.
_MOST_GRID: Final = 1024


def choice_charge(epsilon: float) -> VotesCharge:
    """The row of one choice that costs at most this epsilon alone, at DELTA.

    Guarantees. Unit: a user with all lines (neighbours: that user's votes become null). L2 sensitivity: the root of MOST_VOTES,
    for one vote in each of so many categories. delta: DELTA in all, NAMES_DELTA of it for the names.
    """
    multiplier, length = noise_for(epsilon, DELTA - 2 * NAMES_DELTA), math.sqrt(MOST_VOTES)
    grid = max(1, min(_MOST_GRID, math.floor(MAX_SHARE_SIGMA / (multiplier * length))))
    return VotesCharge(LINE, multiplier, MOST_VOTES, grid * length, NAMES_DELTA)


def choices_of(scenario: Scenario) -> tuple[VotesCharge, ...]:
    """What a scenario's people cost before its plan: nothing, or a private choice of their categories."""
    log = scenario.data.file
    return (choice_charge(log.top_epsilon),) if scenario.data.name == "file" and log and log.top_epsilon else ()


@as_declared
def top_of_noise(votes: Ints, top: int, epsilon: float) -> list[int]:
    """The positions of the `top` largest of `votes` (n,) behind noise, fewer if fewer are surely not of one user.

    Guarantees. Those of `choice_charge`, if a user votes for at most MOST_VOTES categories, once each: the counts get discrete
    Gaussian noise of the operating system's entropy. The names come from the log, so one that a single user brought must not
    show: only noisy counts above 2 + z sigma are taken, z such that all the votes of one user together go above it with
    probability NAMES_DELTA (the noise is above z sigma + 1 less often than a Gaussian above z sigma: Canonne, Kamath and Steinke 2020,
    proposition 25).

    Edge cases. No votes give no positions, and cost the same.
    """
    charge = choice_charge(epsilon)
    grid = round(charge.steps / math.sqrt(MOST_VOTES))
    noisy = votes * grid + DiscreteGaussian(charge.sigma).sample(votes.shape)
    least = 2 * grid + charge.sigma * NormalDist().inv_cdf(1 - NAMES_DELTA / MOST_VOTES)
    order = [int(number) for number in np.argsort(-noisy, kind="stable") if noisy[number] > least]
    return order[:top]
