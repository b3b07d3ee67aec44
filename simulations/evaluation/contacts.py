"""Whom a score says to contact, when every stream keeps its quiet time and every user a budget: as devices do.

A contact is what a fall alert is: one (user, step, category). A score contacts a stream while it is at or above a line, as the
devices' own detector of phi does (client/detection/detectors.py): quiet time keeps it from repeating itself, and when a user has
fewer tokens than streams above the line, the highest go first. Nothing here looks at what came of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.detection.alert_budget import NEVER
from shared.arrays import Bools, Doubles, Ints, as_declared
from shared.errors import InputError
from shared.plan import Detection


@dataclass(frozen=True)
class Limits:
    """How often anybody is contacted: a stream once in `quiet_steps` + 1, a user `most` times (0: no limit) in any `budget_steps`."""

    quiet_steps: int = 0
    most: int = 0
    budget_steps: int = 1

    @classmethod
    def of(cls, settings: Detection) -> Limits:
        """Those of a plan's alerts."""
        return cls(settings.quiet_steps, settings.false_alerts, settings.budget_steps)


class ContactList:
    """Scored rows (n,) in any order, one per user, step and category, and who would be contacted at which line.

    `judged` (n,): the rows that are counted (default: all); earlier ones are lived through, so that quiet time and budgets are
    those of a device that has been watching. Equal scores are put in an order that is drawn by stream, once and for all: so
    there is a line for nearly every number of contacts.
    """

    @as_declared
    def __init__(
        self,
        user: Ints,
        step: Ints,
        category: Ints,
        score: NDArray[Any],
        limits: Limits,
        judged: Bools | None = None,
    ) -> None:
        if not len(user) == len(step) == len(category) == len(score):
            raise InputError(f"expected columns of one length, got {[len(c) for c in (user, step, category, score)]}")
        if not np.isfinite(score).all():
            raise InputError(f"expected finite scores, got {int((~np.isfinite(score)).sum())} others")
        self.limits, self.score = limits, score
        self.judged = np.ones(len(user), bool) if judged is None else judged
        stride = int(category.max(initial=0)) + 1
        stream = user * stride + category
        chance = np.random.Generator(np.random.Philox(0)).permutation(int(stream.max(initial=0)) + 1)
        in_turn = _places(chance[stream] * (int(step.max(initial=0)) + 1) + step)
        self._place = _places(_ranks(score) * len(user) + in_turn)  # of each row among all, from the lowest score up
        self._order = np.argsort((step * (int(user.max(initial=0)) + 1) + user + 1) * len(user) - self._place)
        self._user, self._step = user[self._order], step[self._order]
        _, self._stream = np.unique(stream[self._order], return_inverse=True)
        self._ranked = self._place[self._order]
        self._n_users = int(user.max(initial=-1)) + 1

    @as_declared
    def at(self, line: float) -> Bools:
        """The rows (n,) that are contacts when the score must reach `line`; those that are not judged are among them."""
        return self._from_place(len(self.score) - int((self.score >= line).sum()))

    @as_declared
    def of_number(self, contacts: float) -> Bools:
        """The rows (n,) that are contacts at the highest line that gives at least so many judged ones, or at the one just above
        it if that comes closer."""
        place = self._place_of(contacts)
        here, above = (self._from_place(at) for at in (place, min(place + 1, len(self.score))))
        closer = abs(self.number(above) - contacts) < abs(self.number(here) - contacts)
        return above if closer else here

    def line_of_number(self, contacts: float) -> float:
        """The score at which there are about so many judged contacts; infinity where none are wanted, or none can be had."""
        place = self._place_of(contacts)
        if contacts <= 0 or place >= len(self.score):
            return float("inf")
        return float(self.score[np.flatnonzero(self._place == place)[0]])

    @as_declared
    def number(self, chosen: Bools) -> int:
        """How many of the contacts `chosen` (n,) are judged."""
        return int((chosen & self.judged).sum())

    def _place_of(self, contacts: float) -> int:
        """The highest place from which on there are at least so many judged contacts (0: there never are)."""
        low, high = 0, len(self.score)  # at `high` there are fewer
        if contacts <= 0:
            return high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.number(self._from_place(middle)) >= contacts else (low, middle)
        return low

    def _from_place(self, place: int) -> Bools:
        """The contacts (n,) of rows from this place on."""
        limits, chosen = self.limits, np.zeros(len(self.score), bool)
        above = np.flatnonzero(self._ranked >= place)
        if not above.size:
            return chosen
        quiet_until = np.zeros(int(self._stream.max(initial=-1)) + 1, np.int64)
        spent = np.full((limits.most, self._n_users), NEVER, np.int64)
        steps, starts = np.unique(self._step[above], return_index=True)
        for step, rows in zip(steps.tolist(), np.split(above, starts[1:]), strict=True):
            rows = rows[quiet_until[self._stream[rows]] <= step]
            if limits.most and rows.size:
                rows = self._within_budget(spent, rows, step)
            quiet_until[self._stream[rows]] = step + 1 + limits.quiet_steps
            chosen[self._order[rows]] = True
        return chosen

    def _within_budget(self, spent: Ints, rows: Ints, step: int) -> Ints:
        """Of `rows` of one step, by user and from the highest score down, those that there are tokens for; these are spent."""
        users, first, wanted = np.unique(self._user[rows], return_index=True, return_counts=True)
        free = (spent[:, users] <= step - self.limits.budget_steps).sum(axis=0)
        taken = np.minimum(wanted, free)
        for i in range(int(taken.max(initial=0))):
            who = users[taken > i]
            spent[:-1, who], spent[-1, who] = spent[1:, who], step
        rank = np.arange(len(rows)) - np.repeat(first, wanted)
        return rows[rank < np.repeat(taken, wanted)]


def _places(key: Ints) -> Ints:
    """Where each of n things comes when they are sorted by a whole number that is different for any two: one number, which takes a
    tenth of the time of one key after the other."""
    out = np.empty(len(key), np.int64)
    out[np.argsort(key)] = np.arange(len(key))
    return out


def _ranks(score: NDArray[Any]) -> Ints:
    """Scores (n,) as whole numbers 0.. in their order: the same for the same score."""
    order = np.argsort(score)
    rising, out = score[order], np.empty(len(score), np.int64)
    out[order] = np.cumsum(np.append(False, rising[1:] != rising[:-1])[: len(score)])
    return out


def contacts_per_week(contacts: float, steps: int, steps_a_week: int) -> float:
    """Contacts a week, of so many in so many steps."""
    return contacts * steps_a_week / steps


def contacts_in(per_week: float, steps: int, steps_a_week: int) -> float:
    """Contacts in so many steps, at so many a week."""
    return per_week * steps / steps_a_week


@as_declared
def expected_right(p: NDArray[Any], chosen: Bools) -> float:
    """How many contacts `chosen` (n,) will be right, if p (n,) is the probability that each is."""
    return float(p[chosen].sum(dtype=np.float64))


@as_declared
def realised_right(y: Bools, chosen: Bools) -> int:
    """How many contacts `chosen` (n,) were right."""
    return int(y[chosen].sum())


@as_declared
def per_user(values: NDArray[Any], user: Ints, n_users: int) -> Doubles:
    """Sums (K,) of values (n,) by user."""
    return np.bincount(user, weights=values, minlength=n_users).astype(np.float64)
