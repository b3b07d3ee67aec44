"""How well the server's bounds on sums find one device that cheats (`server/bounds.py`)."""

from __future__ import annotations

import math

from scipy import optimize, stats

from server.bounds import longest
from shared.plan import PrivacyPlan

from ...people.setup import Setup
from ..results import CheatBound

POWER = 0.99
#: Where both ways of `found_length` give the same to nine digits: at 300,000 devices of the scenario demo.
FAR = 50_000


def found_length(
    privacy: PrivacyPlan, n_values: int, n_vectors: int, longest_mean: float = 1.0, power: float = POWER
) -> float:
    """How long, in clips, the vector of one device has to be to be found in the sum of `n_vectors` with probability `power`
    where the others' mean happens to be short. About 24 z for a plan of noise z, 1,441 values and a `longest_mean` near 0.

    The squared length of a vector plus Gaussian noise, over the noise's variance, is a noncentral chi-square. Where the bound is more than
    `FAR` times the noise, its series does not converge; there the noise across the vector is as long as ever, sigma sqrt(P - 1), as far as
    the length can tell, and what is left is the Gaussian along it.
    """
    bound, sigma = longest(privacy, n_values, n_vectors, longest_mean), privacy.share_sigma * math.sqrt(n_vectors)
    if not sigma:
        return bound / privacy.steps_per_clip
    if bound > FAR * sigma:
        along = math.sqrt(bound**2 - sigma**2 * (n_values - 1))
        return (along + sigma * float(stats.norm.ppf(power))) / privacy.steps_per_clip

    def missing(steps: float) -> float:
        return float(stats.ncx2.sf((bound / sigma) ** 2, n_values, (steps / sigma) ** 2)) - power

    found = optimize.brentq(missing, bound * 1e-6, 2 * bound + 10 * sigma)
    return float(found) / privacy.steps_per_clip


def cheat_bounds(setup: Setup) -> list[CheatBound]:
    """What is taken for honest in the rounds of each part of a plan, where as few devices answer as may be."""
    means = setup.scenario.server.longest_mean, setup.scenario.risk.longest_mean
    return [
        CheatBound(
            part=kind.reply,
            mean_clips=mean,
            found_clips=found_length(kind.privacy, kind.n_values, kind.privacy.min_survivors, mean),
        )
        for kind, mean in zip(setup.plan.updates, means, strict=False)
    ]
