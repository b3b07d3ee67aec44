"""Symmetric matrices as vectors of the same norm, as they go into a sum."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..arrays import Doubles, Ints, as_declared


def packed_length(n: int) -> int:
    """How many values a `packed` (n, n) matrix has."""
    return n * (n + 1) // 2


@lru_cache(maxsize=4)
def _triangle(n: int) -> tuple[Ints, Ints, Doubles]:
    """Rows, columns and weights of the entries of the upper triangle of a symmetric (n, n) matrix."""
    row, column = np.triu_indices(n)
    return row, column, np.where(row == column, 1.0, np.sqrt(2.0))


@as_declared
def packed(matrix: Doubles) -> Doubles:
    """Symmetric matrices (..., n, n) as vectors (..., n (n + 1) / 2) of the same norm.

    >>> packed(np.array([[1.0, 2.0], [2.0, 3.0]])).round(3).tolist()
    [1.0, 2.828, 3.0]
    """
    row, column, weight = _triangle(matrix.shape[-1])
    out: Doubles = matrix[..., row, column] * weight
    return out


@as_declared
def unpacked(vector: Doubles, n: int) -> Doubles:
    """The matrices (..., n, n) of `packed` vectors."""
    row, column, weight = _triangle(n)
    out = np.zeros((*vector.shape[:-1], n, n))
    out[..., row, column] = out[..., column, row] = vector / weight
    return out
