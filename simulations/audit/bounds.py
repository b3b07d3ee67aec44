"""Lower bounds on epsilon that hold: what counts of right and wrong guesses prove, at a stated confidence.

Two kinds. Of many trials of a mechanism in two worlds (Kairouz, Oh and Viswanath 2015, theorem 2.1) with the intervals of
Clopper and Pearson 1934 on both rates; of many canaries in one run (Steinke, Nasr and Jagielski 2023, "Privacy Auditing with One
(1) Training Run", corollary 5.4, which holds for delta > 0). What makes such bounds wrong elsewhere is choosing after looking: a
threshold, or how many guesses, taken from the very trials that are counted. Here a threshold comes from other trials, or is fixed
before and paid for; how many guesses are made is fixed before.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from shared.arrays import Doubles, Ints, as_declared
from shared.errors import InputError

CONFIDENCE: Final = 0.999
#: So many thresholds are tried on half of the trials; the other half measures the best of them.
THRESHOLDS: Final = 400
#: No bound is looked for beyond.
MAX_EPSILON: Final = 50.0
_STEPS: Final = 40


@as_declared
def epsilon_at_least(with_it: Doubles, without_it: Doubles, delta: float, confidence: float = CONFIDENCE) -> float:
    """The epsilon that a mechanism has at least, with this confidence, if it gives scores (n,) in one world and (m,) in
    the other, of a test that says "it was there" above a threshold.

    Guarantees. The threshold is chosen on the first halves, and both rates are measured on the others alone; each is off by
    its interval with a chance of (1 - confidence) / 2. Edge cases. 0 where nothing can be told; with n trials it never
    exceeds log(n / 15) or so, whatever can be told.
    """
    half_with, half_without = len(with_it) // 2, len(without_it) // 2
    tried = np.quantile(np.concatenate([with_it[:half_with], without_it[:half_without]]), np.linspace(0, 1, THRESHOLDS))
    tail = (1 - confidence) / 2
    right, wrong = above(with_it[:half_with], tried), above(without_it[:half_without], tried)
    best = tried[[int(np.argmax(_at_each(right, wrong, half_with, half_without, delta, tail)))]]
    n_with, n_without = len(with_it) - half_with, len(without_it) - half_without
    right, wrong = above(with_it[half_with:], best), above(without_it[half_without:], best)
    return float(_at_each(right, wrong, n_with, n_without, delta, tail)[0])


@as_declared
def epsilon_of_counts(
    right: Ints, wrong: Ints, n_trials: int, delta: float, confidence: float = CONFIDENCE
) -> NDArray[np.float64]:
    """The same from counts above T thresholds that were fixed before any trial: `right` (..., T) of `n_trials` in which it was
    there, `wrong` (..., T) of as many in which it was not: (...).

    Guarantees. By Bonferroni every one of the 2 T rates has its interval with a chance of (1 - confidence) / (2 T) to be off, so
    that the largest of the T bounds holds. Edge cases. 0 where nothing can be told.
    """
    tail = (1 - confidence) / (2 * right.shape[-1])
    return np.asarray(_at_each(right, wrong, n_trials, n_trials, delta, tail).max(axis=-1))


@as_declared
def above(scores: Doubles, thresholds: Doubles) -> Ints:
    """How many scores (n,) exceed each threshold (T,): (T,)."""
    return np.asarray(len(scores) - np.searchsorted(np.sort(scores), thresholds, side="right"), np.int64)


def _at_each(right: Ints, wrong: Ints, n_with: int, n_without: int, delta: float, tail: float) -> Doubles:
    """The bound at each threshold, each rate off with a chance of `tail`."""
    least_right = np.where(right > 0, stats.beta.ppf(tail, np.maximum(right, 1), n_with - right + 1), 0.0)
    most_wrong = np.where(wrong < n_without, stats.beta.ppf(1 - tail, wrong + 1, np.maximum(n_without - wrong, 1)), 1.0)
    ratio = np.maximum(least_right - delta, 0) / most_wrong
    return np.asarray(np.log(np.maximum(ratio, 1.0)))


# ---- one run


def one_run_chance(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """The chance, at most, that `right` or more of `guesses` are right of `canaries` that were each in with chance 1/2, all else is
    abstained from, if what was guessed from is (epsilon, delta)-private in each canary.

    Guarantees. Corollary 5.4 of the source, as in its appendix D. How many guesses there are must not depend on what is guessed.

    >>> round(one_run_chance(100, 100, 75, math.log(3), 0.0), 3)
    0.554
    """
    if not 0 <= right <= guesses <= canaries:
        raise InputError(f"expected right <= guesses <= canaries, got {right}, {guesses}, {canaries}")
    hit = 1 / (1 + math.exp(-epsilon))
    chance = float(stats.binom.sf(right - 1, guesses, hit))
    if delta > 0 and right:
        below = np.cumsum(stats.binom.pmf(np.arange(right - 1, -1, -1), guesses, hit))
        chance += float((below / np.arange(1, right + 1)).max()) * 2 * canaries * delta
    return min(chance, 1.0)


@as_declared
def rounds_chance(right: Ints, canaries: int, guesses: int, epsilon: float, delta: float) -> float:
    """The same of R rounds with canaries of their own, `right` (R,) of `guesses` each, by Fisher's combination.

    Guarantees. Each round's chance holds given all rounds before it, so that their logarithms add up to less than a chi-square
    of 2 R would, whatever a round learns from earlier ones (Fisher 1932, section 21.1; conditional chances suffice, one round after
    the other). Edge cases. One round is itself.
    """
    chances = [one_run_chance(canaries, guesses, int(n), epsilon, delta) for n in right]
    logs = sum(math.log(max(chance, 1e-300)) for chance in chances)
    return float(stats.chi2.sf(-2 * logs, 2 * len(chances)))


@as_declared
def one_run_epsilon(right: Ints, canaries: int, guesses: int, delta: float, confidence: float = CONFIDENCE) -> float:
    """The epsilon of one round at least, with this confidence, of right guesses (R,) as in `rounds_chance`; 0 where chance
    alone would do, `MAX_EPSILON` at most. Found by bisection from below."""
    low, high = 0.0, MAX_EPSILON
    if rounds_chance(right, canaries, guesses, low, delta) > 1 - confidence:
        return 0.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if rounds_chance(right, canaries, guesses, middle, delta) <= 1 - confidence:
            low = middle
        else:
            high = middle
    return low
