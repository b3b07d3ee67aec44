"""Which of its rows each device trains on: the words of its own Philox, written out, and where the smallest of them lie.

Source of the generator: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), Philox4x64-10, as
numpy has it: a counter goes up before its four words are made.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Ints, as_declared

from ..life.compiled import compiled

_ROUNDS = 10
_LEFT, _RIGHT = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_LEFT_KEY, _RIGHT_KEY = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
_FIRST_BITS = np.uint64(56)  # what is shifted away before them


@compiled
def _high(a: np.uint64, b: np.uint64) -> np.uint64:
    """The high 64 bits of a product."""
    a_high, a_low, b_high, b_low = a >> _HALF, a & _LOW, b >> _HALF, b & _LOW
    middle = a_high * b_low + ((a_low * b_low) >> _HALF)
    other = a_low * b_high + (middle & _LOW)
    return a_high * b_high + (middle >> _HALF) + (other >> _HALF)


@compiled
def _philox_words(seed: np.uint64, device: np.uint64, round_number: np.uint64, out: NDArray[np.uint64]) -> None:
    """The first words of `client.model.training_rows.generator`: out (n,), n a multiple of four."""
    for at in range(0, out.size, 4):
        a, b, c, d = np.uint64(at // 4 + 1), np.uint64(0), np.uint64(0), round_number
        left_key, right_key = seed, device
        for _ in range(_ROUNDS):
            high_a, high_c = _high(_LEFT, a), _high(_RIGHT, c)
            a, b, c, d = high_c ^ b ^ left_key, _RIGHT * c, high_a ^ d ^ right_key, _LEFT * a
            left_key, right_key = left_key + _LEFT_KEY, right_key + _RIGHT_KEY
        out[at], out[at + 1], out[at + 2], out[at + 3] = a, b, c, d


@compiled
def _at_rank(words: NDArray[np.uint64], rank: int, counts: Ints, room: NDArray[np.uint64]) -> Any:
    """The word that `rank` of them come before in order: by how many have which first bits, and in order where these are the same."""
    counts[:] = 0
    for word in words:
        counts[np.int64(word >> _FIRST_BITS)] += 1
    first, before = 0, 0
    while before + counts[first] <= rank:
        before += counts[first]
        first += 1
    n = 0
    for word in words:
        if np.int64(word >> _FIRST_BITS) == first:
            room[n] = word
            n += 1
    alike = room[:n]
    alike.sort()
    return alike[rank - before]


@compiled
def _pick(words: NDArray[np.uint64], bound: np.uint64, out: Ints) -> None:
    """Where words up to `bound` lie, ascending; of those that equal it as many as there is room for."""
    free = out.size
    for word in words:
        free -= word < bound
    place = 0
    for at in range(words.size):
        if words[at] < bound or (words[at] == bound and free > 0):
            free -= words[at] == bound
            out[place] = at
            place += 1


@compiled
def _draw(n_rows: Ints, numbers: Ints, seed: np.uint64, round_number: np.uint64, out: Ints) -> None:
    """Row numbers of each device: `out` (D, S, B), -1 for padding."""
    n_steps, n_picks = out.shape[1], out.shape[2]
    most = max(n_rows.max(), 1)
    room, alike, counts = np.empty(n_steps * most + 3, np.uint64), np.empty(most, np.uint64), np.empty(256, np.int64)
    for device in range(n_rows.size):
        n = n_rows[device]
        if n <= n_picks:
            for step in range(n_steps):
                for at in range(n_picks):
                    out[device, step, at] = at if at < n else -1
            continue
        _philox_words(seed, np.uint64(numbers[device]), round_number, room[: (n_steps * n + 3) // 4 * 4])
        for step in range(n_steps):
            words = room[step * n : step * n + n]
            _pick(words, _at_rank(words, n_picks - 1, counts, alike), out[device, step])


@as_declared
def draws_in_loops(n_rows: Ints, numbers: Ints, shape: tuple[int, int], seed: int, round_number: int) -> Ints:
    """`client.model.training_rows.draw` for each device, of `shape` (S, B): the same rows, (D, S, B)."""
    out = np.empty((n_rows.size, *shape), np.int64)
    if out.size:
        _draw(n_rows, numbers, np.uint64(seed), np.uint64(round_number), out)
    return out
