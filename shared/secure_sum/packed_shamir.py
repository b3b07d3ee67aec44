"""Shares of a vector: any `t_priv` of them are noise, any `t_rec` of them give it back, and they add.

Packed secret sharing (Franklin and Yung 1992, "Communication complexity of secure computation", STOC; from Shamir 1979): a
polynomial of degree below t_rec carries l = t_rec - t_priv values, at the points -1 .. -l, and its values at 1 .. L are the
shares of L seats. Adding shares adds the values, so a seat that sums its shares holds a share of the sum.

The polynomial is not chosen and then read off at the first t_priv seats: it is the other way round. Their shares are random
streams that device and seat agree on without sending them (as Cramer, Damgard and Ishai 2005, "Share conversion,
pseudorandom secret-sharing and applications to secure computation", do it for whole sharings), and streams and values together
say what the others get: one matrix product for all blocks of all devices.

Where there are more seats than answers needed, each vector carries `TESTS` blocks more, of uniform values, which are never
summed: they hide the vector in the test of shared/secure_sum/consistency.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from ..arrays import Ints, Words, as_declared
from ..errors import ConfigError, InputError, SumError
from .field import Field

#: Random checks of each device's shares; each misses shares that lie on no polynomial with probability 1 / p.
TESTS: Final = 3
#: Answers beyond t_rec without which nothing is opened where there are seats to spare: one lie among them is corrected.
SPARE: Final = 2
MOST_SEATS: Final = 2**12


@lru_cache(maxsize=32)
def lagrange(field: Field, sources: tuple[int, ...], targets: tuple[int, ...]) -> Words:
    """The matrix that makes the values at `targets` of those at `sources`, for polynomials of degree below len(sources):
    (targets, sources). The points are elements, all different."""
    from_points, to_points = np.array(sources, np.uint32), np.array(targets, np.uint32)
    gaps = field.minus(to_points[:, None], from_points)
    weights = field.times(gaps, _spans(field, from_points))
    matrix = field.times(field.product(gaps)[:, None], field.inverse(weights))
    matrix.setflags(write=False)
    return matrix


@lru_cache(maxsize=32)
def parity(field: Field, points: tuple[int, ...], degree: int) -> Words:
    """The matrix that makes zeros of the values at `points` of polynomials of degree below `degree`, and of nothing else:
    (points - degree, points); row j has x^j over the product of x - y over all other points y (MacWilliams and Sloane 1977, "The
    Theory of Error-Correcting Codes", chapter 10, section 8)."""
    at = np.array(points, np.uint32)
    row = field.inverse(_spans(field, at))
    rows = [row := field.times(row, at) if j else row for j in range(at.size - degree)]
    matrix = np.array(rows, np.uint32).reshape(-1, at.size)
    matrix.setflags(write=False)
    return matrix


def _spans(field: Field, points: Words) -> Words:
    """The product of each point's differences to all others: (n,)."""
    gaps = field.minus(points[:, None], points)
    np.fill_diagonal(gaps, 1)
    return field.product(gaps)


@dataclass(frozen=True)
class Code:
    """How a vector becomes shares for seats 0 .. n_seats - 1, and a vector again.

    Guarantees. The shares of any t_priv seats are uniform and independent of the vector if the streams are: for each vector the map
    from streams to them is one to one. Any t_rec shares give the vector back. Between the two each share gives one equation for
    each block: t_rec - 1 leave a line of vectors, on which every single value is still open.
    """

    field: Field
    n_seats: int
    t_priv: int
    t_rec: int

    def __post_init__(self) -> None:
        if not 1 <= self.t_priv < self.t_rec <= self.n_seats <= MOST_SEATS:
            raise ConfigError(
                f"expected 1 <= t_priv < t_rec <= seats <= {MOST_SEATS}, got {self.t_priv}, {self.t_rec} and {self.n_seats}"
            )
        if 0 < self.n_seats - self.t_rec < SPARE:
            raise ConfigError(
                f"expected no seat to spare, or {SPARE} at least, got {self.n_seats} seats of which {self.t_rec} are needed"
            )

    @property
    def packing(self) -> int:
        """Values in one block."""
        return self.t_rec - self.t_priv

    @property
    def tests(self) -> int:
        """Blocks that are shared for the test only: none where every seat's answer is needed, for then no test is possible."""
        return TESTS if self.n_seats > self.t_rec else 0

    @property
    def needed(self) -> int:
        """The fewest answers of which a sum is opened: all where there are none to spare, else `SPARE` more than t_rec."""
        return self.t_rec + (SPARE if self.n_seats > self.t_rec else 0)

    def n_blocks(self, n_values: int) -> int:
        """Blocks that so many values take: B."""
        if n_values < 1:
            raise InputError(f"expected at least one value, got {n_values}")
        return -(-n_values // self.packing)

    def n_words(self, n_values: int) -> int:
        """Words in a seat's share of one vector: its blocks, and those of the test."""
        return self.n_blocks(n_values) + self.tests

    @as_declared
    def share(self, values: Words, masks: Words, streams: Words) -> Words:
        """What the seats from t_priv on get: (..., n_seats - t_priv, B + tests). Block b has the values b, B + b, 2 B + b ..

        values (..., d): the vector. masks (..., packing, tests): uniform, from this device's own entropy, used for nothing
        else. streams (..., t_priv, B + tests): the shares of the first t_priv seats, uniform to everybody but their seat.
        InputError for shapes that do not fit.

        Edge cases. The last blocks are filled up with zeros, which an opened sum shows to nobody.
        """
        n_blocks = self.n_blocks(values.shape[-1])
        lead = values.shape[:-1]
        _expect_shape("masks", masks, (*lead, self.packing, self.tests))
        _expect_shape("streams", streams, (*lead, self.t_priv, n_blocks + self.tests))
        known = np.zeros((*lead, self.t_rec, n_blocks + self.tests), np.uint32)
        known[..., : self.t_priv, :] = streams
        padded = np.zeros((*lead, self.packing * n_blocks), np.uint32)
        padded[..., : values.shape[-1]] = values
        known[..., self.t_priv :, :n_blocks] = padded.reshape(*lead, self.packing, n_blocks)
        known[..., self.t_priv :, n_blocks:] = masks
        return self.field.matmul(self.sharing, known)

    @property
    def sharing(self) -> Words:
        """The matrix that makes the other shares of streams and values: (n_seats - t_priv, t_rec)."""
        seats = range(1, self.n_seats + 1)
        return lagrange(self.field, (*seats[: self.t_priv], *self.secret_points), tuple(seats[self.t_priv :]))

    @property
    def secret_points(self) -> tuple[int, ...]:
        return tuple(range(self.field.prime - 1, self.field.prime - 1 - self.packing, -1))

    @as_declared
    def open(self, positions: Ints, sums: Words, n_values: int) -> Words:
        """The vector whose shares seats at `positions` (A,) gave as sums (A, B), A >= t_rec: (n_values,).

        InputError for shapes and positions that do not fit; SumError for fewer answers than t_rec, and unless all of them lie
        on polynomials of degree below t_rec. That t_rec answers always do: they are taken as they are.
        """
        n_blocks = self.n_blocks(n_values)
        _expect_shape("sums", sums, (positions.size, n_blocks))
        if self.syndromes(positions, sums).any():
            raise SumError("answers", "expected answers that agree with each other")
        points = tuple((positions[: self.t_rec] + 1).tolist())
        secrets = self.field.matmul(lagrange(self.field, points, self.secret_points), sums[: self.t_rec])
        return secrets.reshape(-1)[:n_values]

    @as_declared
    def syndromes(self, positions: Ints, shares: Words) -> Words:
        """What is left of shares (A, n) of seats at `positions` (A,) that lie on polynomials of degree below t_rec, column by
        column: zeros, and of all others something else: (A - t_rec, n). SumError for fewer answers than t_rec."""
        return self.field.matmul(parity(self.field, self.points(positions), self.t_rec), shares)

    @as_declared
    def points(self, positions: Ints) -> tuple[int, ...]:
        """Where the polynomials are read for seats at `positions` (A,). InputError for seats that there are not, or that come
        twice; SumError for fewer than t_rec."""
        if positions.size != np.unique(positions).size or not ((positions >= 0) & (positions < self.n_seats)).all():
            raise InputError(f"expected different positions in 0..{self.n_seats - 1}, got {positions.tolist()}")
        if positions.size < self.t_rec:
            raise SumError("few", f"expected answers of at least {self.t_rec} seats, got {positions.size}")
        return tuple((positions + 1).tolist())


def _expect_shape(name: str, words: Words, shape: tuple[int, ...]) -> None:
    if words.shape != shape:
        raise InputError(f"expected {name} of shape {shape}, got {words.shape}")
