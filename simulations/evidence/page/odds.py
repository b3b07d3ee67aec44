"""Epsilon and delta as what somebody who bets can win by them: for people who know neither.

Two worlds: in one a device contributed what it did, in the other nothing, while it took part. Somebody sees all that is published,
and bets which world it is. If an algorithm is (epsilon, delta)-differentially private, every event has in one world at most
e^epsilon times its probability in the other, plus delta (Dwork and Roth 2014, definition 2.4). With a and b the probabilities that the
bettor says "contributed" in the two worlds, a <= e^epsilon b + delta and 1 - b <= e^epsilon (1 - a) + delta; so at even odds the
share of bets that are right, (a + 1 - b) / 2, is at most (e^epsilon + delta) / (e^epsilon + 1).
"""

from __future__ import annotations

import math


def right_at_most(epsilon: float, delta: float) -> float:
    """The largest share of bets at even odds that can be right: 0.5 is tossing a coin. Exact, delta included.

    >>> right_at_most(0.0, 0.0)
    0.5
    """
    return min(1.0, (1.0 + delta * math.exp(-epsilon)) / (1.0 + math.exp(-epsilon)))


def in_a_thousand(share: float) -> int:
    """A share in a thousand, rounded up: a bound that is printed is never below the bound."""
    return math.ceil(round(1000 * share, 9))


def odds_factor(epsilon: float) -> int | float | None:
    """e^epsilon, rounded up: below ten to a tenth, else to whole ones, of which three digits count; None above a million."""
    if epsilon > math.log(1e6):
        return None
    factor = math.exp(epsilon)
    if factor < 10:
        return math.ceil(round(10 * factor, 9)) / 10
    place: int = 10 ** max(0, math.floor(math.log10(factor)) - 2)
    return math.ceil(round(factor / place, 9)) * place


def one_in(delta: float) -> int | None:
    """Delta as one in so many, rounded down to whole ones; None for a delta of nothing."""
    return math.floor(round(1 / delta, 6)) if delta > 0 else None
