"""What a release costs and what a device has spent, as Renyi curves: float64 (..., O) over the fixed orders.

Renyi differential privacy composes by addition, order by order (Mironov 2017, "Renyi Differential Privacy"), so a
spent budget is one curve, and a phone's ledger and a host's K ledgers are the same arrays with another leading axis.
Neighbours: a device's contribution is replaced by the null contribution (a zero vector, no alert) while it takes part.
For the coin that is one bit against the other.

No amplification anywhere in this file: it is the view of the device, which knows that it took part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arrays import Bools, Doubles, as_declared
from .attendance import binomial
from .errors import InputError
from .plan import PrivacyPlan

Curve = NDArray[np.float64]  #: (..., O): a Renyi divergence for every order

#: Renyi orders, as part of every stored curve: never change one. Dense where Gaussians of epsilon 0.1 to 20 have their
#: best order; the largest lets a few coins cost what pure differential privacy says, the sum of their epsilons.
ORDERS: Curve = np.array(
    [round(1 + 2.0 ** (i / 4), 3) for i in range(-8, 29)] + [2.0**e + 1 for e in (8, 9, 10, 12, 14, 17, 20)]
)
ORDERS.flags.writeable = False


#: So many terms of the sum over noise shares are added one by one: from two grid steps of noise on, the least that a plan
#: may have, the others are below 1e-30 each.
EXACT_TERMS = 1 << 12


def zero(*leading: int) -> Curve:
    """Nothing spent: (*leading, O)."""
    return np.zeros((*leading, ORDERS.size))


def gaussian(noise_multiplier: float) -> Curve:
    """One Gaussian release of L2 sensitivity 1 and this standard deviation: order / (2 sigma^2), (O,) (Mironov 2017,
    corollary 3). Infinite without noise."""
    if not (noise_multiplier >= 0 and math.isfinite(noise_multiplier)):
        raise InputError(f"expected noise_multiplier >= 0, got {noise_multiplier}")
    with np.errstate(divide="ignore"):
        return ORDERS / (2 * np.float64(noise_multiplier) ** 2)


def discrete_gaussian_sum(norm_steps: float, share_sigma: float, shares: int, size: int) -> Curve:
    """One release of an integer vector of `size` values and L2 norm <= `norm_steps`, behind the sum of `shares`
    independent discrete Gaussians of `share_sigma` each: (O,). Infinite without noise.

    Every share adds to the honest Gaussian's curve what the sum's distance from one discrete Gaussian can cost:
    the sum of k + 1 shares and a single one differ by a factor of at most exp(5 exp(-2 pi^2 sigma^2 k / (k + 1))) on
    every integer (Kairouz, Liu and Steinke 2021, section 4, on convolutions; sigma >= 1/2), in the numerator as in the
    denominator. For one discrete Gaussian: Canonne, Kamath and Steinke 2020, theorem 4. The table that draws it is cut
    at 12 sigma; see `shared.mechanisms.DiscreteGaussian` for the delta that this adds.
    """
    if not (norm_steps > 0 and math.isfinite(norm_steps) and shares >= 1 and size >= 1):
        raise InputError(f"expected norm_steps > 0, shares and size >= 1, got {norm_steps}, {shares}, {size}")
    if shares > 1 and 0 < share_sigma < 0.5:
        raise InputError(f"expected share_sigma >= 0.5 for a sum of shares, got {share_sigma}")
    curve = gaussian(share_sigma * math.sqrt(shares) / norm_steps)
    return curve + shares_cost(share_sigma, shares, size)


def _sum_of_gaps(sigma: float, shares: int) -> float:
    """Sum of exp(-2 pi^2 sigma^2 k / (k + 1)) for k = 1 .. shares - 1, or a little more.

    Terms fall. The first `EXACT_TERMS` are added up, and every further one counts as the largest of these, so that the
    cost of asking does not grow with a number that a server chose.

    >>> exact = sum(math.exp(-8 * math.pi**2 * k / (k + 1)) for k in range(1, 10**5))
    >>> bool(exact <= _sum_of_gaps(2.0, 10**5) < exact + 1e-9), _sum_of_gaps(2.0, 10**21) < 1e-9
    (True, True)
    """
    k = np.arange(1, min(shares - 1, EXACT_TERMS) + 2, dtype=np.float64)
    terms = np.exp(-2 * math.pi**2 * sigma**2 * k / (k + 1))
    return float(terms[:-1].sum() + (shares - k.size) * terms[-1])


def shares_cost(share_sigma: float, shares: int, size: int) -> Curve:
    """What `discrete_gaussian_sum` adds to the Gaussian's curve: (O,). Times `times`, its last entry bounds from above what
    so many releases add to any epsilon."""
    return 5 * _sum_of_gaps(share_sigma, shares) * size * (2 * ORDERS - 1) / (ORDERS - 1)


def update_cost(privacy: PrivacyPlan, size: int) -> Curve:
    """One participation in a round of the plan, for an update of `size` values: (O,). Only noise that the device may
    trust counts: the shares of `min_survivors - max_colluders` devices."""
    return discrete_gaussian_sum(privacy.steps_per_clip, privacy.share_sigma, privacy.honest, size)


def coin(epsilon: float) -> Curve:
    """One symmetric randomised response of a bit: (O,), at most `epsilon` at every order.

    Closed form, one bit against the other (REPLACE_ONE): log(cosh((a - 1/2) epsilon) / cosh(epsilon / 2)) / (a - 1),
    which is Mironov 2017, proposition 5, with p = e^epsilon / (1 + e^epsilon).
    """
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise InputError(f"expected epsilon > 0, got {epsilon}")
    half, far = epsilon / 2, (ORDERS - 0.5) * epsilon
    near = np.minimum(far, 1.0)  # without cancellation where the argument is small
    small = np.log1p(2 * np.sinh((near + half) / 2) * np.sinh(np.maximum(near - half, 0) / 2) / math.cosh(min(half, 1)))
    large = _log_cosh(far) - _log_cosh(np.float64(half))
    return np.minimum(np.where(far <= 1, small, large) / (ORDERS - 1), epsilon)


def _log_cosh(x: Curve | np.float64) -> Curve:
    """log cosh x for x >= 0, without overflow."""
    return np.asarray(x + np.log1p(np.exp(-2 * x)) - math.log(2))


@as_declared
def epsilon(curve: Curve, delta: float) -> Doubles:
    """Epsilon of (..., O) curves at `delta`: (...). Infinite for a curve with NaN or a negative value.

    Conversion: Canonne, Kamath and Steinke 2020, proposition 12 (v4), the best over the orders; 0 where the KL bound
    delta >= sqrt(1 - exp(-curve)) already says so. The same as dp-accounting's.

    One release at noise multiplier 4, and 14 of them:

    >>> [round(float(epsilon(n * gaussian(4.0), 1e-5)), 2) for n in (1, 14)]
    [1.01, 4.38]
    """
    if not 0 < delta < 1:
        raise InputError(f"expected delta in (0, 1), got {delta}")
    curve = np.asarray(curve, dtype=np.float64)
    if curve.shape[-1:] != ORDERS.shape:
        raise InputError(f"expected curves over {ORDERS.size} orders, got {curve.shape[-1:]}")
    at_order = curve + (np.log1p(-1 / ORDERS) - np.log(delta * ORDERS) / (ORDERS - 1))
    best = np.maximum(at_order.min(axis=-1), 0.0)
    nothing = (delta**2 + np.expm1(-np.maximum(curve, 0)) > 0).any(axis=-1)
    valid = (curve >= 0).all(axis=-1)
    return np.where(valid, np.where(nothing, 0.0, best), np.inf)


def gaussian_epsilon(mu: float, delta: float, coins: Sequence[tuple[float, int]] = ()) -> float:
    """Epsilon of Gaussian releases, and of coins beside them (the epsilon of each kind, how many), exactly. Composed, the
    Gaussians are one of sensitivity / sigma = `mu`.

    The loss of n coins of epsilon e is (2 k - n) e where k of them are true, a binomial number; that of all is the sum of
    independent parts, so delta is a mean of Gaussian deltas, each at epsilon less the coins' loss (Balle and Wang 2018,
    theorem 8; Warner 1965). Solved by bisection from above: never below the true value, above it by less than 1e-9
    relative.

    14 releases at noise multiplier 4: less than the bound that `epsilon` gives, 4.38. Two coins of epsilon 1 with them:

    >>> round(gaussian_epsilon(math.sqrt(14) / 4, 1e-5), 2)
    4.05
    >>> round(gaussian_epsilon(math.sqrt(14) / 4, 1e-5, [(1.0, 2)]), 2)
    5.91
    """
    if not 0 < delta < 1 or not mu >= 0:
        raise InputError(f"expected mu >= 0 and delta in (0, 1), got {mu}, {delta}")
    losses = _coin_losses(coins)

    def reached(epsilon: float) -> float:
        return math.fsum(chance * _gaussian_delta(epsilon - loss, mu) for loss, chance in losses)

    if reached(0.0) <= delta:
        return 0.0
    low, high = 0.0, mu * mu / 2 + mu * math.sqrt(2 * math.log(1 / delta))  # the classical bound by zCDP
    high += sum(epsilon * times for epsilon, times in coins)
    if not math.isfinite(high):
        return math.inf
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) <= delta else (middle, high)
    return high


def _coin_losses(coins: Sequence[tuple[float, int]]) -> list[tuple[float, float]]:
    """The privacy loss of all coins together: (loss, its probability)."""
    found = [(0.0, 1.0)]
    for epsilon, times in coins:
        chances = binomial(times, 1 / (1 + math.exp(-epsilon)))
        own = [((2 * k - times) * epsilon, float(chance)) for k, chance in enumerate(chances)]
        found = [(one + other, p * q) for one, p in found for other, q in own if p * q]
    return found


def _gaussian_delta(epsilon: float, mu: float) -> float:
    """Delta of one Gaussian of sensitivity / sigma = mu at an epsilon of either sign."""
    if not mu:
        return -math.expm1(min(epsilon, 0.0))
    tail = _normal_tail(epsilon / mu + mu / 2)
    return _normal_tail(epsilon / mu - mu / 2) - (math.exp(epsilon + math.log(tail)) if tail else 0.0)


def _normal_tail(x: float) -> float:
    return math.erfc(x / math.sqrt(2)) / 2


@as_declared
def charge(spent: Curve, cost: Curve, cap_epsilon: ArrayLike, delta: float) -> tuple[Curve, Bools]:
    """`spent` (..., O) with `cost` (O,) on top where that stays within `cap_epsilon` (...), and where it does: (...).

    Nothing is changed in place. A cost that is negative or NaN anywhere is never allowed, nor is a cap that is NaN; an
    infinite cost only under an infinite cap.
    """
    with np.errstate(invalid="ignore"):
        after = spent + cost
    allowed = (epsilon(after, delta) <= np.asarray(cap_epsilon)) & bool((cost >= 0).all())
    return np.where(allowed[..., None], after, spent), allowed
