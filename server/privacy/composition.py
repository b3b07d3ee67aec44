"""What one release costs whoever sees sums and coins, as Renyi curves; and what of delta a Gaussian's epsilon must leave.

A cohort of everybody is a plain Gaussian. A sampled one is not the sampled Gaussian of textbooks: every device brings its
own share of the noise, so the noise grows with attendance. Where H honest devices are in the sum, a device is among them
with probability H / (honest devices), behind sqrt(H) shares. A round counts as the worst of all H, order by order: from
the fewest that a sum may be opened with to a number that is exceeded next to never; and never as less than the
textbook's. This takes attendance as public, who attends as chance, alike for all honest devices, and what the others sent
as known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from shared import rdp
from shared.arrays import Doubles, as_declared
from shared.attendance import most_present
from shared.charges import Charge
from shared.mechanisms import table_error
from shared.plan import PrivacyPlan, UpdateKind
from shared.rdp import ORDERS, Curve
from shared.secure_sum.sizes import colluders_behind

from .votes import VotesCharge

#: The part of delta that is set aside for cohorts that are larger than counted with, over all rounds of a row.
ATTENDANCE_SHARE = 1e-3
#: Whole orders up to this one have the closed form of a sampled Gaussian; beyond, sampling is not counted on.
LARGEST_SAMPLED_ORDER = 512
#: Attendance is looked at in at most so many stretches, each with the least noise and the highest rate within it.
STRETCHES = 64
#: A sum over a grid of step h misses the integral of a function with one kink by at most h^2 / 8 of the kink's change of
#: slope, here of a density that is at most 1 / sqrt(2 pi).
GRID_EXCESS = 1 / (8 * math.sqrt(2 * math.pi))


def release_cost(charge: Charge | VotesCharge) -> Curve:
    """One release to who sees sums and coins, while it stays secret who was in a cohort: (O,). Infinite without noise."""
    if isinstance(charge, VotesCharge):
        return charge.cost
    kind = charge.mechanism
    if not isinstance(kind, UpdateKind) or kind.privacy.sampling_rate == 1 or not kind.privacy.noise_multiplier:
        return charge.cost
    privacy = kind.privacy
    return sampled_gaussian(privacy) + rdp.shares_cost(privacy.share_sigma, privacy.honest, kind.n_values)


@lru_cache(maxsize=64)
def sampled_gaussian(privacy: PrivacyPlan) -> Curve:
    """One round of a sampled cohort whose noise grows with attendance: (O,)."""
    noise, rate, honest = privacy.noise_multiplier, privacy.sampling_rate, privacy.honest
    everybody = max(privacy.population - colluders_behind(privacy.max_colluders, privacy.population, rate), honest)
    expected_never = most_present(privacy.population, rate, ATTENDANCE_SHARE * privacy.delta / privacy.rounds)
    most = min(max(expected_never, honest), everybody)
    begins = np.unique(np.rint(np.geomspace(honest, most + 1, STRETCHES + 1)).astype(int))
    pairs = [(rate, noise)]
    for fewest, beyond in zip(begins[:-1].tolist(), begins[1:].tolist(), strict=True):
        pairs.append(((beyond - 1) / everybody, noise * math.sqrt(fewest / honest)))
    near = ORDERS[ORDERS <= LARGEST_SAMPLED_ORDER]
    orders = np.unique(np.concatenate([np.floor(near), np.ceil(near)]))
    moments = np.max([log_moments(q, z, orders) for q, z in pairs], axis=0)
    sampled = np.interp(ORDERS, orders, moments) / (ORDERS - 1)  # a chord of a convex function lies above it
    certain = rdp.gaussian(noise)
    curve: Curve = np.where(ORDERS <= LARGEST_SAMPLED_ORDER, np.minimum(sampled, certain), certain)
    return curve


@as_declared
def log_moments(rate: float, noise: float, orders: Doubles) -> Doubles:
    """(order - 1) times the Renyi divergence of the sampled Gaussian, at whole orders (W,), the last the largest: (W,). Mironov, Talwar and
    Zhang 2019, "Renyi Differential Privacy of the Sampled Gaussian Mechanism", section 3.3."""
    if rate >= 1:
        certain: Doubles = orders * (orders - 1) / (2 * noise**2)
        return certain
    k = np.arange(int(orders[-1]) + 1)
    a, log_factorial = orders[:, None], np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
    left = np.maximum(a - k, 0).astype(int)
    log_choose = log_factorial[a.astype(int)] - log_factorial[k] - log_factorial[left]
    terms = log_choose + k * math.log(rate) + (a - k) * math.log1p(-rate) + k * (k - 1) / (2 * noise**2)
    moments: Doubles = np.logaddexp.reduce(np.where(k <= a, terms, -np.inf), axis=1)
    return np.maximum(moments, 0.0)


def slack(charges: Iterable[Charge | VotesCharge], delta: float, epsilon: float) -> float:
    """What has to be left of delta at an epsilon: for the table behind the noise, in every value of every share that counts;
    for the grid; where cohorts are sampled, for those larger than counted with; and for names that votes of one user bring.

    Distributions that are off by t in total variation cost (1 + e^epsilon) t. Shares beyond those that count are
    independent of everything, and cost nothing. What all rounds of a row lose together is linear in the sum of their
    noise, a discrete Gaussian on a grid that is finer for it than that of one round: one round's excess bounds that of all.
    """
    table = grid = cohorts = names = 0.0
    for charge in charges:
        if isinstance(charge, VotesCharge):
            table += charge.times * charge.votes * table_error(charge.sigma)
            grid += charge.times * GRID_EXCESS / (charge.noise_multiplier**3 * charge.steps**2)
            names += charge.times * charge.names_delta
        elif isinstance(kind := charge.mechanism, UpdateKind) and (privacy := kind.privacy).noise_multiplier:
            table += charge.times * privacy.honest * kind.n_values * table_error(privacy.share_sigma)
            grid += GRID_EXCESS / (privacy.noise_multiplier**3 * privacy.steps_per_clip**2)
            cohorts += (privacy.sampling_rate < 1) * ATTENDANCE_SHARE * delta * charge.times / privacy.rounds
    return table * (1 + math.exp(min(epsilon, 700.0))) + grid + cohorts + names
