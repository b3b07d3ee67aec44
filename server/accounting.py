"""Epsilon, two ways: Renyi DP while rounds run (fast), privacy loss distributions at the end (tight).

The mechanism: a Poisson-sampled Gaussian of `noise_multiplier` per round, neighbours by REPLACE_SPECIAL (one device's
contribution becomes zero while it takes part). The noise is a sum of discrete Gaussian shares, which differs from one
Gaussian by less than 1e-12 in delta at the grids that `PrivacyPlan` allows (see `shared.mechanisms`).

Three numbers, never one: to anybody who sees the models (amplified by secret Poisson sampling), to somebody who knows
who took part (unamplified, for a device that took part k times), and to the server, which without secure aggregation
sees each lone share: not protected. Randomised bits are protected against the server as well, by their coins alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from dp_accounting import (
    DpEvent,
    GaussianDpEvent,
    NeighboringRelation,
    PoissonSampledDpEvent,
    SelfComposedDpEvent,
    privacy_accountant,
)
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from shared import rdp
from shared.plan import PrivacyPlan
from shared.randomised_response import BitSchedule

#: Whole Renyi orders: fractional ones cost far more and hardly help at the epsilons of a plan.
ORDERS = [*range(2, 33), *range(36, 65, 4), 80, 96, 128, 192, 256, 512]
NEIGHBOURS = NeighboringRelation.REPLACE_SPECIAL
TO_SERVER = "not protected (no secure aggregation yet)"


def round_event(privacy: PrivacyPlan) -> DpEvent:
    """What one round costs somebody who sees the models."""
    event = GaussianDpEvent(privacy.noise_multiplier)
    return event if privacy.sampling_rate == 1 else PoissonSampledDpEvent(privacy.sampling_rate, event)


#: Further parts of a training, each with how many of its rounds are counted.
Also = tuple[tuple[PrivacyPlan, int], ...]


class RoundAccountant:
    """Epsilon of a training's rounds so far, by RDP: an upper bound, cheap enough to ask before every round.

    `parts`: what is charged, the first of them with the delta and the max_epsilon that hold for all together.
    """

    def __init__(self, *parts: PrivacyPlan) -> None:
        self._parts = parts
        self._accountant = RdpAccountant(ORDERS, NEIGHBOURS)
        self._counts = [0] * len(parts)

    def charge(self, rounds: int = 1, part: int = 0) -> None:
        """Count rounds of one part; never taken back."""
        privacy = self._parts[part]
        if rounds and privacy.noise_multiplier:
            self._accountant.compose(round_event(privacy), rounds)
        self._counts[part] += rounds

    @property
    def rounds(self) -> int:
        """Rounds of the first part."""
        return self._counts[0]

    @property
    def also(self) -> Also:
        """The other parts, with their rounds."""
        return tuple(zip(self._parts[1:], self._counts[1:], strict=True))

    @property
    def epsilon(self) -> float:
        """Epsilon at the plan's delta; infinite without noise, 0 before the first round."""
        charged = [privacy for privacy, count in zip(self._parts, self._counts, strict=True) if count]
        if not all(privacy.noise_multiplier for privacy in charged):
            return math.inf
        return float(self._accountant.get_epsilon(self._parts[0].delta)) if charged else 0.0

    def rounds_of(self, part: int) -> int:
        """Rounds of one part."""
        return self._counts[part]

    def affords_another(self, part: int = 0) -> bool:
        """Whether one more round of a part stays within max_epsilon. The first part gives way: it has what all rounds of
        the others leave."""
        return part > 0 or self.rounds < affordable_rounds(*self._parts)


@lru_cache(maxsize=16)
def affordable_rounds(*parts: PrivacyPlan) -> int:
    """How many rounds of the first part, with all of the others', stay within its max_epsilon: all, if RDP says so; else
    the most that PLD allows."""
    first, ahead = parts[0], RoundAccountant(*parts)
    for part, privacy in enumerate(parts):
        ahead.charge(privacy.rounds, part)
    if math.isinf(first.max_epsilon) or ahead.epsilon <= first.max_epsilon:
        return first.rounds
    others = tuple((privacy, privacy.rounds) for privacy in parts[1:])
    low, high = 0, first.rounds + 1
    while high - low > 1:
        middle = (low + high) // 2
        if epsilon_to_public(first, middle, others) <= first.max_epsilon:
            low = middle
        else:
            high = middle
    return low


@lru_cache(maxsize=64)
def epsilon_of(events: tuple[tuple[DpEvent, int], ...], delta: float) -> float:
    """Epsilon of (event, count) compositions, by PLD."""
    accountant: privacy_accountant.PrivacyAccountant = PLDAccountant(NEIGHBOURS)
    for event, count in events:
        accountant.compose(SelfComposedDpEvent(event, count))
    return float(accountant.get_epsilon(delta)) if events else 0.0


def epsilon_to_public(privacy: PrivacyPlan, rounds: int, also: Also = ()) -> float:
    """To anybody who sees the models of these rounds, while cohort membership stays secret."""
    return _epsilon(privacy, ((privacy, rounds), *also), round_event)


def epsilon_unamplified(privacy: PrivacyPlan, participations: int, also: Also = ()) -> float:
    """To somebody who knows that a device took part this often, and sees only sums."""
    return _epsilon(privacy, ((privacy, participations), *also), lambda p: GaussianDpEvent(p.noise_multiplier))


def _epsilon(privacy: PrivacyPlan, counted: Also, event: Callable[[PrivacyPlan], DpEvent]) -> float:
    """Infinite where a part has no noise."""
    if not privacy.noise_multiplier or any(count and not part.noise_multiplier for part, count in counted):
        return math.inf
    return epsilon_of(tuple((event(part), count) for part, count in counted if count), privacy.delta)


def coins_epsilon(epsilon: float, coins: int, delta: float) -> float:
    """Epsilon of all coins of one device together: their sum, or less by Renyi DP at `delta`. Local differential privacy:
    it holds against the server itself, and nobody's secrecy is needed."""
    return min(coins * epsilon, float(rdp.epsilon(coins * rdp.coin(epsilon), delta)))


def to_server(bits: BitSchedule | None, coins: int, delta: float) -> str:
    """What holds against the server, in words: of updates, and of randomised bits asked for so many times."""
    if bits is None or not coins:
        return TO_SERVER
    together = coins_epsilon(bits.epsilon, coins, delta)
    each = f"{coins} coin{'s' if coins > 1 else ''} of epsilon {bits.epsilon:g} each"
    return f"{TO_SERVER}; randomised bits: {each}, {together:.3g} together"


def likely_participations(privacy: PrivacyPlan, share: float = 0.999) -> int:
    """The number of participations that `share` of the devices do not exceed."""
    n, q = privacy.rounds, privacy.sampling_rate
    if q == 1:
        return n
    k = np.arange(n + 1)
    log_choose = np.array([math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in k])
    cumulative = np.exp(log_choose + k * math.log(q) + (n - k) * math.log1p(-q)).cumsum()
    return min(int(np.searchsorted(cumulative, share)), n)


def finite(epsilon: float) -> float | None:
    """None for an infinite epsilon, which JSON does not know."""
    return epsilon if math.isfinite(epsilon) else None
