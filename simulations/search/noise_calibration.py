"""The noise that an epsilon asks for."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

from server.privacy.accounting import Charged, epsilon_to_public
from shared.charges import Charge
from shared.errors import ConfigError
from shared.plan import MAX_SHARE_SIGMA, MIN_SHARE_SIGMA, MIN_STEPS_PER_CLIP, PrivacyPlan, UpdateKind

#: Between these a multiplier is looked for, as far as the grid of a plan has room for it.
LEAST, MOST = 0.1, 1000.0


@lru_cache(maxsize=1024)
def noise_multiplier_for(epsilon: float, charged: Charged, delta: float) -> float:
    """The noise multiplier of the first row, which is learned in rounds, at which all rows together cost at most `epsilon` to
    who sees the models, in four digits. By bisection. ConfigError if no multiplier in 0.1..1000 does."""
    first, *others = charged
    if not 0 < epsilon < math.inf:
        raise ConfigError(f"expected epsilon > 0, got {epsilon}")
    assert isinstance(first, Charge) and isinstance(first.mechanism, UpdateKind)
    kind = first.mechanism

    def reached(noise: float) -> float:
        row = Charge(replace(kind, privacy=_with_noise(kind.privacy, noise)), first.times)
        return epsilon_to_public((row, *others), delta)

    low, high = LEAST, min(MOST, MAX_SHARE_SIGMA * math.sqrt(kind.privacy.honest) / MIN_STEPS_PER_CLIP)
    if reached(high) > epsilon or reached(low) <= epsilon:
        raise ConfigError(
            f"expected an epsilon that a noise multiplier of {low:g} to {high:g} gives in {first.times} rounds at sampling "
            f"rate {kind.privacy.sampling_rate:g}, with all else that the plan charges, got {epsilon:g}"
        )
    while high > 1.0001 * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if reached(middle) <= epsilon else (middle, high)
    return _round_up(high)


def _with_noise(privacy: PrivacyPlan, noise: float) -> PrivacyPlan:
    """The same rounds under other noise, on a grid that has room for it."""
    share = noise / math.sqrt(privacy.honest)
    least, most = math.ceil(MIN_SHARE_SIGMA / share), math.floor(MAX_SHARE_SIGMA / share)
    steps = max(min(max(privacy.steps_per_clip, least), most), MIN_STEPS_PER_CLIP)
    return replace(privacy, noise_multiplier=noise, steps_per_clip=steps, max_epsilon=math.inf)


def _round_up(value: float) -> float:
    """At least `value`, in four digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 3)
    return float(f"{math.ceil(value / unit) * unit:.4g}")
