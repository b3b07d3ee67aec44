"""Clip, grid and noise of many devices' vectors, as `shared.mechanisms.protect` makes them, one vector after the other.

The same raw vectors and the same entropy give the same words, but for one thing: the float64 norm of a vector is added up in another
order, and where its last bit is another one, a value that lies as close as that to a whole step may be on its other side.
"""

from __future__ import annotations

import math
import os
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Words, as_declared
from shared.mechanisms import SHRINK, DiscreteGaussian, Entropy, check_grid, entropy_words

from ..life.compiled import compiled

#: Squares go into so many sums, and these into one: of P values, P <= 2^18, that is off by less than (P / 64 + 64) 2^-53 < 2^-40 of it,
#: and the norm by half as much.
_SUMS = 64
_ALIAS_BITS = np.uint64(32)
_ALIAS = np.uint64(0xFFFFFFFF)


@compiled
def _onto_grid(
    deltas: NDArray[Any],
    bits: NDArray[Any],
    magnitude: Any,
    infinite: Any,
    largest: tuple[NDArray[Any], NDArray[Any]],
    clip_norm: float,
    steps: float,
    out: NDArray[np.int32],
) -> None:
    """`clip_to_grid` of deltas (D, P), whose `bits` are the same memory: out (D, P).

    Without its sign the largest bits are those of the largest value, or of one that is not finite: `infinite` and beyond. `largest`:
    room for one value, and its bits.
    """
    n_values = deltas.shape[1]
    whole = n_values // _SUMS
    unit, sums = np.zeros((whole + 1, _SUMS)), np.empty(_SUMS)
    flat = unit.reshape(-1)
    for device in range(deltas.shape[0]):
        delta, to = deltas[device], out[device]
        most = magnitude & ~magnitude
        for bit in bits[device]:
            most = max(most, bit & magnitude)
        if most == 0 or most >= infinite:
            to[:] = 0
            continue
        largest[1][0] = most
        divisor = np.float64(largest[0][0])
        for i in range(n_values):
            flat[i] = np.float64(delta[i]) / divisor
        sums[:] = 0
        for block in range(whole + 1):
            for i in range(_SUMS):
                sums[i] += unit[block, i] * unit[block, i]
        squares = 0.0
        for i in range(_SUMS):
            squares += sums[i]
        norm = max(math.sqrt(squares), 1.0)
        length = min(divisor * norm / clip_norm, 1.0)
        scale = length * steps / norm
        for i in range(n_values):
            to[i] = np.int32(flat[i] * scale)


@as_declared
def onto_grid(raw_delta: NDArray[np.floating], clip_norm: float, steps_per_clip: int) -> NDArray[np.int32]:
    """`clip_to_grid`: each vector scaled to L2 norm <= clip_norm, in whole grid steps: int32 (..., P).

    Guarantees. Its: the integer vector's L2 norm is <= `steps_per_clip`, worst case included. A vector with NaN or infinity becomes the
    zero vector.
    """
    check_grid(clip_norm, steps_per_clip)
    kind = np.float32 if raw_delta.dtype == np.float32 else np.float64
    deltas: NDArray[Any] = np.ascontiguousarray(raw_delta, kind)
    out = np.empty(deltas.shape, np.int32)
    if out.size:
        unsigned: Any = np.uint32 if kind is np.float32 else np.uint64
        flat, room = deltas.reshape(-1, deltas.shape[-1]), np.array([np.inf], kind)
        magnitude, infinite = unsigned(np.iinfo(unsigned).max >> 1), room.view(unsigned)[0]
        largest, scaled = (room, room.view(unsigned)), steps_per_clip * SHRINK
        _onto_grid(flat, flat.view(unsigned), magnitude, infinite, largest, clip_norm, scaled, out.reshape(flat.shape))
    return out


@compiled
def _add_draws(
    words: Words, columns: NDArray[np.uint64], rest_bits: np.uint32, half: int, out: NDArray[np.int32]
) -> int:
    """Adds to `out` (n,) the integer of each word (n,), and counts words that tie with their column's threshold: as if they were above."""
    rest_of, n_tied = (np.uint32(1) << rest_bits) - np.uint32(1), 0
    for i in range(words.size):
        at, rest = np.int64(words[i] >> rest_bits), words[i] & rest_of
        column = columns[at]
        high = column >> _ALIAS_BITS
        draw = np.int32(at - half) if rest < high else np.int32(column & _ALIAS)
        out[i] += draw
        n_tied += rest == high
    return n_tied


@lru_cache(maxsize=4)
def _columns(sigma: float) -> tuple[NDArray[np.uint64], np.uint32, int]:
    """The columns of the table that noise of this sigma is drawn from, the threshold's first bits above the alias; how many bits of a
    word are not the column's; and what the first column stands for."""
    table = DiscreteGaussian(sigma).table
    columns = table.high.astype(np.uint64) << _ALIAS_BITS | table.alias.view(np.uint32)
    return columns, np.uint32(33 - table.high.size.bit_length()), table.half


@as_declared
def add_noise(out: NDArray[np.int32], sigma: float, entropy: Entropy) -> None:
    """Adds to whole numbers (..., P) the draws of `DiscreteGaussian(sigma).sample_words` from the same entropy, in place."""
    noise = DiscreteGaussian(sigma)
    if not (noise.sigma and out.size):
        return
    columns, rest_bits, half = _columns(noise.sigma)
    words, flat = entropy_words(entropy, out.size), out.reshape(-1)
    if _add_draws(words, columns, rest_bits, half, flat):
        column = (words >> rest_bits).astype(np.int64)
        tied = np.flatnonzero((words & ((np.uint32(1) << rest_bits) - np.uint32(1))) == columns[column] >> _ALIAS_BITS)
        column = column[tied]
        keeps = entropy_words(entropy, 2 * tied.size).view("<u8") < noise.table.low[column]
        flat[tied[keeps]] += (column - half - noise.table.alias[column])[keeps].astype(np.int32)


@as_declared
def protect_in_loops(
    raw_delta: NDArray[np.floating],
    *,
    clip_norm: float,
    steps_per_clip: int,
    share_sigma: float,
    entropy: Entropy = os.urandom,
) -> Words:
    """`protect`: what each device hands to the sum, clipped, on the grid, plus its noise share, modulo 2^32: uint32 (..., P).

    Guarantees. Those of `protect`: the norm bound of `onto_grid`, and the same draws of a discrete Gaussian on every coordinate.
    """
    steps = onto_grid(raw_delta, clip_norm, steps_per_clip)
    add_noise(steps, share_sigma, entropy)
    return steps.view(np.uint32)
