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
from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .arrays import Doubles, Ints, Words, as_declared
from .errors import ConfigError, InputError
from .plan import MAX_SHARE_SIGMA

Entropy = Callable[[int], bytes]  #: n -> n random bytes that nobody can predict

_DRAW_BITS = 96
_TAIL_SIGMAS, _CUT_OFF = 12, 4e-33  # 4e-33: more than a Gaussian has beyond 12 sigma
_WEIGHT_BITS, _WEIGHT_DIGITS = 224, 80
#: What the scale of a clipped vector is shrunk by, above any rounding of norm and product.
SHRINK = 1 - 2.0**-40
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
    check_grid(clip_norm, steps_per_clip)
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
    unit *= length * (steps_per_clip * SHRINK) / unit_norm
    return unit.astype(np.int32)  # the cast rounds towards zero


def check_grid(clip_norm: float, steps_per_clip: int) -> None:
    """ConfigError unless vectors can be clipped so, onto such a grid."""
    if not (clip_norm > 0 and math.isfinite(clip_norm)):
        raise ConfigError(f"expected clip_norm > 0, got {clip_norm}")
    if not 1 <= steps_per_clip < 2**31:
        raise ConfigError(f"expected steps_per_clip in 1..2^31 - 1, got {steps_per_clip}")


@as_declared
def from_grid(total: Words, grid_step: float) -> Doubles:
    """A sum modulo 2^32 as signed model units: float64 (..., P).

    >>> from_grid(np.array([59, 2**32 - 79], np.uint32), grid_step=0.01).tolist()
    [0.59, -0.79]
    """
    return total.view(np.int32).astype(np.float64) * grid_step


def table_error(sigma: float) -> float:
    """How far the table that noise of this sigma is drawn from may be from a discrete Gaussian, in total variation: what is
    cut off, and the rounding of every weight to 1 in 2^96."""
    return 2.0 ** -(_DRAW_BITS + 1) * (2 * math.ceil(_TAIL_SIGMAS * sigma) + 1) + _CUT_OFF


class DiscreteGaussian:
    """Samples integers with P(x) proportional to exp(-x^2 / (2 sigma^2)), from unpredictable bytes, without floats.

    Guarantees. The table holds exact integer weights out of 2^96, so a draw follows the table exactly; the table is
    within `table_error(sigma)` of the true distribution in total variation (weights in whole numbers, tails cut at 12
    sigma). For n shares that a sum counts on, P coordinates and R releases that adds at most n * P * R * (1 + e^epsilon)
    times as much to delta: 3e-14 for n = 4,000, P = 1,441, R = 60, sigma 368 and epsilon 7.

    Edge cases. sigma 0 gives zeros (no privacy). sigma is in grid steps; sums of n shares of sigma >= 2 are a discrete
    Gaussian up to 1e-16 (Kairouz et al. 2021, theorem 5).
    """

    def __init__(self, sigma: float) -> None:
        if not (0 <= sigma <= MAX_SHARE_SIGMA):
            raise ConfigError(f"expected sigma in 0..{MAX_SHARE_SIGMA:.0f} grid steps, got {sigma}")
        self.sigma = sigma
        if sigma:
            self.table = _draw_table(sigma)

    def sample(self, shape: tuple[int, ...], entropy: Entropy = os.urandom) -> Ints:
        """Independent draws, int64 of `shape`. A draw costs 4 bytes of entropy, and eight more where these tie."""
        return self.sample_words(shape, entropy).view(np.int32).astype(np.int64)

    def sample_words(self, shape: tuple[int, ...], entropy: Entropy = os.urandom) -> Words:
        """Independent draws modulo 2^32, uint32 of `shape`: the same ones as `sample`, from the same bytes.

        A draw has 96 random bits, column first. The first 32 decide nearly always; only where they tie with the
        column's threshold are the other 64 fetched.
        """
        if not self.sigma:
            return np.zeros(shape, np.uint32)
        word = entropy_words(entropy, math.prod(shape))
        value = self.table.of_cells(word)
        open_at = np.flatnonzero(value == _OPEN)
        if open_at.size:
            value[open_at] = self.table.of_words(word[open_at], entropy)
        return value.view(np.uint32).reshape(shape)


@dataclass(frozen=True, eq=False)
class _DrawTable:
    """The alias table of one sigma, split into 32 + 64 bits, and a shortcut through it.

    `half`: column i stands for the integer i - half. `high` and `low` (columns,): the threshold's first and other bits,
    `alias` (columns,): the integer from there on. `cells` (2^cell_bits,): the integer that every word with these first
    bits gives, or `_OPEN` if that depends on the word's other bits.
    """

    half: int
    high: Words
    low: NDArray[np.uint64]
    alias: NDArray[np.int32]
    cells: NDArray[np.int32]

    def of_cells(self, word: Words) -> NDArray[np.int32]:
        """The integers of words (n,) where their first bits decide, `_OPEN` elsewhere: int32 (n,)."""
        cell = (word >> np.uint32(33 - self.cells.size.bit_length())).astype(np.intp)
        return self.cells.take(cell)

    def of_words(self, word: Words, entropy: Entropy) -> NDArray[np.int32]:
        """The integers of words (n,): int32 (n,). Words that tie with their threshold take two more words each."""
        column, rest = self._split(word)
        high = self.high[column]
        keeps = rest < high
        tied = np.flatnonzero(rest == high)
        if tied.size:
            keeps[tied] = entropy_words(entropy, 2 * tied.size).view("<u8") < self.low[column[tied]]
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


@lru_cache(maxsize=4)  # p's and phi's, of two plans: one of the widest takes 10 MB
def _draw_table(sigma: float) -> _DrawTable:
    half, threshold, alias = _alias_table(sigma)
    low_bits = _DRAW_BITS - 32
    high = np.array([own >> low_bits for own in threshold], np.uint32)
    low = np.array([own & ((1 << low_bits) - 1) for own in threshold], np.uint64)
    table = _DrawTable(half, high, low, (np.array(alias) - half).astype(np.int32), np.empty(0, np.int32))
    cell_bits = min(max(_LEAST_CELL_BITS, len(threshold).bit_length() + 4), _MOST_CELL_BITS)
    return replace(table, cells=table.decided(cell_bits))


def entropy_words(entropy: Entropy, size: int) -> Words:
    """`size` random 32-bit words; InputError if the source gives another number of bytes."""
    raw = entropy(4 * size)
    if len(raw) != 4 * size:
        raise InputError(f"expected {4 * size} bytes of entropy, got {len(raw)}")
    return np.frombuffer(raw, dtype="<u4")


def _alias_table(sigma: float) -> tuple[int, list[int], list[int]]:
    """(half width, threshold, alias): column i yields i below its threshold, else its alias. Columns: a power of two."""
    half = math.ceil(_TAIL_SIGMAS * sigma)
    weight = _weights(sigma, half)
    columns = 1 << (2 * half).bit_length()
    total = 1 << _DRAW_BITS
    everything = weight[0] + 2 * sum(weight[1:])
    side = [((w << (_DRAW_BITS + 1)) // everything + 1) >> 1 for w in weight[1:]]
    mass = [*reversed(side), total - 2 * sum(side), *side]
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
    return half, threshold, alias


def _weights(sigma: float, most: int) -> list[int]:
    """exp(-k^2 / (2 sigma^2)) for k = 0 .. most, as whole numbers of 2^-224: each from the one before, for the ratio of
    neighbours falls by the same factor from one to the next. Off by less than 2^-120 of the smallest."""
    with localcontext() as context:
        context.prec = _WEIGHT_DIGITS
        unit, variance = Decimal(2) ** _WEIGHT_BITS, Decimal(sigma) ** 2
        ratio, falls = (int((Decimal(-1) / (n * variance)).exp() * unit) for n in (2, 1))
    out = [1 << _WEIGHT_BITS]
    for _ in range(most):
        out.append(out[-1] * ratio >> _WEIGHT_BITS)
        ratio = ratio * falls >> _WEIGHT_BITS
    return out


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
