"""Whole numbers modulo a prime: what shares of a sum are made of, as arrays, exact.

The prime is the least one above twice the largest honest sum, so that a sum has one signed reading, and a word as few bytes as
it needs. A sum of many products is exact in float64, and as fast as a matrix product in floats: whole numbers below 2^53 are,
whatever the order in which they are added. So one factor is cut into limbs that are short enough for every sum of products to
stay below that.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..arrays import Ints, Words, as_declared
from ..errors import ConfigError, InputError, WireError

Entropy = Callable[[int], bytes]  #: n -> n random bytes that nobody can predict

LEAST_PRIME, PRIMES_END = 2**16, 2**32
_EXACT_BITS = 53  #: every whole number up to 2^53 is a float64
#: With these bases the test of Miller and Rabin errs for no number below 4,759,123,141 (Jaeschke 1993, "On strong pseudoprimes
#: to several bases", Mathematics of Computation 61).
_BASES: Final = (2, 7, 61)


def is_prime(number: int) -> bool:
    """Whether a number below 2^32 is a prime; never wrong.

    >>> [n for n in range(8388590, 8388620) if is_prime(n)]
    [8388593, 8388617, 8388619]
    """
    if number < 2 or number % 2 == 0:
        return number == 2
    twos = (number - 1 & 1 - number).bit_length() - 1
    for base in _BASES:
        power = pow(base, number - 1 >> twos, number)
        if number == base or power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


@dataclass(frozen=True)
class Field:
    """The whole numbers modulo `prime`, 2^16 < prime < 2^32; its elements are uint32 below the prime."""

    prime: int

    def __post_init__(self) -> None:
        if not (LEAST_PRIME < self.prime < PRIMES_END and is_prime(self.prime)):
            raise ConfigError(f"expected a prime between 2^16 and 2^32, got {self.prime}")

    @staticmethod
    @lru_cache(maxsize=64)
    def holding(largest: int) -> Field:
        """The smallest field in which every sum in -largest .. largest has its own word; ConfigError beyond 2^31.

        >>> Field.holding(2**22).prime, Field.holding(0).prime
        (8388617, 65537)
        """
        if not 0 <= 2 * largest < PRIMES_END:
            raise ConfigError(f"expected sums within 0 .. 2^31 - 1, got {largest}")
        for candidate in range(max(2 * largest, LEAST_PRIME) + 1, PRIMES_END):
            if is_prime(candidate):
                return Field(candidate)
        raise ConfigError(f"expected sums that a prime below 2^32 holds, got {largest}")

    @property
    def word_bytes(self) -> int:
        """What one element takes when it travels: 3 or 4 whole bytes."""
        return ((self.prime - 1).bit_length() + 7) // 8

    @as_declared
    def from_signed(self, values: Ints) -> Words:
        """Whole numbers as elements, whatever their sign and size: (...)."""
        words: Words = np.mod(values, self.prime).astype(np.uint32)
        return words

    @as_declared
    def to_signed(self, words: Words) -> Ints:
        """Elements as the whole numbers next to zero that they stand for, -(p - 1) / 2 .. (p - 1) / 2: (...).

        >>> Field(65537).to_signed(np.array([5, 65537 - 5], np.uint32)).tolist()
        [5, -5]
        """
        self.expect_elements("words", words)
        signed = words.astype(np.int64)
        signed[words > self.prime // 2] -= self.prime
        return signed

    @as_declared
    def pack(self, words: Words) -> bytes:
        """Elements, in order, as `word_bytes` each, the lowest byte first."""
        self.expect_elements("words", words)
        whole = np.ascontiguousarray(words, "<u4").reshape(-1, 1).view(np.uint8)
        return whole[:, : self.word_bytes].tobytes()

    def unpack(self, data: bytes, n_words: int) -> Words:
        """The elements that `pack` packed: (n_words,). WireError for another length, and for a word that is no element."""
        if len(data) != n_words * self.word_bytes:
            raise WireError(f"expected {n_words} words of {self.word_bytes} bytes, got {len(data)} bytes")
        whole = np.zeros((n_words, 4), np.uint8)
        whole[:, : self.word_bytes] = np.frombuffer(data, np.uint8).reshape(n_words, self.word_bytes)
        words = whole.view("<u4")[:, 0].astype(np.uint32)
        if (words >= self.prime).any():
            raise WireError(f"expected words below {self.prime}, got a larger one")
        return words

    @as_declared
    def matmul(self, left: Words, right: Words) -> Words:
        """The matrix product of left (..., m, k) and right (..., k, n): (..., m, n), exact for k up to 2^20.

        `left` is cut, so let it be the smaller one. With K = ceil(log2 k) and b bits to the prime, limbs of 53 - b - K bits
        keep every sum of products below 2^53: two at 24 bits and k up to 2^17, three at 32 bits and k up to 2^10.
        """
        self.expect_elements("left", left)
        self.expect_elements("right", right)
        n_inner, n_rows = left.shape[-1], left.shape[-2]
        bits = (self.prime - 1).bit_length()
        room = _EXACT_BITS - bits - max(n_inner - 1, 0).bit_length()
        if room < 1:
            raise InputError(f"expected a sum of at most 2^20 products, got {n_inner}")
        n_limbs = -(-bits // room)
        width = -(-bits // n_limbs)
        limbs = [left >> np.uint32(width * i) & np.uint32(2**width - 1) for i in reversed(range(n_limbs))]
        parts = np.matmul(np.concatenate(limbs, axis=-2).astype(np.float64), right.astype(np.float64)).astype(np.uint64)
        total = np.zeros((*parts.shape[:-2], n_rows, parts.shape[-1]), np.uint64)
        for i in range(n_limbs):  # the highest limb first; total << width is below 2^53 too
            total = self._reduced((total << np.uint64(width)) + parts[..., i * n_rows : (i + 1) * n_rows, :])
        return total.astype(np.uint32)

    @as_declared
    def times(self, left: Words, right: Words) -> Words:
        """Products, element by element: (...)."""
        return self._reduced(left.astype(np.uint64) * right).astype(np.uint32)

    @as_declared
    def minus(self, left: Words, right: Words) -> Words:
        """Differences, element by element: (...)."""
        return self._reduced(left.astype(np.uint64) + np.uint64(self.prime) - right).astype(np.uint32)

    @as_declared
    def total(self, words: Words, axis: int = 0) -> Words:
        """Sums along one axis, which goes; of up to 2^32 elements."""
        return self._reduced(words.sum(axis=axis, dtype=np.uint64)).astype(np.uint32)

    @as_declared
    def product(self, words: Words) -> Words:
        """Products along the last axis, which goes; of none: 1."""
        while (n := words.shape[-1]) > 1:
            halves = self.times(words[..., : n // 2], words[..., n // 2 : 2 * (n // 2)])
            words = np.concatenate([halves, words[..., n - 1 :]], axis=-1) if n % 2 else halves
        return words[..., 0] if words.shape[-1] else np.ones(words.shape[:-1], np.uint32)

    @as_declared
    def inverse(self, words: Words) -> Words:
        """What gives 1 when multiplied with each: (...). InputError for 0, which has no inverse. By Fermat: w^(p - 2)."""
        if not words.all():
            raise InputError("expected elements other than 0, which has no inverse")
        out, square, exponent = np.ones_like(words), words, self.prime - 2
        while exponent:
            if exponent & 1:
                out = self.times(out, square)
            square, exponent = self.times(square, square), exponent >> 1
        return out

    @as_declared
    def accepted(self, raw: Words) -> Words:
        """Elements out of random 32-bit words (n,), in order: (as many as are taken,).

        Guarantees. Uniform words give uniform elements: those below the largest multiple of p up to 2^32 are taken, modulo
        p, the others dropped. A longer stream begins with what a shorter one gives. (`acceptance` of them are taken: .998
        at primes just above 2^23, where a mask to 24 bits takes half; never less than half.)
        """
        kept = raw[raw < PRIMES_END // self.prime * self.prime]  # below 2^32: no prime above 2 divides that
        return kept % np.uint32(self.prime)

    @property
    def acceptance(self) -> float:
        """The share of random words that `accepted` takes."""
        return PRIMES_END // self.prime * self.prime / PRIMES_END

    def uniform(self, shape: tuple[int, ...], entropy: Entropy = os.urandom) -> Words:
        """Uniform, independent elements of a shape."""
        wanted = math.prod(shape)
        words = np.empty(0, np.uint32)
        while words.size < wanted:
            n_raw = math.ceil((wanted - words.size) / self.acceptance) + 8
            words = np.concatenate([words, self.accepted(np.frombuffer(entropy(4 * n_raw), "<u4").astype(np.uint32))])
        return words[:wanted].reshape(shape)

    @as_declared
    def expect_elements(self, name: str, words: Words) -> None:
        """InputError unless every word is below the prime."""
        if words.size and words.max() >= self.prime:
            raise InputError(f"expected {name} below {self.prime}, got a larger one")

    def _reduced(self, large: NDArray[Any]) -> NDArray[np.uint64]:
        """uint64 modulo the prime. numpy divides by one number faster than it takes remainders."""
        reduced: NDArray[np.uint64] = large - large // np.uint64(self.prime) * np.uint64(self.prime)
        return reduced
