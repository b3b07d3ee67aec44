"""What is left of a round's privacy if its sum is broken: one device's own share of the noise.

A sum is broken where too many seats are corrupt, all helpers are one, or the key that signs enrolment is the server's own
([docs/privacy.md](../../docs/privacy.md)).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from shared.arrays import Doubles
from shared.mechanisms import table_error
from shared.plan import PrivacyPlan

#: Where the sum over integers ends, in sigmas beyond either neighbour: a Gaussian has less than 1e-40 there.
REACH_SIGMAS = 14


@lru_cache(maxsize=64)
def lone_share_epsilon(privacy: PrivacyPlan, n_values: int) -> float:
    """Epsilon of one round to somebody who sees one device's vector behind its own noise alone.

    Guarantees. By exact summation over the integers that a share is drawn from: a discrete Gaussian against itself moved by
    a whole clip along one value, which is the direction in which the grid helps least (a vector along others is on a finer
    lattice, and nearer to the continuous Gaussian). What the table of draws is off by is set aside of delta.

    Edge cases. Infinite without noise, and where the table eats up delta. No promise that a plan makes, and no row of the
    account: what a device's ledger charges trusts the sum.
    """
    sigma, delta = privacy.share_sigma, privacy.delta
    if not sigma:
        return math.inf
    loss, chance = _losses(sigma, privacy.steps_per_clip)

    def reached(epsilon: float) -> float:
        beyond = loss > epsilon
        return float(chance[beyond] @ -np.expm1(epsilon - loss[beyond]))

    low, high = 0.0, float(loss.max())
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        aside = n_values * table_error(sigma) * (1 + math.exp(min(middle, 700.0)))
        low, high = (low, middle) if reached(middle) + aside <= delta else (middle, high)
    return high if high < float(loss.max()) * (1 - 1e-6) else math.inf


def _losses(sigma: float, moved: int) -> tuple[Doubles, Doubles]:
    """The privacy loss of every integer x, (X,), and the chance of x, (X,): a discrete Gaussian around `moved` against one
    around zero."""
    reach = math.ceil(REACH_SIGMAS * sigma)
    x = np.arange(moved - reach, moved + reach + 1, dtype=np.float64)
    weight = np.exp(-((x - moved) ** 2) / (2 * sigma**2))
    return (2 * x * moved - float(moved) ** 2) / (2 * sigma**2), weight / weight.sum()
