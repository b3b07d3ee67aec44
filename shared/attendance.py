"""How many devices answer a round in which each comes, or stays away, on its own: binomial tails.

All tails are exact but for rounding: a test holds them to scipy's.
"""

from __future__ import annotations

import numpy as np

from .arrays import Doubles
from .errors import ConfigError


def binomial(trials: int, probability: float) -> Doubles:
    """P(exactly k of so many independent trials) for k = 0 .. trials: float64 (trials + 1,), summing to 1.

    From the mode outwards by the ratio of neighbours, so that nothing cancels; below 1e-300 it is 0.
    """
    if not (trials >= 0 and 0 <= probability <= 1):
        raise ConfigError(f"expected trials >= 0 and a probability in 0..1, got {trials} and {probability}")
    out = np.zeros(trials + 1)
    mode = min(int((trials + 1) * probability), trials)
    out[mode] = 1.0
    if 0 < probability < 1:
        odds = np.log(probability) - np.log1p(-probability)
        up, down = np.arange(mode + 1, trials + 1), np.arange(mode, 0, -1)
        out[mode + 1 :] = np.exp(np.cumsum(np.log((trials - up + 1) / up) + odds))
        out[:mode] = np.exp(np.cumsum(np.log(down / (trials - down + 1)) - odds))[::-1]
    chances: Doubles = out / out.sum()
    return chances


def fewer_than(trials: int, probability: float) -> Doubles:
    """P(fewer than k) for k = 0 .. trials + 1: float64 (trials + 2,)."""
    return np.concatenate([[0.0], np.minimum(np.cumsum(binomial(trials, probability)), 1.0)])


def more_than(trials: int, probability: float) -> Doubles:
    """P(more than k) for k = 0 .. trials: float64 (trials + 1,); summed from the far end, where it is small."""
    return fewer_than(trials, 1 - probability)[trials::-1]


def most_present(population: int, sampling_rate: float, chance: float) -> int:
    """The number of sampled devices that a round exceeds with probability at most `chance`, however few stay silent."""
    expect_rate(sampling_rate)
    return int(np.flatnonzero(more_than(population, sampling_rate) <= chance)[0])


def expect_rate(sampling_rate: float) -> None:
    """ConfigError for a sampling rate that no plan allows."""
    if not 0 < sampling_rate <= 1:
        raise ConfigError(f"expected sampling_rate in (0, 1], got {sampling_rate}")
