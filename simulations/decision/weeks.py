"""The weeks a line is chosen on and those it is judged on, and what contacts came to in them, by user and step.

Both are lived alike: quiet time and budget begin fresh with the first step. Earlier steps end where it is known, when training
runs, whether a lapse followed; nothing after that moment is looked at to choose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shared.arrays import Bools, Doubles, Ints, as_declared, hold_declared
from shared.errors import ConfigError
from shared.features import History

from ..evaluation.ground_truth import Turns, lapse_mask, watched
from ..scenarios.config import ProtocolSection

#: Fewest earlier steps that anything is said from.
LEAST_STEPS = 4


@dataclass(frozen=True)
class Period:
    """Steps `first`..`last` that are lived from a fresh start, of which those from `judged` on are counted."""

    first: int
    judged: int
    last: int

    @property
    def steps(self) -> Ints:
        return np.arange(self.first, self.last + 1)

    @property
    def n_judged(self) -> int:
        return self.last - self.judged + 1

    @property
    def middle(self) -> float:
        """The middle of the steps that are counted."""
        return (self.judged + self.last) / 2

    @property
    def lead(self) -> int:
        """Steps that are lived before the first that counts."""
        return self.judged - self.first


def earlier_period(protocol: ProtocolSection) -> Period:
    """The steps that a line is chosen on: from the first lapse train step to the last whose lapses are known when training runs.
    ConfigError if these are too few."""
    first = max(protocol.lapse_train_steps[0], protocol.window_steps)
    last = protocol.train_at - protocol.lapse_steps
    if last - first + 1 < LEAST_STEPS:
        raise ConfigError(
            f"expected {LEAST_STEPS} steps or more whose lapses are known when training runs, at step {protocol.train_at}, got "
            f"{max(0, last - first + 1)}: too few to expect anything from"
        )
    return Period(first, first, last)


def latest_steps(protocol: ProtocolSection) -> Period:
    """A window's steps up to training, the last whose scores are known then: the line is taken from them."""
    return Period(*(max(protocol.window_steps, protocol.train_at + 1 - protocol.window_steps),) * 2, protocol.train_at)


def later_period(protocol: ProtocolSection) -> Period:
    """The steps on which it is judged: those of alerts whose lapses are known in the end; devices live from training on."""
    first, last = protocol.lapse_test_steps
    return Period(min(protocol.train_at + 1, first), first, last)


@dataclass(frozen=True)
class Streams:
    """Watched rows (n,) of a period, and what followed: `y`, a lapse does; `run`, the lapse that a row belongs to (-1: none);
    and the lapses that begin in the judged steps early enough to be seen to their end: their runs (m,) and users (m,)."""

    period: Period
    n_users: int
    user: Ints
    step: Ints
    category: Ints
    y: Bools
    run: Ints
    whole: Ints
    whole_user: Ints
    whole_first: Ints

    def __post_init__(self) -> None:
        hold_declared(self)

    @classmethod
    def of(cls, history: History, protocol: ProtocolSection, period: Period, min_active: int) -> Streams:
        """Of everybody's history (K, C, T), which must be known `lapse_steps` after the period's last step."""
        before = min(protocol.lapse_steps, period.first)
        steps = np.arange(period.first - before, period.last + 1)
        true = lapse_mask(history, steps, protocol, min_active)
        turns = Turns.of_runs(true, steps)
        run = np.full(true.shape, -1, np.int64)
        for i in range(int((turns.last - turns.first).max(initial=-1)) + 1):
            on = turns.first + i <= turns.last
            run[turns.user[on], turns.first[on] + i - steps[0], turns.category[on]] = np.flatnonzero(on)
        seen = watched(history, period.steps, protocol, min_active)
        user, position, category = np.nonzero(seen)
        last_whole = max(period.judged, period.last - protocol.lapse_steps + 1)
        whole = np.flatnonzero((turns.first >= period.judged) & (turns.first <= last_whole))
        at = user, position + before, category
        return cls(
            period,
            len(history.active),
            user,
            position + period.first,
            category,
            true[at],
            run[at],
            whole,
            turns.user[whole],
            turns.first[whole],
        )

    @property
    def judged(self) -> Bools:
        return self.step >= self.period.judged

    @property
    def n_whole_steps(self) -> int:
        """Steps in which a lapse may begin and be seen to its end."""
        return len(np.unique(self.whole_first)) if len(self.whole) else 1

    @as_declared
    def score_of(self, cube: Doubles) -> Doubles:
        """What a cube (K, S, C) of the period's steps says on the rows (n,)."""
        return cube[self.user, self.step - self.period.first, self.category].astype(np.float64)


@dataclass(frozen=True)
class Outcome:
    """What contacts came to, by user and judged step: right and wrong ones (K, J); and lapses that nobody was contacted about by the
    step in which they begin (K, M), of the M steps whose lapses can be seen to their end."""

    right: Doubles
    wrong: Doubles
    missed: Doubles

    def __post_init__(self) -> None:
        hold_declared(self)

    @property
    def contacts(self) -> Doubles:
        return self.right + self.wrong


@as_declared
def outcome_of(streams: Streams, chosen: Bools, lapse_steps: int) -> Outcome:
    """What became of the contacts `chosen` (n,). Of several about one lapse the first is right, the others are wrong."""
    period = streams.period
    mine = np.flatnonzero(chosen)
    mine = mine[np.argsort(streams.step[mine], kind="stable")]
    runs = streams.run[mine]
    _, first = np.unique(runs, return_index=True)
    right = np.zeros(len(mine), bool)
    right[first] = True
    right &= runs >= 0
    found = np.unique(runs[runs >= 0])
    counted = streams.step[mine] >= period.judged

    def by_step(user: Ints, step: Ints, n_steps: int) -> Doubles:
        flat = np.bincount(user * n_steps + step - period.judged, minlength=streams.n_users * n_steps)
        return flat.reshape(streams.n_users, n_steps).astype(np.float64)

    user, step = streams.user[mine], streams.step[mine]
    missed = ~np.isin(streams.whole, found)
    n_whole = max(1, period.n_judged - lapse_steps + 1)
    return Outcome(
        by_step(user[counted & right], step[counted & right], period.n_judged),
        by_step(user[counted & ~right], step[counted & ~right], period.n_judged),
        by_step(streams.whole_user[missed], streams.whole_first[missed], n_whole),
    )
