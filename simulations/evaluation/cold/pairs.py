"""Everybody's sum of pairs of categories, as it would be opened: by the devices' own mechanism, all of whom answer."""

from __future__ import annotations

import math
import os
from typing import Final

import numpy as np

from shared.arrays import Doubles
from shared.features import History
from shared.heads import packed_length, pair_shares
from shared.mechanisms import Entropy, from_grid, protect

#: Grid steps of a contribution, which is no longer than 1; devices in memory together.
STEPS: Final = 1024
USERS_AT_ONCE: Final = 1000


def sum_of_pairs(history: History, step: int, noise_multiplier: float, entropy: Entropy = os.urandom) -> Doubles:
    """The sum (C (C + 1) / 2,) of what each user did up to `step`, each clipped to 1, on the grid, with its share of the noise.

    Guarantees. Its noise is a discrete Gaussian of `noise_multiplier`, by which one user moves it by 1 at most. Edge cases. 0: the
    sum as it is, without grid or noise.
    """
    users, categories = history.active.shape[0], history.n_categories
    known = history.until(step)
    parts = (
        pair_shares(known.active[first : first + USERS_AT_ONCE], categories) for first in range(0, users, USERS_AT_ONCE)
    )
    if not noise_multiplier:
        exact: Doubles = np.sum([part.sum(axis=0) for part in parts], axis=0)
        return exact
    sigma = noise_multiplier * STEPS / math.sqrt(users)
    total = np.zeros(packed_length(categories), np.uint32)
    for part in parts:
        noisy = protect(part, clip_norm=1.0, steps_per_clip=STEPS, share_sigma=sigma, entropy=entropy)
        total += noisy.sum(axis=0, dtype=np.uint32)
    return from_grid(total, 1 / STEPS)
