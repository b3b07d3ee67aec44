"""Which windows a log of events allows: step, window, horizon, lapse, and the steps that train and test, from its length and its
rhythm, with the reasons in words.

The proportions are those of the built-in sets (docs/protocol.md): the horizon is about a typical gap between two visits to a
category, a lapse at least twice that and well beyond three gaps in four, the window three horizons or one and a half lapses.
What time remains is shared by training and test, whose labels never overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from shared.errors import ConfigError
from shared.events import Step

from ...scenarios.config import ProtocolSection
from .rhythm import Rhythm

#: Shorter logs have no protocol: planted people, from whom training starts, need as many days.
FEWEST_DAYS = 28
#: Up to so many days, and with half of the returns within a week, steps are days.
SHORT_DAYS, DENSE_GAP_DAYS = 210, 7.0
#: The least horizon, and one that is not shortened without need: a week of days holds its weekly rhythm, as the planted set's.
LEAST_HORIZON = {Step.DAY: 2, Step.WEEK: 1}
WANTED_HORIZON = {Step.DAY: 7, Step.WEEK: 2}
#: No horizon is longer, in steps: what is asked a quarter or a year ahead is no early warning.
MOST_HORIZON = {Step.DAY: 28, Step.WEEK: 13}
#: Four short windows differ, and all are shorter than the window.
LEAST_WINDOW = 5
LEAST_TEST, SHORT_STEPS = 2, {Step.DAY: (1, 3, 7, 14), Step.WEEK: (1, 2, 4, 8)}
AVERAGES = {Step.DAY: (3, 14), Step.WEEK: (2, 8)}
#: A lapse is well beyond the gap that three returns in four stay below.
BEYOND = 1.25


@dataclass(frozen=True)
class Proposal:
    """A protocol for a log: its steps count from `first_day`, which leaves out what is not a whole week at the log's start.
    `reasons`: one sentence each."""

    step: Step
    first_day: date
    protocol: ProtocolSection
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Windows:
    """Horizon, lapse and window, in steps."""

    horizon: int
    lapse: int
    window: int

    @classmethod
    def of(cls, horizon: int, lapse: int) -> _Windows:
        lapse = max(lapse, 2 * horizon)
        return cls(horizon, lapse, max(3 * horizon, math.ceil(1.5 * lapse), LEAST_WINDOW))

    @property
    def train(self) -> int:
        """Fewest train steps: one lapse at least is known when training runs."""
        return max(2, self.lapse - self.horizon + 1)

    @property
    def rest(self) -> int:
        """Fewest steps after training: tests whose labels are known, and an alert that a lapse can follow."""
        return max(LEAST_TEST + self.horizon, self.lapse + 1)

    @property
    def needed(self) -> int:
        return self.window + self.train + self.horizon + self.rest


def propose_protocol(rhythm: Rhythm, step: Literal["auto", "day", "week"] = "auto") -> Proposal:
    """The protocol of a log with this rhythm, in days where the log is short and dense and in weeks otherwise, or in steps as
    given. ConfigError, which says how many weeks would do, if the log is too short for its rhythm, or too thin."""
    _expect_returns(rhythm)
    dense = rhythm.n_days <= SHORT_DAYS and rhythm.gap_days_quantiles[1] <= DENSE_GAP_DAYS
    tried = (Step.DAY, Step.WEEK) if dense else (Step.WEEK, Step.DAY)
    for unit in tried if step == "auto" else (Step(step),):
        if (windows := _fitting(rhythm, unit)) is not None:
            return _proposal(rhythm, unit, windows)
    units = tried if step == "auto" else (Step(step),)
    weeks = min(_weeks_needed(rhythm, unit) for unit in units)
    raise ConfigError(
        f"expected a log of {weeks} weeks or more for people who come back after {_days(rhythm.gap_days_quantiles[0])} or later "
        f"three times in four, got {rhythm.n_days} days"
    )


def check_length(protocol: ProtocolSection, n_days: int, step: Step) -> None:
    """ConfigError if a protocol that was given has other steps than a log of `n_days` has whole or begun ones, or more."""
    most = -(-n_days * 86_400 // step.seconds)
    if protocol.n_steps > most:
        raise ConfigError(
            f"expected protocol.n_steps <= {most}, the {step.value}s of your data, got {protocol.n_steps}: its last "
            f"ranges would lie beyond the end of the log"
        )


def _expect_returns(rhythm: Rhythm) -> None:
    """ConfigError where nothing can be learned of who comes back."""
    least = -(-FEWEST_DAYS // 7)
    if rhythm.gap_days_quantiles[1] <= 0:
        raise ConfigError(
            f"expected people who come back: nobody has events of one category on two days, in {rhythm.n_days} days; give a log "
            f"of {max(2 * -(-rhythm.n_days // 7), least)} weeks or more, or coarser categories"
        )
    if rhythm.n_days < FEWEST_DAYS:
        raise ConfigError(f"expected a log of {least} weeks or more, got {rhythm.n_days} days")


def _wanted(rhythm: Rhythm, unit: Step) -> _Windows:
    _, half, most, _ = (gap * 86_400 / unit.seconds for gap in rhythm.gap_days_quantiles)
    horizon = min(max(math.ceil(half), WANTED_HORIZON[unit]), MOST_HORIZON[unit])
    return _Windows.of(horizon, min(math.ceil(BEYOND * most), 3 * horizon))


def _fitting(rhythm: Rhythm, unit: Step) -> _Windows | None:
    """The wanted windows, or the longest below them that the log has room for; None if less than one return in four would come
    within the horizon then."""
    n_steps = rhythm.n_days * 86_400 // unit.seconds
    wanted = _wanted(rhythm, unit)
    if wanted.needed <= n_steps:
        return wanted
    for horizon in range(wanted.horizon, _least_horizon(rhythm, unit) - 1, -1):
        for lapse in range(min(wanted.lapse, 3 * horizon), 2 * horizon - 1, -1):
            if (windows := _Windows.of(horizon, lapse)).needed <= n_steps:
                return windows
    return None


def _least_horizon(rhythm: Rhythm, unit: Step) -> int:
    quarter = math.ceil(rhythm.gap_days_quantiles[0] * 86_400 / unit.seconds)
    return min(max(quarter, LEAST_HORIZON[unit]), MOST_HORIZON[unit])


def _weeks_needed(rhythm: Rhythm, unit: Step) -> int:
    horizon = _least_horizon(rhythm, unit)
    days = _Windows.of(horizon, 2 * horizon).needed * unit.seconds / 86_400
    return math.ceil(max(days, FEWEST_DAYS) / 7)


def _proposal(rhythm: Rhythm, unit: Step, windows: _Windows) -> Proposal:
    days_of = unit.seconds // 86_400
    n_steps, left_out = divmod(rhythm.n_days, days_of)
    spare = n_steps - windows.needed
    train_last = windows.window + windows.train + spare // 2 - 1
    known = train_last + windows.horizon
    test = known + 1, n_steps - 1 - windows.horizon
    short = SHORT_STEPS[unit]
    if short[-1] >= windows.window:
        short = (1, 2, max(3, (windows.window - 1) // 2), windows.window - 1)
    protocol = ProtocolSection(
        window_steps=windows.window,
        short_steps=short,
        ewma_steps=AVERAGES[unit],
        horizon_steps=windows.horizon,
        lapse_steps=windows.lapse,
        train_steps=(windows.window, train_last),
        test_steps=test,
        alert_steps=(test[0], min(test[1], n_steps - 1 - windows.lapse)),
        lapse_train_steps=(windows.window, known - windows.lapse),
        n_steps=n_steps,
    )
    first_day = rhythm.first_day + timedelta(days=left_out)
    return Proposal(unit, first_day, protocol, _reasons(rhythm, unit, windows, protocol, left_out))


def _reasons(
    rhythm: Rhythm, unit: Step, windows: _Windows, protocol: ProtocolSection, left_out: int
) -> tuple[str, ...]:
    _, half, most, _ = rhythm.gap_days_quantiles
    word, wanted = unit.value, _wanted(rhythm, unit)
    length = f"the log has {rhythm.n_days} days"
    if left_out:
        length += f", of which the first {left_out} make no whole week and are left out"
    why = f"{length}; " + (
        "it is short and people come often, so steps are days" if unit is Step.DAY else "steps are weeks"
    )
    horizon = f"half of all returns to a category come within {_days(half)}, so interest is asked {_steps(windows.horizon, word)} ahead"
    if windows.horizon < wanted.horizon:
        horizon += f" (rather {wanted.horizon}, but the log is too short for that)"
    elif windows.horizon * unit.seconds < half * 86_400:
        horizon += ", the most that is an early warning"
    elif windows.horizon == WANTED_HORIZON[unit] and half * 86_400 <= (windows.horizon - 1) * unit.seconds:
        horizon += ", the least that evens a week out" if unit is Step.DAY else ", the least that tells two weeks apart"
    lapse = f"three returns in four come within {_days(most)}, so nothing for {_steps(windows.lapse, word)} counts as a lapse"
    if windows.lapse < wanted.lapse:
        lapse += f" (rather {wanted.lapse}, but the log is too short for that)"
    (train_first, train_last), (test_first, test_last) = protocol.train_steps, protocol.test_steps
    return (
        why,
        horizon,
        lapse,
        f"a device looks back {_steps(windows.window, word)}",
        f"{word}s {train_first} to {train_last} train, {test_first} to {test_last} test: the labels of the first are known "
        "before the second begin",
    )


def _days(gap: float) -> str:
    return f"{gap:.3g} day{'' if gap == 1 else 's'}"


def _steps(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
