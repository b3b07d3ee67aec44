"""Plain whole-number algebra modulo a prime, slow and obvious: what the arrays of the secure sum are held to."""

import numpy as np

from shared.secure_sum.field import Field
from shared.secure_sum.packed_shamir import Code

#: The primes that word sizes and rejection are hardest at: just above 2^16 and 2^23, below and above 2^31, the last below 2^32.
LEAST, THREE_BYTES, NEAR_31, ABOVE_31, LAST = (
    Field(65537),
    Field(8388617),
    Field(2**31 - 1),
    Field(2147483659),
    Field(4294967291),
)
FIELDS = (LEAST, THREE_BYTES, NEAR_31, ABOVE_31, LAST)


def rank(rows, prime: int) -> int:
    """The rank of a matrix, by elimination in Python's integers."""
    rows, found = [[int(x) % prime for x in row] for row in rows], 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((i for i in range(found, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[found], rows[pivot] = rows[pivot], rows[found]
        inverse = pow(rows[found][column], -1, prime)
        for i in range(found + 1, len(rows)):
            if factor := rows[i][column] * inverse % prime:
                rows[i] = [(a - factor * b) % prime for a, b in zip(rows[i], rows[found], strict=True)]
        found += 1
    return found


def interpolated(points, values, at: int, prime: int) -> int:
    """The value at one point of the polynomial through (points, values), after Lagrange."""
    total = 0
    for i, (x, y) in enumerate(zip(points, values, strict=True)):
        numerator = denominator = 1
        for k, other in enumerate(points):
            if k != i:
                numerator, denominator = numerator * (at - other) % prime, denominator * (x - other) % prime
        total += int(y) * numerator * pow(denominator, -1, prime)
    return total % prime


def elements(field: Field, random: np.random.Generator, shape) -> np.ndarray:
    """Uniform elements that come again for the same generator."""
    return random.integers(0, field.prime, shape, dtype=np.uint32)


def shared(code: Code, random: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """The shares of all seats (..., n_seats, B + tests) of vectors (..., d)."""
    lead, n_blocks = values.shape[:-1], code.n_blocks(values.shape[-1])
    streams = elements(code.field, random, (*lead, code.t_priv, n_blocks + code.tests))
    masks = elements(code.field, random, (*lead, code.packing, code.tests))
    return np.concatenate([streams, code.share(values, masks, streams)], axis=-2)
