"""What makes one device's contribution private: clip, integer grid, discrete Gaussian noise. All on a leading axis.

Sources: clipping and the distributed discrete Gaussian after Kairouz, Liu and Steinke, "The Distributed Discrete
Gaussian Mechanism for Federated Learning with Secure Aggregation" (ICML 2021), sections 3-4; the discrete Gaussian after
Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy" (NeurIPS 2020), definition 1; sampling
from a finite integer distribution by Walker's alias method (Vose 1991).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .errors import ConfigError, InputError
from .plan import MAX_SHARE_SIGMA, MODULUS_BITS

Entropy = Callable[[int], bytes]  #: n -> n random bytes that nobody can predict

_DRAW_BITS = 62
_TAIL_SIGMAS = 10
_SHRINK = 1 - 2.0**-40


def clip_to_grid(raw_delta: NDArray[np.floating], clip_norm: float, steps_per_clip: int) -> NDArray[np.int64]:
    """Each vector scaled to L2 norm <= clip_norm, in whole grid steps of clip_norm / steps_per_clip: int64 (..., P).

    Guarantees. The integer vector's L2 norm is <= `steps_per_clip`, worst case included: rounding is towards zero, which
    never lengthens a vector, and the scale is shrunk by 2^-40, above any float64 rounding of norm and product
    (P < 2^20). So replacing a device's vector by zero moves a sum by at most `steps_per_clip`.

    Edge cases. A vector with NaN or infinity becomes the zero vector; zero stays zero; huge finite values do not
    overflow (the largest entry is divided out first); an empty leading axis gives an empty result.
    """
    if not (clip_norm > 0 and math.isfinite(clip_norm)):
        raise ConfigError(f"expected clip_norm > 0, got {clip_norm}")
    delta = np.asarray(raw_delta, dtype=np.float64)
    finite = np.isfinite(delta).all(axis=-1, keepdims=True)
    delta = np.where(finite, delta, 0.0)
    largest = np.abs(delta).max(axis=-1, keepdims=True, initial=0.0)
    unit = delta / np.where(largest > 0, largest, 1.0)
    unit_norm = np.sqrt((unit * unit).sum(axis=-1, keepdims=True))
    direction = unit / np.maximum(unit_norm, 1.0)
    with np.errstate(over="ignore"):
        length = np.minimum(largest * unit_norm / clip_norm, 1.0)
    grid: NDArray[np.int64] = np.trunc(direction * (length * (steps_per_clip * _SHRINK))).astype(np.int64)
    return grid


def from_grid(total: NDArray[np.uint32], grid_step: float) -> NDArray[np.float64]:
    """A sum modulo 2^32 as signed model units: float64 (..., P)."""
    return total.view(np.int32).astype(np.float64) * grid_step


class DiscreteGaussian:
    """Samples integers with P(x) proportional to exp(-x^2 / (2 sigma^2)), from unpredictable bytes, without floats.

    Guarantees. The table holds exact integer weights out of 2^62, so a draw follows the table exactly; the table is
    within 1e-14 of the true distribution in total variation (float64 weights, tails cut at 10 sigma). For P coordinates
    and R releases that adds at most P * R * 1e-14 * (1 + e^epsilon) to delta: 1e-9 for P = 1,441 and R = 14.

    Edge cases. sigma 0 gives zeros (no privacy). sigma is in grid steps; sums of n shares of sigma >= 2 are a discrete
    Gaussian up to 1e-16 (Kairouz et al. 2021, theorem 5).
    """

    def __init__(self, sigma: float) -> None:
        if not (0 <= sigma <= MAX_SHARE_SIGMA):
            raise ConfigError(f"expected sigma in 0..{MAX_SHARE_SIGMA:.0f} grid steps, got {sigma}")
        self.sigma = sigma
        if sigma:
            half, threshold, alias = _alias_table(sigma)
            self._column_bits = int(threshold.size).bit_length() - 1
            self._half = np.int32(half)
            self._high = (threshold >> (_DRAW_BITS - 32)).astype(np.uint32)
            self._low = (threshold & ((1 << (_DRAW_BITS - 32)) - 1)).astype(np.uint32)
            self._alias = (alias - half).astype(np.int32)

    def sample(self, shape: tuple[int, ...], entropy: Entropy = os.urandom) -> NDArray[np.int64]:
        """Independent draws, int64 of `shape`.

        A draw has 62 random bits, column first. The first 32 decide nearly always; only where they tie with the
        column's threshold are the other 30 fetched, so a draw costs 4 bytes of entropy.
        """
        size = math.prod(shape)
        if not self.sigma:
            return np.zeros(shape, np.int64)
        word = _words(entropy, size)
        rest_bits = np.uint32(32 - self._column_bits)
        column = (word >> rest_bits).astype(np.int32)
        rest = word & np.uint32((1 << int(rest_bits)) - 1)
        high = self._high[column]
        keeps = rest < high
        tied = np.flatnonzero(rest == high)
        if tied.size:
            keeps[tied] = (_words(entropy, tied.size) >> np.uint32(2)) < self._low[column[tied]]
        value = np.where(keeps, column - self._half, self._alias[column])
        return value.astype(np.int64).reshape(shape)


def _words(entropy: Entropy, size: int) -> NDArray[np.uint32]:
    """`size` random 32-bit words; InputError if the source gives another number of bytes."""
    raw = entropy(4 * size)
    if len(raw) != 4 * size:
        raise InputError(f"expected {4 * size} bytes of entropy, got {len(raw)}")
    return np.frombuffer(raw, dtype="<u4")


@lru_cache(maxsize=8)
def _alias_table(sigma: float) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """(half width, threshold, alias): column i yields i below its threshold, else its alias. Columns: a power of two."""
    half = math.ceil(_TAIL_SIGMAS * sigma)
    support = np.arange(-half, half + 1, dtype=np.float64)
    weight = np.exp(-(support**2) / (2 * sigma**2))
    columns = 1 << (2 * half).bit_length()
    total = 1 << _DRAW_BITS
    share = weight / math.fsum(weight)
    mass = [int(w) for w in np.rint(share * float(total))]
    mass[half] += total - sum(mass)
    mass += [0] * (columns - len(mass))
    capacity = total // columns
    threshold, alias = [capacity] * columns, list(range(columns))
    small = [i for i, m in enumerate(mass) if m < capacity]
    large = [i for i, m in enumerate(mass) if m > capacity]
    while small and large:
        low, high = small.pop(), large[-1]
        threshold[low], alias[low] = mass[low], high
        mass[high] -= capacity - mass[low]
        if mass[high] <= capacity:
            large.pop()
            if mass[high] < capacity:
                small.append(high)
    return half, np.array(threshold, np.int64), np.array(alias, np.int64)


def protect(
    raw_delta: NDArray[np.floating],
    *,
    clip_norm: float,
    steps_per_clip: int,
    share_sigma: float,
    entropy: Entropy = os.urandom,
) -> NDArray[np.uint32]:
    """What a device hands to the sum: clipped, on the grid, plus its noise share, modulo 2^32: uint32 (..., P).

    Guarantees. Norm bound of `clip_to_grid`, noise of `DiscreteGaussian(share_sigma)` on every coordinate, whatever the
    input: a zero, empty-handed or non-finite delta has the same form as any other. A lone share protects little; the
    plan's guarantee is that of the sum.
    """
    grid = clip_to_grid(raw_delta, clip_norm, steps_per_clip)
    noisy = grid + DiscreteGaussian(share_sigma).sample(grid.shape, entropy)
    words: NDArray[np.uint32] = (noisy & (2**MODULUS_BITS - 1)).astype(np.uint32)
    return words
