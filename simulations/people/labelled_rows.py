"""Everybody's events as counters, and the labelled rows that models are fitted to and judged on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.arrays import Bools, Floats, Ints, as_declared, hold_declared
from shared.features import FeatureSpec, History, extract, labels, seen

from .population import Population


def history_of(population: Population, features: FeatureSpec | None = None) -> History:
    """Everybody's counters (K, C, T), of what is interest to the features that are to be made of them; by kind as well, if they ask
    for kinds."""
    user = np.repeat(np.arange(population.n_users), np.diff(population.offsets))
    step = np.floor(population.time_s / population.step.seconds).astype(np.int64)
    shape = (population.n_users, len(population.catalogue), population.n_steps)
    index, kinds = (user, population.category, step), features is not None and features.counts_kinds
    counted = History.from_events(shape, index, population.kind, population.amount, with_kinds=kinds)
    return counted if features is None else features.of(counted)


def rows_of(history: History, features: FeatureSpec, horizon_steps: int, steps: tuple[int, int]) -> Rows:
    """Every (user, step, category) of steps first..last that the user had engaged with by then."""
    at = np.arange(steps[0], steps[1] + 1)
    chosen = seen(history, at)
    user, step, category = np.nonzero(chosen)
    x = extract(history, features, at)[chosen]
    return Rows(x, labels(history, at, horizon_steps)[chosen], user, at[step], category)


SCORE_USERS = 512


def users_of(history: History, first: int) -> History:
    """A chunk of the users of a history (K, C, T), from user `first` on: views."""
    return history[first : first + SCORE_USERS]


@dataclass(frozen=True)
class Rows:
    """Labelled rows (n,) of many users: features x (n, F), label y, and whose, when, which."""

    x: Floats
    y: Bools
    user: Ints
    step: Ints
    category: Ints

    def __post_init__(self) -> None:
        hold_declared(self)

    @as_declared
    def where(self, keep: Bools) -> Rows:
        """The rows that `keep` (n,) names."""
        return self if keep.all() else Rows(*(column[keep] for column in vars(self).values()))
