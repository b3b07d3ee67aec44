"""Simulated daily streams of p (docs/protocol.md, "Streams"): people whose interest is known to change, or not to.

A user has several streams. The first is of the kind that is asked for and carries the change; the others are of mixed
kinds and never change, so that whatever a detector calls there is false.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Doubles, Floats, Ints
from shared.errors import InputError


class Kind(StrEnum):
    """What is usual for a stream, in logits around its own level: all have noise of .15 to .6 with lag-1 correlation .1."""

    IID = "iid"  #: nothing more
    AR = "ar"  #: correlation .5
    WEEKLY = "weekly"  #: other weekends, by .4 to 1.1
    BURST = "burst"  #: spikes of 1 to 2.5, up or down, for 1 to 3 steps, one in 40 steps
    SPARSE = "sparse"  #: observed on a quarter to a half of the steps only


class Change(StrEnum):
    """What happens to the first stream at `at`, in logits."""

    NONE = "none"
    DROP = "drop"  #: down by 1 to 1.8
    RISE = "rise"  #: up by as much
    GRADUAL = "gradual"  #: as much, either way, over 40 steps
    SMALL = "small"  #: .5, either way


SIZE, SMALL_SIZE, RAMP_STEPS = (1.0, 1.8), 0.5, 40


def simulated(
    kind: Kind | None, change: Change, n_users: int, n_streams: int, n_steps: int, seed: Sequence[int], at: int = 150
) -> Floats:
    """p (T, U, C) of daily steps, NaN where it is not observed; `kind` None mixes the first streams too. The same
    seed, of any length, gives the same streams."""
    if min(n_users, n_streams, n_steps) < 1 or at < 0:
        raise InputError(f"expected users, streams and steps >= 1 and at >= 0, got {(n_users, n_streams, n_steps, at)}")
    random = np.random.default_rng(seed)
    shape = (n_users, n_streams)
    kinds = np.array(list(Kind))[random.integers(0, len(Kind), shape)]
    if kind is not None:
        kinds[:, 0] = kind
    logits = _noise(random, kinds, n_steps)
    logits += random.normal(-0.3, 0.7, shape).astype(np.float32)
    _weekends(random, kinds, logits)
    _spikes(random, kinds, logits)
    sign = random.choice(np.array([-1, 1]), n_users)
    size = random.uniform(*SIZE, n_users)
    logits[:, :, 0] += _change(change, sign, size, np.arange(n_steps)[:, None] - at)
    p = np.exp(-logits, out=logits)
    p += 1
    np.reciprocal(p, out=p)
    sparse = kinds == Kind.SPARSE
    missing = random.random((n_steps, int(sparse.sum()))) >= random.uniform(0.25, 0.5, int(sparse.sum()))
    p[:, sparse] = np.where(missing, np.float32(np.nan), p[:, sparse])
    return p


def _noise(random: np.random.Generator, kinds: NDArray[np.str_], n_steps: int) -> Floats:
    scale = np.exp(random.uniform(np.log(0.15), np.log(0.6), kinds.shape)).astype(np.float32)
    correlation = np.where(kinds == Kind.AR, np.float32(0.5), np.float32(0.1))
    fresh = np.sqrt(1 - correlation**2)
    out = random.standard_normal((n_steps, *kinds.shape), dtype=np.float32)
    for t in range(1, n_steps):
        out[t] *= fresh
        out[t] += correlation * out[t - 1]
    out *= scale
    return out


def _weekends(random: np.random.Generator, kinds: NDArray[np.str_], logits: Floats) -> None:
    weekly = kinds == Kind.WEEKLY
    n = int(weekly.sum())
    height, first = random.uniform(0.3, 0.8, n), random.integers(0, 7, n)
    weekend = (np.arange(len(logits))[:, None] + first) % 7 >= 5
    logits[:, weekly] += (height * np.where(weekend, 1.0, -0.4)).astype(np.float32)


def _spikes(random: np.random.Generator, kinds: NDArray[np.str_], logits: Floats) -> None:
    burst = kinds == Kind.BURST
    shape = (len(logits), int(burst.sum()))
    height = random.uniform(1.0, 2.5, shape) * random.choice(np.array([-1, 1]), shape)
    height *= random.random(shape) < 1 / 40
    length = random.integers(1, 4, shape)
    spikes = height.copy()
    for j in (1, 2):
        spikes[j:] += (height * (length > j))[:-j]
    logits[:, burst] += spikes.astype(np.float32)


def _change(change: Change, sign: Ints, size: Doubles, since: Ints) -> Floats:
    """What the change adds, (T, U), `since` (T, 1) steps after it began."""
    moved = {
        Change.NONE: 0 * size,
        Change.DROP: -size * (since >= 0),
        Change.RISE: size * (since >= 0),
        Change.GRADUAL: sign * size * np.clip(since / RAMP_STEPS, 0, 1),
        Change.SMALL: sign * SMALL_SIZE * (since >= 0),
    }
    return np.broadcast_to(moved[change], (len(since), len(size))).astype(np.float32)
