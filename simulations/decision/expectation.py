"""What is expected of later weeks, from what earlier ones came to, with 90 % intervals.

Contacts, right ones and missed lapses of later steps are those of earlier steps of the same age: a fresh start is the same in both,
and steps that are older than any earlier one count as the later half of these. The line keeps the share of watched streams at or
above it, so that only their number scales this: it is taken to move on half as fast as it came. The interval holds five doubts:

- which people: users are drawn again with replacement, whole;
- what they do: later counts scatter around their mean as earlier ones do, from user to user;
- what weeks do to everybody: how much more earlier weekly sums scatter than people alone would make them;
- drift of numbers: of those watched, that they do not move on, or as fast as they came; of those above the line, half as fast as
  they came to it, or back;
- drift of precision: as far as half of that, and never less than LEAST_DOUBT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from shared.arrays import Doubles, Ints, as_declared, hold_declared

from .weeks import Outcome, Period

DRAWS: Final = 1000
INTERVAL: Final = 0.9
COUNTS: Final = ("right", "wrong", "missed")
#: Bounds of a drift's doubt, as standard deviations of its logarithm.
LEAST_DOUBT: Final = 0.15
MOST_DOUBT: Final = 1.0


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
class Drift:
    """How many times more streams are watched in later steps than in earlier ones, and how far that, and the number of contacts, may be
    from it: standard deviations of the logarithm."""

    watched: float
    watched_doubt: float
    doubt: float

    @property
    def of_precision(self) -> float:
        """How far the share of right ones may move, likewise."""
        return max(self.doubt / 2, LEAST_DOUBT)


@as_declared
def drift_of(watching: Doubles, above: Doubles, steps: Ints, periods: tuple[Period, Period, Period]) -> Drift:
    """From how many streams were watched, and at or above the line, in `steps` (S,), all known when it is chosen; the earlier, the
    latest and the later period."""
    earlier, latest, later = periods

    def mean(number: Doubles, period: Period) -> float:
        return float(number[(steps >= period.judged) & (steps <= period.last)].mean()) + 1e-9

    on = (later.middle - latest.middle) / max(latest.middle - earlier.middle, 1.0) / 2
    watched = float(np.log(mean(watching, latest) / mean(watching, earlier)))
    to_line = float(np.log((mean(above, latest) + 0.5) / (mean(above, earlier) + 0.5))) - watched
    doubts = np.clip([abs(watched * on), np.hypot(watched * on, to_line * on)], LEAST_DOUBT, MOST_DOUBT)
    return Drift(float(np.exp(watched + np.clip(watched * on, -MOST_DOUBT, MOST_DOUBT))), *doubts.tolist())


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
    outcome: Outcome, earlier: Period, later: Period, n_whole_later: int, drift: Drift, seed: int = 0
) -> Expected:
    """Counts per later step, from what happened in the earlier ones."""
    random = np.random.Generator(np.random.Philox(seed))
    n_users = len(outcome.right)
    users = random.integers(0, n_users, (DRAWS, n_users))
    times = np.stack([np.bincount(row, minlength=n_users) for row in users]).astype(np.float32)
    number, precision = random.standard_normal((2, DRAWS))
    right = outcome.right.sum() / max(outcome.contacts.sum(), 1.0)
    found = outcome.right.sum() / max(outcome.missed.sum(), 1.0)
    # More contacts are right less often; what is found is not missed, and what is not right is wrong.
    more = drift.doubt / 2 * number + drift.of_precision * precision
    moved = {
        "right": more,
        "wrong": drift.doubt * number - drift.of_precision * precision * min(right / max(1 - right, 0.1), 3.0),
        "missed": drift.watched_doubt * random.standard_normal(DRAWS) - more * min(found, 3.0),
    }
    mean: dict[str, float] = {}
    drawn: dict[str, Doubles] = {}
    for name in COUNTS:
        by_step: Doubles = getattr(outcome, name)
        n_later = n_whole_later if name == "missed" else later.n_judged
        weight = weights_of(by_step.shape[1], later.lead, n_later)
        own = by_step @ weight  # by user, as if lived through in the later steps
        total = float(own.sum())
        behave = np.sqrt(max(n_users * float(np.var(own)) * _shrink(weight), total, 1.0) * drift.watched)
        common = _common_scatter(by_step) * np.sqrt(1 / (weight > 0).sum() + 1 / n_later) * total * drift.watched
        centre = (times @ own.astype(np.float32)).astype(np.float64) * drift.watched * np.exp(moved[name])
        noise = np.hypot(behave, common) * random.standard_normal(DRAWS)
        mean[name] = total * drift.watched / n_later
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
