"""Epsilon, two ways: Renyi DP while rounds run (fast), privacy loss distributions at the end (tight).

The mechanism: a Poisson-sampled Gaussian of `noise_multiplier` per round, neighbours by REPLACE_SPECIAL (one device's
contribution becomes zero while it takes part). The noise is a sum of discrete Gaussian shares, which differs from one
Gaussian by less than 1e-12 in delta at the grids that `PrivacyPlan` allows (see `shared.mechanisms`).

Three numbers, never one: to anybody who sees the models (amplified by secret Poisson sampling), to somebody who knows
who took part (unamplified, for a device that took part k times), and to the server, which without secure aggregation
sees each lone share: not protected.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from dp_accounting import (
    DpEvent,
    GaussianDpEvent,
    NeighboringRelation,
    NoOpDpEvent,
    PoissonSampledDpEvent,
    SelfComposedDpEvent,
    privacy_accountant,
)
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from shared.plan import PrivacyPlan

#: Whole Renyi orders: fractional ones cost far more and hardly help at the epsilons of a plan.
ORDERS = [*range(2, 33), *range(36, 65, 4), 80, 96, 128, 192, 256, 512]
NEIGHBOURS = NeighboringRelation.REPLACE_SPECIAL
TO_SERVER = "not protected (no secure aggregation yet)"


def round_event(privacy: PrivacyPlan) -> DpEvent:
    """What one round costs somebody who sees the models."""
    event = GaussianDpEvent(privacy.noise_multiplier)
    return event if privacy.sampling_rate == 1 else PoissonSampledDpEvent(privacy.sampling_rate, event)


class RoundAccountant:
    """Epsilon of the rounds so far, by RDP: an upper bound, cheap enough to ask before every round."""

    def __init__(self, privacy: PrivacyPlan) -> None:
        self._privacy = privacy
        self._accountant = RdpAccountant(ORDERS, NEIGHBOURS)
        self.rounds = 0

    def charge(self, rounds: int = 1) -> None:
        """Count rounds; never taken back."""
        if self._privacy.noise_multiplier and rounds:
            self._accountant.compose(round_event(self._privacy), rounds)
        self.rounds += rounds

    @property
    def epsilon(self) -> float:
        """Epsilon at the plan's delta; infinite without noise, 0 before the first round."""
        if not self.rounds:
            return 0.0
        if not self._privacy.noise_multiplier:
            return math.inf
        return float(self._accountant.get_epsilon(self._privacy.delta))

    def affords_another(self) -> bool:
        """Whether one more round stays within the plan's max_epsilon."""
        return self.rounds < affordable_rounds(self._privacy)


@lru_cache(maxsize=16)
def affordable_rounds(privacy: PrivacyPlan) -> int:
    """How many of the plan's rounds stay within its max_epsilon: all, if RDP says so; else the most that PLD allows."""
    ahead = RoundAccountant(privacy)
    ahead.charge(privacy.rounds)
    if math.isinf(privacy.max_epsilon) or ahead.epsilon <= privacy.max_epsilon:
        return privacy.rounds
    low, high = 0, privacy.rounds + 1
    while high - low > 1:
        middle = (low + high) // 2
        if epsilon_to_public(privacy, middle) <= privacy.max_epsilon:
            low = middle
        else:
            high = middle
    return low


@lru_cache(maxsize=64)
def epsilon_of(event: DpEvent, count: int, delta: float) -> float:
    """Epsilon of `count` compositions, by PLD."""
    if count == 0:
        return 0.0
    accountant: privacy_accountant.PrivacyAccountant = PLDAccountant(NEIGHBOURS)
    accountant.compose(SelfComposedDpEvent(event, count) if count else NoOpDpEvent())
    return float(accountant.get_epsilon(delta))


def epsilon_to_public(privacy: PrivacyPlan, rounds: int) -> float:
    """To anybody who sees the models of `rounds` rounds, while cohort membership stays secret."""
    return epsilon_of(round_event(privacy), rounds, privacy.delta) if privacy.noise_multiplier else math.inf


def epsilon_unamplified(privacy: PrivacyPlan, participations: int) -> float:
    """To somebody who knows that a device took part `participations` times, and sees only sums."""
    if not privacy.noise_multiplier:
        return math.inf
    return epsilon_of(GaussianDpEvent(privacy.noise_multiplier), participations, privacy.delta)


def likely_participations(privacy: PrivacyPlan, share: float = 0.999) -> int:
    """The number of participations that `share` of the devices do not exceed."""
    n, q = privacy.rounds, privacy.sampling_rate
    if q == 1:
        return n
    k = np.arange(n + 1)
    log_choose = np.array([math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in k])
    cumulative = np.exp(log_choose + k * math.log(q) + (n - k) * math.log1p(-q)).cumsum()
    return min(int(np.searchsorted(cumulative, share)), n)
