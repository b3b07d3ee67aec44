"""Whether a federation is worth its rounds: its warnings beside simple rules at the same number of contacts, and what to do.

**Interval.** Users are drawn again with replacement, a user drawn twice counts twice, and everybody is counted on the same draws.
Where several trainings are given, each draw takes one of them at random, its distance from their mean stretched by
sqrt(T / (T - 1)): the interval then holds people and trainings. With one training it holds people alone, and `Answer.trainings`
says 1; no width is made up for what was not seen.

**The rival** is the rule that did best on the very weeks that are judged, and that choice is paid for: a draw's distance is the
largest of any rule in it, and each of the two measures has half of the error: so the intervals hold for every rule and for both
measures at once, whichever is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from shared.arrays import Doubles, Ints, hold_declared

from .quality import INTERVAL

#: Draws of users, and how many of these are counted together.
DRAWS: Final = 1000
DRAWS_AT_ONCE: Final = 100
#: Below any of these nothing is said: turns to be found, users who have one, and contacts that were made.
LEAST_TURNS: Final = 20
LEAST_USERS: Final = 10
LEAST_CONTACTS: Final = 20

Verdict = Literal["use_it", "use_rule", "cannot_tell", "not_enough"]
#: Why nothing is said.
Lack = Literal["no_contacts", "few_contacts", "no_turns", "few_turns", "few_users", "no_rule", "wide"]


@dataclass(frozen=True)
class Counted:
    """What contacts came to, by user (K,): how many, how many of them right, how many turns there were and were found."""

    contacts: Doubles
    right: Doubles
    turns: Doubles
    found: Doubles

    def __post_init__(self) -> None:
        hold_declared(self)

    @property
    def precision(self) -> float:
        """Right ones of all contacts; 0 without any."""
        return float(self.right.sum() / max(self.contacts.sum(), 1))

    @property
    def recall(self) -> float:
        """Found turns of all; 0 without any."""
        return float(self.found.sum() / max(self.turns.sum(), 1))


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Interval:
        """In another unit; a factor below 0 turns it round."""
        low, high = sorted((self.low * factor, self.high * factor))
        return Interval(self.value * factor, low, high)


@dataclass(frozen=True)
class Spread:
    """Of one list of contacts: right ones of all, found turns of all, and contacts and right ones of everybody."""

    contacts: Interval
    right: Interval
    precision: Interval
    recall: Interval


@dataclass(frozen=True)
class Ahead:
    """A rule minus ours, for every rule at once: right contacts among as many as ours, and the share of turns found."""

    right: Interval
    recall: Interval


@dataclass(frozen=True)
class Comparison:
    """What is to be done; the rival it was said against (None: there was nothing to compare), and why nothing is said."""

    verdict: Verdict
    rival: str | None
    lack: Lack | None
    ours: Spread
    rules: dict[str, Spread]
    ahead: dict[str, Ahead]
    trainings: int


def compare_contacts(ours: Sequence[Counted], rules: Mapping[str, Counted], seed: int = 0) -> Comparison:
    """Ours, counted once for each training (one at least; the first is the one that is shown), against rules that make about as many
    contacts. The verdict:

    - not_enough: fewer turns, users who have one or contacts than LEAST_TURNS, LEAST_USERS, LEAST_CONTACTS, or an interval that is
      wider than all right contacts of ours and the rival's together: any difference could be behind it;
    - use_it: against every rule ours has more right contacts or finds more turns, by the interval, and is behind in neither;
    - use_rule: a rule has more right contacts than ours or finds more turns, and is behind in neither, likewise;
    - cannot_tell: everything else.
    """
    random = np.random.Generator(np.random.Philox(seed))
    drawn = _draws([*ours, *rules.values()], random)
    mine, others = drawn[: len(ours)], dict(zip(rules, drawn[len(ours) :], strict=True))
    n_contacts, which = float(ours[0].contacts.sum()), random.integers(0, len(ours), DRAWS)
    ahead = _ahead(ours, mine, rules, others, which)
    ahead = {
        name: Ahead(one.right.times(n_contacts), one.recall)
        for name, one in sorted(ahead.items(), key=lambda item: -item[1].right.value)
    }
    lack = _lack(ours[0], rules, ahead)
    verdict, rival = _verdict(ahead)
    return Comparison(
        verdict="not_enough" if lack else verdict,
        rival=rival,
        lack=lack,
        ours=_spread(ours[0], mine[0]),
        rules={name: _spread(rules[name], others[name]) for name in ahead},
        ahead=ahead,
        trainings=len(ours),
    )


def _verdict(ahead: Mapping[str, Ahead]) -> tuple[Verdict, str | None]:
    """What to do, and the rule that it is said of."""
    rival = next(iter(ahead), None)
    if all(_wins(one.right.times(-1), one.recall.times(-1)) for one in ahead.values()):
        return "use_it", rival
    winner = next((name for name, one in ahead.items() if _wins(one.right, one.recall)), None)
    return ("cannot_tell", rival) if winner is None else ("use_rule", winner)


def _wins(right: Interval, recall: Interval) -> bool:
    """Whether one of two differences is above 0 by its interval, and the other not below."""
    return max(right.low, recall.low) > 0 and min(right.high, recall.high) >= 0


def _lack(ours: Counted, rules: Mapping[str, Counted], ahead: Mapping[str, Ahead]) -> Lack | None:
    contacts, turns = ours.contacts.sum(), ours.turns.sum()
    if not contacts:
        return "no_contacts"
    if not turns:
        return "no_turns"
    for lack, number, least in (
        ("few_turns", turns, LEAST_TURNS),
        ("few_users", (ours.turns > 0).sum(), LEAST_USERS),
        ("few_contacts", contacts, LEAST_CONTACTS),
    ):
        if number < least:
            return lack  # type: ignore[return-value]
    if not ahead:
        return "no_rule"
    rival, first = next(iter(ahead.items()))
    width, all_right = first.right.high - first.right.low, ours.right.sum() + rules[rival].precision * contacts
    return "wide" if width > all_right else None


class _Drawn:
    """Sums of one list of contacts in every draw (D,)."""

    def __init__(self, sums: Doubles) -> None:
        self.contacts, self.right, turns, found = sums.T
        self.precision = self.right / np.maximum(self.contacts, 1)
        self.recall = found / np.maximum(turns, 1)


def _draws(lists: Sequence[Counted], random: np.random.Generator) -> list[_Drawn]:
    columns = np.stack([column for one in lists for column in vars(one).values()], axis=1)
    n_users = len(columns)
    sums = np.empty((DRAWS, columns.shape[1]))
    for first in range(0, DRAWS, DRAWS_AT_ONCE):
        taken = random.integers(0, n_users, (DRAWS_AT_ONCE, n_users)) + n_users * np.arange(DRAWS_AT_ONCE)[:, None]
        times = np.bincount(taken.ravel(), minlength=DRAWS_AT_ONCE * n_users).reshape(DRAWS_AT_ONCE, n_users)
        sums[first : first + DRAWS_AT_ONCE] = times @ columns
    return [_Drawn(part) for part in np.split(sums, len(lists), axis=1)]


def _spread(one: Counted, drawn: _Drawn) -> Spread:
    return Spread(
        _interval(float(one.contacts.sum()), drawn.contacts),
        _interval(float(one.right.sum()), drawn.right),
        _interval(one.precision, drawn.precision),
        _interval(one.recall, drawn.recall),
    )


def _interval(value: float, drawn: Doubles) -> Interval:
    low, high = np.quantile(drawn, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return Interval(value, float(low), float(high))


def _ahead(
    ours: Sequence[Counted],
    mine: Sequence[_Drawn],
    rules: Mapping[str, Counted],
    others: Mapping[str, _Drawn],
    which: Ints,
) -> dict[str, Ahead]:
    """Precision and recall of each rule minus ours, with the largest distances of any rule in each draw."""
    found: dict[str, dict[str, Interval]] = {name: {} for name in rules}
    for key in ("precision", "recall"):
        our_value = float(np.mean([getattr(one, key) for one in ours]))
        each = np.stack([getattr(one, key) for one in mine])
        mean = each.mean(axis=0)
        stretch = np.sqrt(len(ours) / max(len(ours) - 1, 1))
        our_draws = mean + stretch * (np.take_along_axis(each, which[None], axis=0)[0] - mean)
        values = {name: getattr(rule, key) - our_value for name, rule in rules.items()}
        if not values:
            continue
        away = np.stack([getattr(others[name], key) - our_draws - value for name, value in values.items()])
        error = (1 - INTERVAL) / 4  # of each end of each measure
        above, below = np.quantile(away.max(axis=0), 1 - error), np.quantile(away.min(axis=0), error)
        for name, value in values.items():
            found[name][key] = Interval(value, float(value - above), float(value - below))
    return {name: Ahead(by["precision"], by["recall"]) for name, by in found.items()}
