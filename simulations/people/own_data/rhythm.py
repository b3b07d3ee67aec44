"""How long a log is, and how often its people come: all that a protocol is derived from. Counts over everybody, never one user's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

#: The quantiles, in percent, that the tuples of `Rhythm` hold.
GAP_PERCENTS = (25, 50, 75, 90)
WEEK_PERCENTS = (10, 50, 90)


@dataclass(frozen=True)
class Rhythm:
    """Of the lines that are kept. Days are those of the log's zone.

    `n_days`: from the day of the first event, `first_day`, to that of the last, both included. `active_days_per_user_median`:
    days with an event. `gap_days_quantiles`: days between consecutive active days of a (user, category) pair, at GAP_PERCENTS;
    zeros if no pair came twice. `pairs`: (user, category) pairs with an event. `users_per_week_quantiles`: users with an event
    in a week that counts from `first_day`, at WEEK_PERCENTS over whole weeks; of a log shorter than a week, its users.
    """

    n_days: int
    first_day: date
    active_days_per_user_median: float
    gap_days_quantiles: tuple[float, float, float, float]
    pairs: int
    users: int
    users_per_week_quantiles: tuple[float, float, float]
    events: int
