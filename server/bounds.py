"""How long an honest sum can be: what is longer is not used.

A device clips, then adds its share of the noise, so the sum of n vectors is n times their mean and n shares long at most. That
needs nothing but the sum, which is opened anyway, and how many are in it: looking at it is post-processing, and costs no
epsilon. Nobody reads a single vector, so nobody looks at one.

What this cannot see: whatever stands below the noise. One device that sends a few times its clip, or many that keep to
it, change the model within what their number times their clip allows (docs/hostile-devices.md says how far that goes).
"""

from __future__ import annotations

import math

import numpy as np

from shared.arrays import Words, as_declared
from shared.errors import ConfigError
from shared.plan import PrivacyPlan

#: How likely an honest sum is to be taken for a false one: at most.
TAIL = 1e-10
_X = math.log(3 / TAIL)


@as_declared
def length(words: Words) -> float:
    """L2 norm, in grid steps, of a vector modulo 2^32, (P,).

    >>> length(np.array([3, 2**32 - 4], np.uint32))
    5.0
    """
    return float(np.linalg.norm(words.view(np.int32).astype(np.float64)))


def longest_honest_mean(n_vectors: int, longest_mean: float) -> float:
    """How long the mean of `n_vectors` clipped vectors is at most, in clips, if their devices are drawn from people of whom
    the mean is at most `longest_mean` long: 1 for whatever people do.

    The fewer they are, the farther their own mean can be from everybody's: by more than (1 + sqrt(2 x)) / sqrt(n) with a
    chance of e^-x at most, for the length changes by 2 / n at most with one vector (McDiarmid 1989). ConfigError for a
    `longest_mean` outside (0, 1].

    >>> longest_honest_mean(30, 0.1), round(longest_honest_mean(100_000, 0.1), 3)
    (1.0, 0.125)
    """
    if not 0 < longest_mean <= 1:
        raise ConfigError(f"expected longest_mean in (0, 1] clips, got {longest_mean}")
    return min(1.0, longest_mean + (1 + math.sqrt(2 * _X)) / math.sqrt(n_vectors))


def longest(privacy: PrivacyPlan, n_values: int, n_vectors: int = 1, longest_mean: float = 1.0) -> float:
    """The length, in grid steps, that the sum of `n_vectors` honest vectors of `n_values` exceeds with a chance of at
    most `TAIL`. Their mean before noise is as `longest_honest_mean` says.

    Guarantees. A sum of discrete Gaussian shares is sub-Gaussian with the variance s^2 of a Gaussian (Canonne, Kamath and
    Steinke 2020, section 2), and so is its component along the mean, of length m. So with x = log(3 / TAIL), its squared
    length is at most m^2 + 2 m s sqrt(2 x) + s^2 (P + 2 sqrt(P x) + 2 x): each of these two tails, and that of the mean, has a
    chance of TAIL / 3 (Laurent and Massart 2000, lemma 1, whose moment bound sub-Gaussian coordinates share).

    Edge cases. Without noise it is the clips alone.
    """
    mean = longest_honest_mean(n_vectors, longest_mean) * n_vectors * privacy.steps_per_clip
    sigma = privacy.share_sigma * math.sqrt(n_vectors)
    noise = n_values + 2 * math.sqrt(n_values * _X) + 2 * _X
    return math.sqrt(mean**2 + 2 * mean * sigma * math.sqrt(2 * _X) + sigma**2 * noise)
