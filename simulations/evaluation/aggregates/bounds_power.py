"""How well the server's bounds on sums find one device that cheats (`server/bounds.py`)."""

from __future__ import annotations

import math

from scipy import optimize, stats

from server.bounds import longest
from shared.plan import PrivacyPlan

from ...people.setup import Setup
from ..results import CheatBound

POWER = 0.99
#: From so many standard deviations of the noise on a length is normal, to 1e-9 of itself; the series of the chi-square no longer converges
#: at some 2e5, which a million devices come to.
FAR = 1e4


def found_length(
    privacy: PrivacyPlan, n_values: int, n_vectors: int, longest_mean: float = 1.0, power: float = POWER
) -> float:
    """How long, in clips, the vector of one device has to be to be found in the sum of `n_vectors` with probability `power`
    where the others' mean happens to be short. About 24 z for a plan of noise z, 1,441 values and a `longest_mean` near 0.

    The squared length of a vector plus Gaussian noise, over the noise's variance, is a noncentral chi-square.
    """
    bound, sigma = longest(privacy, n_values, n_vectors, longest_mean), privacy.share_sigma * math.sqrt(n_vectors)
    if not sigma:
        return bound / privacy.steps_per_clip
    far = bound / sigma
    if far > FAR:
        return sigma * math.sqrt((far + stats.norm.ppf(power)) ** 2 - (n_values - 1)) / privacy.steps_per_clip

    def missing(steps: float) -> float:
        return float(stats.ncx2.sf(far**2, n_values, (steps / sigma) ** 2)) - power

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
