"""Canaries in the sums that a run opened: one run, thousands of guesses, and what they prove of one round's epsilon.

After the run, to each sum that it opened are added canaries: one whole clip in one value, each in by the toss of a coin. Somebody who
sees that sum, and all earlier ones, guesses which are in. Nothing is added to the run itself, and no budget is spent.

Why this is an audit of the run. The sum of a round is what its devices did, which follows from the past, and the noise that they
added in that very round. Coins are tossed afterwards, so they are independent of both; given the past, sum plus canaries is the Gaussian
mechanism with the noise that the run had, and each canary moves it by one clip at most. If the noise is as planned, then by Steinke,
Nasr and Jagielski 2023 no way of guessing is right too often (`bounds.py`). Each round has coins of its own, and is guessed from
itself and the past alone: what it taught later rounds would tell of its noise.

What it cannot see. It does not go through a device's clip, nor through who is counted: `mechanism.py` does. More canaries than values
would not be apart from one another: P values hold P. And as every audit, it proves a mistake, never that there is none: at a small
epsilon it shows next to nothing (`power.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from shared.arrays import Bools, Doubles, Ints, as_declared
from shared.plan import PrivacyPlan

from .bounds import one_run_epsilon

#: So large a share of a round's canaries is guessed to be in, and as large a one to be out; of the others nothing is said.
GUESSED: Final = 0.1
#: Fewer values hold too few canaries.
LEAST_VALUES: Final = 40
_STREAM: Final = 0xCA9A


@dataclass(frozen=True)
class Canaries:
    """What came of a run's canaries. `seed`: of their coins, drawn after the run. `guesses`: of each round, of `canaries`. `right`: how
    many of them, round by round. `stated`: epsilon of one round; `at_least`: what the guesses prove of it."""

    seed: int
    rounds: int
    canaries: int
    guesses: int
    right: tuple[int, ...]
    stated: float
    at_least: float

    @property
    def breaks(self) -> bool:
        return self.at_least > self.stated


@as_declared
def canaries_in(sums: Ints, privacy: PrivacyPlan, seed: int, stated: float, delta: float) -> Canaries:
    """Canaries in the sums (R, P) of a run, R >= 1, P >= `LEAST_VALUES`, with coins of a seed."""
    random = np.random.Generator(np.random.Philox(key=[seed, _STREAM]))
    inside = random.random(sums.shape) < 0.5
    seen = sums + inside * privacy.steps_per_clip - expected(sums)
    right = right_guesses(seen, inside)
    n_rounds, n_values = sums.shape
    guesses = 2 * guessed(n_values)
    at_least = one_run_epsilon(right, n_values, guesses, delta)
    return Canaries(seed, n_rounds, n_values, guesses, tuple(right.tolist()), stated, at_least)


def guessed(n_values: int) -> int:
    """How many canaries of so many are guessed to be in, and as many to be out."""
    return max(1, int(GUESSED * n_values))


@as_declared
def expected(sums: Ints) -> Doubles:
    """What somebody expects of each sum who has seen all before it, (R, P): their mean; of the first nothing."""
    earlier = np.cumsum(sums, axis=0)[:-1] / np.arange(1, len(sums))[:, None]
    return np.concatenate([np.zeros((1, sums.shape[1])), earlier])


@as_declared
def right_guesses(seen: Doubles, inside: Bools) -> Ints:
    """How many guesses are right in each round: of the canaries (R, P) whose value is among the largest of their round, "in", among the
    smallest, "out": (R,)."""
    order, k = np.argsort(seen, axis=1, kind="stable"), guessed(seen.shape[1])
    ranked = np.take_along_axis(inside, order, axis=1)
    return np.asarray(ranked[:, -k:].sum(axis=1) + (~ranked[:, :k]).sum(axis=1), np.int64)
