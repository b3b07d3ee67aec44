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
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .arrays import Doubles, Ints, Words, as_declared
from .errors import ConfigError, InputError
from .plan import MAX_SHARE_SIGMA

Entropy = Callable[[int], bytes]  #: n -> n random bytes that nobody can predict

_DRAW_BITS = 62
_TAIL_SIGMAS = 10
_SHRINK = 1 - 2.0**-40
_LEAST_CELL_BITS, _MOST_CELL_BITS = 16, 20
_OPEN = -(2**31)  # no draw: beyond every tail


@as_declared
def clip_to_grid(raw_delta: NDArray[np.floating], clip_norm: float, steps_per_clip: int) -> NDArray[np.int32]:
    """Each vector scaled to L2 norm <= clip_norm, in whole grid steps of clip_norm / steps_per_clip: int32 (..., P).

    Guarantees. The integer vector's L2 norm is <= `steps_per_clip`, worst case included: rounding is towards zero, which
    never lengthens a vector, and the scale is shrunk by 2^-40, above any float64 rounding of norm and product
    (P < 2^20). So replacing a device's vector by zero moves a sum by at most `steps_per_clip`.

    Edge cases. A vector with NaN or infinity becomes the zero vector; zero stays zero; huge finite values do not
    overflow (the largest entry is divided out first); an empty leading axis gives an empty result.

    A vector of norm 5 is scaled to 1, in steps of 1/100; one of norm .5 is not scaled.

    >>> clip_to_grid(np.array([[3.0, -4.0], [0.3, -0.4]]), clip_norm=1.0, steps_per_clip=100).tolist()
    [[59, -79], [29, -39]]
    """
    if not (clip_norm > 0 and math.isfinite(clip_norm)):
        raise ConfigError(f"expected clip_norm > 0, got {clip_norm}")
    if not 1 <= steps_per_clip < 2**31:
        raise ConfigError(f"expected steps_per_clip in 1..2^31 - 1, got {steps_per_clip}")
    delta = np.asarray(raw_delta)
    if not delta.size:
        return np.zeros(delta.shape, np.int32)
    largest = np.maximum(delta.max(axis=-1, keepdims=True), -delta.min(axis=-1, keepdims=True)).astype(np.float64)
    finite = np.isfinite(largest)  # a NaN anywhere is also the largest
    divisor = np.where(finite & (largest > 0), largest, 1.0)
    with np.errstate(invalid="ignore"):
        unit = np.divide(
            delta, divisor, dtype=np.float64
        )  # its largest entry is 1: squares neither overflow nor vanish
    if not finite.all():
        unit[~finite[..., 0]] = 0.0
    unit_norm = np.maximum(np.sqrt((unit * unit).sum(axis=-1, keepdims=True)), 1.0)
    with np.errstate(over="ignore"):
        length = np.minimum(divisor * unit_norm / clip_norm, 1.0)
    unit *= length * (steps_per_clip * _SHRINK) / unit_norm
    return unit.astype(np.int32)  # the cast rounds towards zero


@as_declared
def from_grid(total: Words, grid_step: float) -> Doubles:
    """A sum modulo 2^32 as signed model units: float64 (..., P).

    >>> from_grid(np.array([59, 2**32 - 79], np.uint32), grid_step=0.01).tolist()
    [0.59, -0.79]
    """
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
            self._table = _draw_table(sigma)

    def sample(self, shape: tuple[int, ...], entropy: Entropy = os.urandom) -> Ints:
        """Independent draws, int64 of `shape`. A draw costs 4 bytes of entropy, and four more once in a million."""
        return self.sample_words(shape, entropy).view(np.int32).astype(np.int64)

    def sample_words(self, shape: tuple[int, ...], entropy: Entropy = os.urandom) -> Words:
        """Independent draws modulo 2^32, uint32 of `shape`: the same ones as `sample`, from the same bytes.

        A draw has 62 random bits, column first. The first 32 decide nearly always; only where they tie with the
        column's threshold are the other 30 fetched.
        """
        if not self.sigma:
            return np.zeros(shape, np.uint32)
        word = _words(entropy, math.prod(shape))
        value = self._table.of_cells(word)
        open_at = np.flatnonzero(value == _OPEN)
        if open_at.size:
            value[open_at] = self._table.of_words(word[open_at], entropy)
        return value.view(np.uint32).reshape(shape)


@dataclass(frozen=True, eq=False)
class _DrawTable:
    """The alias table of one sigma, split into 32 + 30 bits, and a shortcut through it.

    `half`: column i stands for the integer i - half. `high` and `low` (columns,): the threshold's first and other bits,
    `alias` (columns,): the integer from there on. `cells` (2^cell_bits,): the integer that every word with these first
    bits gives, or `_OPEN` if that depends on the word's other bits.
    """

    half: int
    high: Words
    low: Words
    alias: NDArray[np.int32]
    cells: NDArray[np.int32]

    def of_cells(self, word: Words) -> NDArray[np.int32]:
        """The integers of words (n,) where their first bits decide, `_OPEN` elsewhere: int32 (n,)."""
        cell = (word >> np.uint32(33 - self.cells.size.bit_length())).astype(np.intp)
        return self.cells.take(cell)

    def of_words(self, word: Words, entropy: Entropy) -> NDArray[np.int32]:
        """The integers of words (n,): int32 (n,). Words that tie with their threshold take a second word each."""
        column, rest = self._split(word)
        high = self.high[column]
        keeps = rest < high
        tied = np.flatnonzero(rest == high)
        if tied.size:
            keeps[tied] = (_words(entropy, tied.size) >> np.uint32(2)) < self.low[column[tied]]
        return np.where(keeps, column - np.int32(self.half), self.alias[column])

    def _split(self, word: Words) -> tuple[NDArray[np.int32], Words]:
        """A word's column, and its other bits."""
        rest_bits = 33 - self.high.size.bit_length()
        return (word >> np.uint32(rest_bits)).astype(np.int32), word & np.uint32((1 << rest_bits) - 1)

    def decided(self, cell_bits: int) -> NDArray[np.int32]:
        """`cells` for this many bits, at least as many as the columns have."""
        first = np.arange(1 << cell_bits, dtype=np.uint32) << np.uint32(32 - cell_bits)
        column, lowest = self._split(first)
        highest = lowest + np.uint32((1 << (32 - cell_bits)) - 1)
        high = self.high[column]
        beyond = np.where(lowest > high, self.alias[column], np.int32(_OPEN))
        return np.where(highest < high, column - np.int32(self.half), beyond)


@lru_cache(maxsize=8)
def _draw_table(sigma: float) -> _DrawTable:
    half, threshold, alias = _alias_table(sigma)
    high = (threshold >> (_DRAW_BITS - 32)).astype(np.uint32)
    low = (threshold & ((1 << (_DRAW_BITS - 32)) - 1)).astype(np.uint32)
    table = _DrawTable(half, high, low, (alias - half).astype(np.int32), np.empty(0, np.int32))
    cell_bits = min(max(_LEAST_CELL_BITS, threshold.size.bit_length() + 4), _MOST_CELL_BITS)
    return replace(table, cells=table.decided(cell_bits))


def _words(entropy: Entropy, size: int) -> Words:
    """`size` random 32-bit words; InputError if the source gives another number of bytes."""
    raw = entropy(4 * size)
    if len(raw) != 4 * size:
        raise InputError(f"expected {4 * size} bytes of entropy, got {len(raw)}")
    return np.frombuffer(raw, dtype="<u4")


@lru_cache(maxsize=8)
def _alias_table(sigma: float) -> tuple[int, Ints, Ints]:
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


@as_declared
def protect(
    raw_delta: NDArray[np.floating],
    *,
    clip_norm: float,
    steps_per_clip: int,
    share_sigma: float,
    entropy: Entropy = os.urandom,
) -> Words:
    """What a device hands to the sum: clipped, on the grid, plus its noise share, modulo 2^32: uint32 (..., P).

    Guarantees. Norm bound of `clip_to_grid`, noise of `DiscreteGaussian(share_sigma)` on every coordinate, whatever the
    input: a zero, empty-handed or non-finite delta has the same form as any other. A lone share protects little; the
    plan's guarantee is that of the sum.
    """
    words = clip_to_grid(raw_delta, clip_norm, steps_per_clip).view(np.uint32)  # modulo 2^32
    words += DiscreteGaussian(share_sigma).sample_words(words.shape, entropy)
    return words
