"""The noise that an epsilon asks for."""

from __future__ import annotations

import math
from functools import lru_cache

from server.accounting import Also, RoundAccountant, epsilon_to_public
from shared.errors import ConfigError
from shared.plan import PrivacyPlan

#: A search ends at an epsilon in this share of its target, up to the target itself.
NEAR_TARGET = 0.985


@lru_cache(maxsize=1024)
def noise_multiplier_for(epsilon: float, rounds: int, sampling_rate: float, delta: float, also: Also = ()) -> float:
    """The noise multiplier at which a whole training, and what is charged beside it, cost at most `epsilon` to who sees
    the models, and at least 98.5 % of it. By bisection on RDP, aimed at what PLD then says. ConfigError if no multiplier
    in 0.1..1000 does."""

    def plan(noise: float) -> PrivacyPlan:
        """One device under that noise, on a grid that makes the plan valid: it costs as much as many devices do."""
        grid = min(max(round(1024 / noise), 16), 2**24)
        return PrivacyPlan(1.0, noise, sampling_rate, rounds, 1, 1, steps_per_clip=grid, delta=delta)

    def by_rdp(noise: float) -> float:
        accountant = RoundAccountant(plan(noise), *(part for part, _ in also))
        accountant.charge(rounds)
        for part, (_, count) in enumerate(also, start=1):
            accountant.charge(count, part)
        return accountant.epsilon

    least, most = 0.1, 1000.0
    if not 0 < epsilon < math.inf:
        raise ConfigError(f"expected epsilon > 0, got {epsilon}")
    if by_rdp(most) > epsilon or by_rdp(least) <= epsilon:
        raise ConfigError(
            f"expected an epsilon that a noise multiplier of {least:g} to {most:g} gives in {rounds} rounds at sampling "
            f"rate {sampling_rate:g}, got {epsilon:g}"
        )
    aim, enough = epsilon, most
    for _ in range(20):
        low, high = least, most
        while high > 1.0005 * low:
            middle = math.sqrt(low * high)
            low, high = (low, middle) if by_rdp(middle) <= aim else (middle, high)
        noise = _round_up(high)
        reached = epsilon_to_public(plan(noise), rounds, also)
        if reached <= epsilon:
            enough = min(enough, noise)
            if reached >= NEAR_TARGET * epsilon:
                break
        aim *= 0.995 * epsilon / reached  # PLD is below RDP by a factor that hardly changes from here to there
    return enough


def _round_up(value: float) -> float:
    """At least `value`, in four digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 3)
    return float(f"{math.ceil(value / unit) * unit:.4g}")
