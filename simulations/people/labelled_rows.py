"""Everybody's events as counters, and the labelled rows that models are fitted to and judged on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from shared.arrays import Bools, Floats, Ints, as_declared, hold_declared
from shared.errors import InputError
from shared.features import FeatureSpec, History, extract, labels, seen

from .population import Population


def history_of(population: Population, features: FeatureSpec | None = None) -> History:
    """Everybody's counters (K, C, T), of what is interest to the features that are to be made of them; by kind as well, if they ask
    for kinds."""
    kinds = features is not None and features.counts_kinds
    found = counted(population, with_kinds=kinds)
    return found if features is None else features.of(found)


@as_declared
def counted(population: Population, users: Ints | None = None, *, with_kinds: bool = False) -> History:
    """The counters of all events of some `users` (K,), or of everybody: (K, C, T), `with_kinds` by kind as well."""
    mine = np.arange(population.n_users) if users is None else users
    user, events = population.events_of(mine)
    index = user, events.category, np.floor(events.time_s / population.step.seconds).astype(np.int64)
    shape = mine.size, len(population.catalogue), population.n_steps
    return History.from_events(shape, index, events.kind, events.amount, with_kinds=with_kinds)


class Labelled(Protocol):
    """Labelled rows (n,) without their features, in order of user: label, and whose, when, which."""

    @property
    def y(self) -> Bools: ...
    @property
    def user(self) -> Ints: ...
    @property
    def step(self) -> Ints: ...
    @property
    def category(self) -> Ints: ...


@dataclass(frozen=True)
class Cells:
    """Labelled rows (n,) without their features, in order of user, step, category."""

    y: Bools
    user: Ints
    step: Ints
    category: Ints

    def __post_init__(self) -> None:
        hold_declared(self)


def cells_of(history: History, horizon_steps: int, steps: tuple[int, int]) -> Cells:
    """Every (user, step, category) of steps first..last that the user had engaged with by then."""
    at = np.arange(steps[0], steps[1] + 1)
    chosen = seen(history, at)
    user, step, category = np.nonzero(chosen)
    return Cells(labels(history, at, horizon_steps)[chosen], user, at[step], category)


def rows_of(history: History, features: FeatureSpec, horizon_steps: int, steps: tuple[int, int]) -> Rows:
    """The rows of `cells_of` with their features."""
    return filled(history, features, [cells_of(history, horizon_steps, steps)])[0]


def filled(history: History, features: FeatureSpec, lists: Sequence[Labelled]) -> list[Rows]:
    """Several lists of rows with their features x (n, F), as of the close of each row's step; lists of the same steps share one
    extraction, of some users at a time (of other steps, an average may differ in its last bit). InputError unless each is in order
    of user."""
    if any((np.diff(rows.user) < 0).any() for rows in lists):
        raise InputError("expected rows in order of user, got others")
    out = [np.empty((len(rows.y), features.n_features), np.float32) for rows in lists]
    asked: dict[bytes, list[int]] = {}
    for i, rows in enumerate(lists):
        asked.setdefault(np.unique(rows.step).tobytes(), []).append(i)
    for key, alike in asked.items():
        steps = np.frombuffer(key, np.int64)
        for first in range(0, len(history.active) if len(steps) else 0, SCORE_USERS):
            x = extract(users_of(history, first), features, steps)
            for i in alike:
                rows = lists[i]
                mine = slice(*np.searchsorted(rows.user, (first, first + SCORE_USERS)))
                at = np.searchsorted(steps, rows.step[mine])
                out[i][mine] = x[rows.user[mine] - first, at, rows.category[mine]]
    return [Rows(x, rows.y, rows.user, rows.step, rows.category) for x, rows in zip(out, lists, strict=True)]


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
