"""Whom the figures of a run look at: everybody, or of very many a sample of users that stands for them.

What needs every row of a user (AUCs, tables of turns, lists of contacts) costs time and memory by user; a sample of some thousand users
says it with an interval that is over users anyway. What is a sum over all (alerts by step, refusals, bytes, privacy) is no sample's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from shared.arrays import Ints, as_declared, hold_declared

from .population import Population

#: Up to so many users everybody is looked at, and so many of more: both real data sets are exact.
LOOKED_AT: Final = 5000


@as_declared
def users_looked_at(n_users: int, seed: int) -> Ints:
    """The users (n,) that figures are computed on, in ascending order: all of them, or LOOKED_AT, each set of these as likely as any
    other; the same for the same arguments."""
    if n_users <= LOOKED_AT:
        return np.arange(n_users)
    drawn = np.random.Generator(np.random.Philox(seed)).choice(n_users, LOOKED_AT, replace=False)
    return np.sort(drawn).astype(np.int64)


@dataclass(frozen=True)
class LookedAt:
    """The users (n,) that are looked at, as the run numbers them, and the `population` of them alone, who are 0..n - 1 in it."""

    users: Ints
    population: Population

    def __post_init__(self) -> None:
        hold_declared(self)

    @classmethod
    def of(cls, population: Population, seed: int) -> LookedAt:
        """Whom to look at in a population, which is taken as it is where that is everybody."""
        users = users_looked_at(population.n_users, seed)
        return cls(users, population if len(users) == population.n_users else population.take(users))
