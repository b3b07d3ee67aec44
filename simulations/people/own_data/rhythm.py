"""How long a log is, and how often its people come: all that a protocol is derived from. Counts over everybody, never one user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

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


def rhythm_of(connection: Any, parts: Sequence[str], on_part: Callable[[int, int], None] | None = None) -> Rhythm:
    """The rhythm of the view `counted` of a cleaned log that has lines, users looked at a part at a time (conditions `parts`)."""
    first, last, events = connection.execute("SELECT min(time_s), max(time_s), count(*) FROM counted").fetchone()
    first_number, last_number = int(first // 86_400), int(last // 86_400)
    connection.execute("CREATE TEMP TABLE active (days INTEGER); CREATE TEMP TABLE gaps (gap INTEGER, times BIGINT)")
    connection.execute("CREATE TEMP TABLE weeks (week INTEGER, users BIGINT)")
    pairs = 0
    for number, part in enumerate(parts):
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE days AS SELECT DISTINCT person, place, floor(time_s / 86400)::INTEGER AS day "
            f"FROM counted WHERE {part}"
        )
        pairs += int(connection.execute("SELECT count(*) FROM (SELECT DISTINCT person, place FROM days)").fetchone()[0])
        connection.execute(
            "INSERT INTO active SELECT count(*) FROM (SELECT DISTINCT person, day FROM days) GROUP BY person;"
            "INSERT INTO gaps SELECT gap, count(*) FROM (SELECT day - lag(day) OVER (PARTITION BY person, place ORDER BY day) AS gap "
            "FROM days) WHERE gap IS NOT NULL GROUP BY gap;"
            f"INSERT INTO weeks SELECT week, count(*) FROM (SELECT DISTINCT person, (day - {first_number}) // 7 AS week FROM days) "
            "GROUP BY week"
        )
        if on_part:
            on_part(number + 1, len(parts))
    users, median = connection.execute("SELECT count(*), median(days) FROM active").fetchone()
    gaps = connection.execute("SELECT gap, sum(times)::BIGINT FROM gaps GROUP BY gap ORDER BY gap").fetchall()
    n_days = last_number - first_number + 1
    weekly = dict(connection.execute("SELECT week, sum(users)::BIGINT FROM weeks GROUP BY week").fetchall())
    whole = [int(weekly.get(week, 0)) for week in range(n_days // 7)] or [int(users)]
    connection.execute("DROP TABLE active; DROP TABLE gaps; DROP TABLE weeks; DROP TABLE days")
    quarter, half, more, most = (_weighted(gaps, percent) for percent in GAP_PERCENTS)
    low, middle, high = (float(value) for value in np.percentile(whole, WEEK_PERCENTS))
    return Rhythm(
        n_days=n_days,
        first_day=date(1970, 1, 1) + timedelta(days=first_number),
        active_days_per_user_median=float(median),
        gap_days_quantiles=(quarter, half, more, most),
        pairs=pairs,
        users=int(users),
        users_per_week_quantiles=(low, middle, high),
        events=int(events),
    )


def _weighted(rows: Sequence[tuple[int, int]], percent: float) -> float:
    """The least value that this share of values with counts does not exceed; 0 of none."""
    wanted, so_far = sum(count for _, count in rows) * percent / 100, 0
    for value, count in rows:
        so_far += count
        if so_far >= wanted:
            return float(value)
    return 0.0
