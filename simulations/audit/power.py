"""What an audit would have found: without its power, a bound that is kept says nothing.

Three numbers of each view: the bound that somebody gets who tells the two worlds apart as well as Gaussians can be told apart at all,
while all is as planned; how often noise four times too small breaks what is stated; and how often a device that is counted twice does.
They are simulated on Gaussians, under a fixed seed, with the thresholds and numbers of trials of the audit itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from scipy import stats

from shared.arrays import Doubles, Ints, as_declared

from .bounds import CONFIDENCE, epsilon_of_counts, rounds_chance
from .canaries import guessed, right_guesses

#: Noise so many times too small is what power is said of.
TOO_SMALL: Final = 4
REPEATS: Final = 200
REPEATS_OF_RUNS: Final = 40


@dataclass(frozen=True)
class Power:
    """`perfect`: the bound, in the middle, that a perfect attacker gets where all is as planned. How often something breaks what is stated:
    `finds_quarter`, noise four times too small; `finds_twice`, a device that is counted twice."""

    perfect: float
    finds_quarter: float
    finds_twice: float


@as_declared
def power_of_trials(thresholds: Doubles, mu: float, trials: int, stated: float, delta: float) -> Power:
    """Of so many trials of two worlds that are `mu` standard deviations apart, counted at thresholds (T,) in these."""
    perfect, quarter, twice = (
        _bounds(thresholds, apart, noise, trials, delta)
        for apart, noise in ((mu, 1.0), (mu, 1 / TOO_SMALL), (2 * mu, 1.0))
    )
    return Power(
        perfect=round(float(np.median(perfect)), 6),
        finds_quarter=float(np.mean(quarter > stated)),
        finds_twice=float(np.mean(twice > stated)),
    )


def _bounds(thresholds: Doubles, mu: float, noise: float, trials: int, delta: float) -> Doubles:
    """The bounds of `REPEATS` audits of worlds `mu` apart while noise is `noise` times what is planned: (n,)."""
    random = np.random.Generator(np.random.Philox(0))
    order = np.argsort(thresholds)
    counts = []
    for centre in (mu, 0.0):
        beyond = stats.norm.sf((thresholds[order] - centre) / noise)
        between = -np.diff(np.concatenate([[1.0], beyond, [0.0]]))
        drawn = random.multinomial(trials, np.clip(between, 0, 1) / between.sum(), size=REPEATS)
        counts.append(trials - np.cumsum(drawn, axis=1)[:, :-1])
    right, wrong = counts
    return np.asarray(epsilon_of_counts(right, wrong, trials, delta, CONFIDENCE), np.float64)


@lru_cache(maxsize=16)
def power_of_canaries(n_rounds: int, n_values: int, noise_multiplier: float, stated: float, delta: float) -> float:
    """How often noise four times too small breaks the epsilon of a round that is stated, in a run whose devices teach the same in every
    round: with what is still unlike from round to round, it is less."""
    random = np.random.Generator(np.random.Philox(1))
    found = 0
    for _ in range(REPEATS_OF_RUNS):
        right = _guessed_right(random, n_rounds, n_values, noise_multiplier / TOO_SMALL)
        found += rounds_chance(right, n_values, 2 * guessed(n_values), stated, delta) <= 1 - CONFIDENCE
    return found / REPEATS_OF_RUNS


def _guessed_right(random: np.random.Generator, n_rounds: int, n_values: int, sigma: float) -> Ints:
    """Right guesses in each round of a made-up run: (R,). What is expected of a round has its own noise, the less the more came before."""
    inside = random.random((n_rounds, n_values)) < 0.5
    spread = np.array([math.sqrt(1 + (1 / at if at else 0)) for at in range(n_rounds)])
    seen = inside + sigma * spread[:, None] * random.standard_normal((n_rounds, n_values))
    return right_guesses(seen, inside)
