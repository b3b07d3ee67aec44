"""The rows of never-bought categories: a user who has been seen, a category that they have never touched, a step.

Positive: something in it within the horizon (docs/protocol.md). Nothing is known of such a pair but its user and, from other people,
its category: features are those of the user, the same for all of a user's rows of a step, which make a *list*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Bools, Doubles, Floats, Ints, as_declared, hold_declared
from shared.features import FeatureSpec, History, extract, labels, seen
from shared.features.windows import cumulative, ewma, first_active
from shared.slow_average import log_user_rate

#: Users whose features are in memory together.
USERS_AT_ONCE: Final = 500
#: A new category counts as found among so many of the highest.
SHOWN: Final = 3


@dataclass(frozen=True)
class ColdRows:
    """Rows (n,) in the order of their lists: the category, whether it was touched within the horizon, which list. Lists (m,): the
    user; their features x (m, F); the corrected long average (m, C) of each category's activity over W, as neighbours are read
    from it; the roots (m, C) of each category's share in all that the user did by then; the logs of how many categories the user
    knows, and of how often they do anything."""

    category: Ints
    y: Bools
    of_list: Ints
    user: Ints
    x: Floats
    averages: Floats
    roots: Floats
    log_known: Doubles
    log_rate: Doubles

    def __post_init__(self) -> None:
        hold_declared(self)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def user_of_row(self) -> Ints:
        """Whose each row is: (n,)."""
        out: Ints = self.user[self.of_list]
        return out


def cold_rows(history: History, features: FeatureSpec, horizon_steps: int, steps: tuple[int, int]) -> ColdRows:
    """Every (user, step, category) of steps first..last of a user who has done something by then, but nothing in the category."""
    at = np.arange(steps[0], steps[1] + 1)
    parts, lists = [], 0
    for first in range(0, history.active.shape[0], USERS_AT_ONCE):
        part = _some(history[first : first + USERS_AT_ONCE], features, horizon_steps, at, first, lists)
        lists += len(part.user)
        parts.append(part)
    return ColdRows(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))


def _some(
    history: History, features: FeatureSpec, horizon_steps: int, at: Ints, first_user: int, first_list: int
) -> ColdRows:
    known = seen(history, at)
    new = ~known & known.any(axis=-1, keepdims=True)
    user, position = np.nonzero(new.any(axis=-1))
    any_new = new.argmax(axis=-1)[user, position]
    place = np.zeros(new.shape[:-1], np.int64)
    place[user, position] = first_list + np.arange(len(user))
    row_user, row_position, category = np.nonzero(new)
    return ColdRows(
        category,
        labels(history, at, horizon_steps)[new],
        place[row_user, row_position],
        user + first_user,
        extract(history, features, at)[user, position, any_new],
        _averages(history, at, features.window_steps)[user, position],
        _roots(history, at)[user, position],
        np.log(known.sum(axis=-1, dtype=np.float64)[user, position]),
        log_user_rate(history, at)[user, position],
    )


def _averages(history: History, at: Ints, span: int) -> Floats:
    """The average of each category's activity, (K, S, C), corrected for how long its user is known (docs/protocol.md, version 2)."""
    began = first_active(np.asarray(history.active.any(axis=-2)), at)
    age = np.where(began >= 0, at - began, 0)[..., None, :]
    level = ewma(history.active, at, span) / (1 - (1 - 2 / (span + 1)) ** (age + 1))
    return np.moveaxis(level, -1, -2).astype(np.float32)


def _roots(history: History, at: Ints) -> Floats:
    """The vector of which `pair_shares` are the pairs, as of each step: (K, S, C)."""
    steps = cumulative(history.active)[..., at + 1]
    shares = steps / np.maximum(steps.sum(axis=-2, keepdims=True), 1)
    out: Floats = np.moveaxis(np.sqrt(shares), -1, -2).astype(np.float32)
    return out


@as_declared
def found_in_lists(rows: ColdRows, score: NDArray[Any], shown: int = SHOWN) -> Doubles:
    """For each list (m,) with something new in it, the share of that which is among the `shown` of the highest score (n,), of at most
    `shown`; NaN for a list without. Equals come in any order: what is expected of that."""
    lists = len(rows.user)
    order = np.lexsort((-score, rows.of_list))
    of_list, value = rows.of_list[order], score[order]
    ties = np.flatnonzero(np.r_[True, (of_list[1:] != of_list[:-1]) | (value[1:] != value[:-1])])
    size = np.diff(np.r_[ties, len(order)])
    place = ties - np.searchsorted(of_list, of_list[ties])
    share = np.repeat(np.clip((shown - place) / size, 0, 1), size)
    hits = np.bincount(of_list, rows.y[order] * share, minlength=lists)
    new = np.bincount(rows.of_list, rows.y, minlength=lists)
    return np.where(new > 0, hits / np.minimum(np.maximum(new, 1), shown), np.nan)
