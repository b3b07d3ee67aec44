"""How many devices answer a round in which each comes, or stays away, on its own: binomial tails, and what follows.

All tails are exact but for rounding: a test holds them to scipy's.
"""

from __future__ import annotations

import numpy as np

from .arrays import Doubles
from .errors import ConfigError

#: A round is abandoned, for want of answers, with at most this probability.
ABANDONED = 1e-3
#: Of the devices, in percent, those whose noise is not counted on unless a plan says otherwise; and with what
#: probability a cohort may hold more of them than that.
COLLUDING_PERCENT, MORE_COLLUDERS = 5, 1e-6


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


def likely_survivors(population: int, sampling_rate: float, dropout: float) -> int:
    """The largest number that a round's answers fall short of with probability at most `ABANDONED`, if each sampled device
    stays silent with probability `dropout`; at least 1.

    >>> likely_survivors(300, 1.0, 0.1)
    253
    """
    _expect_rate(sampling_rate)
    below = fewer_than(population, sampling_rate * (1 - dropout))
    return max(int(np.searchsorted(below, ABANDONED, side="right")) - 1, 1)


def likely_colluders(population: int, sampling_rate: float) -> int:
    """How many of `COLLUDING_PERCENT` of the devices a cohort holds at most: all of them if everybody is in every round,
    else what it exceeds with probability at most `MORE_COLLUDERS`.

    >>> likely_colluders(300, 1.0), likely_colluders(300, 0.2)
    (15, 12)
    """
    _expect_rate(sampling_rate)
    members = -(-COLLUDING_PERCENT * population // 100)
    if sampling_rate == 1:
        return members
    return int(np.flatnonzero(more_than(members, sampling_rate) <= MORE_COLLUDERS)[0])


def colluders_behind(most: int, population: int, sampling_rate: float) -> int:
    """The largest number of colluding devices of which a cohort holds more than `most` with probability at most
    `MORE_COLLUDERS`: what `likely_colluders` of them would be."""
    _expect_rate(sampling_rate)
    if sampling_rate == 1:
        return most
    low, high = most, population + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if more_than(middle, sampling_rate)[most] <= MORE_COLLUDERS else (low, middle)
    return low


def most_present(population: int, sampling_rate: float, chance: float) -> int:
    """The number of sampled devices that a round exceeds with probability at most `chance`, however few stay silent."""
    _expect_rate(sampling_rate)
    return int(np.flatnonzero(more_than(population, sampling_rate) <= chance)[0])


def _expect_rate(sampling_rate: float) -> None:
    if not 0 < sampling_rate <= 1:
        raise ConfigError(f"expected sampling_rate in (0, 1], got {sampling_rate}")
