"""What is expected of later weeks, from what earlier ones came to, with 90 % intervals.

Contacts, right ones and missed lapses of later steps are those of earlier steps of the same age: a fresh start is the same in both,
and steps that are older than any earlier one count as the later half of these. That is scaled by trends that are known when
a line is chosen, for they need no outcome: of streams that are watched, and of those above the line (scores drift as people's
histories grow). The interval holds four doubts:

- which people: users are drawn again with replacement, whole;
- what they do: later counts scatter around their mean as earlier ones do, from user to user;
- what weeks do to everybody: how much more earlier weekly sums scatter than people alone would make them;
- where the trend goes: it may go on as fast as it came, or go back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from shared.arrays import Doubles, Ints, as_declared, hold_declared

from .weeks import Outcome, Period

DRAWS: Final = 1000
INTERVAL: Final = 0.9
COUNTS: Final = ("right", "wrong", "missed")
#: A trend is not followed further than this, as a factor.
MOST_TREND: Final = 20.0
#: Bounds of a trend's doubt, as standard deviations of its logarithm.
LEAST_DOUBT: Final = 0.1
MOST_DOUBT: Final = 1.5


@dataclass(frozen=True)
class Range:
    """A number and its 90 % interval."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Expected:
    """Counts of all people per step: the mean and draws (D,) of each of COUNTS."""

    mean: dict[str, float]
    drawn: dict[str, Doubles]

    def __post_init__(self) -> None:
        hold_declared(self)

    def range(self, factor: float = 1.0, **weights: float) -> Range:
        """A weighted sum of counts, times a factor."""
        mean = sum(weight * self.mean[name] for name, weight in weights.items())
        drawn = sum(weight * self.drawn[name] for name, weight in weights.items())
        ends = np.quantile(drawn, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
        low, high = sorted(float(end) * factor for end in ends)
        return Range(mean * factor, low, high)


@dataclass(frozen=True)
class Trend:
    """How many times more there will be in later steps than in earlier ones, and the standard deviation of its logarithm."""

    factor: float
    doubt: float

    def between(self, other: Trend) -> Trend:
        """Half way to another one."""
        factor = float(np.sqrt(self.factor * other.factor))
        return Trend(factor, (self.doubt + other.doubt) / 2)


@as_declared
def trend_of(number: Doubles, steps: Ints, earlier: Period, later: Period) -> Trend:
    """From a number (S,) of `steps` (S,), all known when a line is chosen: that of the steps since the earlier ones, whose outcome
    is not known yet, against theirs. Its doubt: it may go on, as fast as it came, until the middle of the later steps, or go back;
    never less than LEAST_DOUBT."""
    number = number + 0.5
    before = number[(steps >= earlier.judged) & (steps <= earlier.last)]
    since = number[steps > earlier.last]
    if not len(since):
        return Trend(1.0, 0.0)
    factor = float(np.clip(since.mean() / before.mean(), 1 / MOST_TREND, MOST_TREND))
    middle = float(steps[steps > earlier.last].mean())
    came = middle - (earlier.judged + earlier.last) / 2
    on = ((later.judged + later.last) / 2 - middle) / max(came, 1.0)
    scatter = float(since.std() / since.mean() / np.sqrt(len(since)))
    return Trend(factor, min(MOST_DOUBT, float(np.hypot(np.log(factor) * max(on, 0.5), max(scatter, LEAST_DOUBT)))))


def missed_trend(lapses: Trend, found: Trend, n_found: float, n_missed: float) -> Trend:
    """How missed lapses move where lapses and found ones do, of which there were so many: what is not found any more is missed."""
    share = n_found / n_missed if n_missed else 0.0
    factor = float(np.clip(lapses.factor + (lapses.factor - found.factor) * share, 1 / MOST_TREND, MOST_TREND))
    return Trend(factor, min(1.0, float(np.hypot(lapses.doubt, found.doubt * share))))


def weights_of(n_earlier: int, lead: int, n_later: int) -> Doubles:
    """How often each of `n_earlier` steps from a fresh start on (J,) stands for one of the later steps, which are of age `lead`,
    `lead` + 1, ... The sum is `n_later`.

    >>> weights_of(4, 1, 5).tolist()
    [0.0, 1.0, 2.0, 2.0]
    """
    out = np.zeros(n_earlier)
    ages = np.arange(lead, lead + n_later)
    known = ages < n_earlier
    out[ages[known]] += 1
    late = np.arange(n_earlier // 2, n_earlier)
    out[late] += (~known).sum() / len(late)
    return out


def expected_of(
    outcome: Outcome, earlier: Period, later: Period, n_whole_later: int, trends: Mapping[str, Trend], seed: int = 0
) -> Expected:
    """Counts per later step, from what happened in the earlier ones; `trends` by count."""
    random = np.random.Generator(np.random.Philox(seed))
    n_users = len(outcome.right)
    users = random.integers(0, n_users, (DRAWS, n_users))
    times = np.stack([np.bincount(row, minlength=n_users) for row in users]).astype(np.float32)
    doubt = random.standard_normal(DRAWS)
    mean: dict[str, float] = {}
    drawn: dict[str, Doubles] = {}
    for name in COUNTS:
        by_step: Doubles = getattr(outcome, name)
        n_later = n_whole_later if name == "missed" else later.n_judged
        weight, trend = weights_of(by_step.shape[1], later.lead, n_later), trends[name]
        own = by_step @ weight  # by user, as if lived through in the later steps
        total = float(own.sum())
        behave = np.sqrt(max(n_users * float(np.var(own)) * _shrink(weight), total, 1.0) * trend.factor)
        common = _common_scatter(by_step) * np.sqrt(1 / (weight > 0).sum() + 1 / n_later) * total * trend.factor
        centre = (times @ own.astype(np.float32)).astype(np.float64) * trend.factor * np.exp(trend.doubt * doubt)
        noise = np.hypot(behave, common) * random.standard_normal(DRAWS)
        mean[name] = total * trend.factor / n_later
        drawn[name] = np.maximum(centre + noise, 0) / n_later
    return Expected(mean, drawn)


def _shrink(weight: Doubles) -> float:
    """What part of the scatter of weighted sums is left when every step is lived through on its own: weights above 1 blow it up."""
    return min(1.0, float(weight.sum() / max((weight**2).sum(), 1e-9)))


def _common_scatter(by_step: Doubles) -> float:
    """Standard deviation of what a week does to everybody, as a share: weekly sums (J,) of users (K, J) scatter around their own slow
    line by more than users' chance makes them."""
    sums = by_step.sum(axis=0)[by_step.shape[1] // 4 :]
    if len(sums) < 4 or sums.mean() <= 0:
        return 0.0
    at = np.arange(len(sums), dtype=float)
    line = np.polyval(np.polyfit(at, sums, 1), at)
    chance = float(by_step.var(axis=0).sum() * len(by_step) / by_step.shape[1])
    left = float(((sums - line) ** 2).sum() / max(len(sums) - 2, 1)) - chance
    return float(np.sqrt(max(left, 0.0)) / sums.mean())
