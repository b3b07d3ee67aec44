"""A small reader of logs in plain columns, until the full reader is there."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import DataError
from shared.events import Catalogue, EventKind, Step

from ...scenarios.own_data import FileSection
from ..population import Population
from .rhythm import GAP_PERCENTS, WEEK_PERCENTS, Rhythm

DAY_S = 86_400
NAMES = {
    "user": ("user", "user_id", "customer_id", "customer", "visitorid"),
    "time": ("time", "timestamp", "event_time", "date"),
    "event": ("event", "event_type", "kind"),
    "category": ("category", "category_code", "category_id"),
    "amount": ("amount", "price", "sales_value"),
}


@dataclass(frozen=True)
class Understood:
    """What a log holds: the section with its columns filled in, its rhythm, how many categories, and that in sentences."""

    section: FileSection
    rhythm: Rhythm
    n_categories: int
    lines: tuple[str, ...]


def understand(path: Path, section: FileSection) -> Understood:
    frame, columns = _read(path, section)
    day = (frame["time_s"] // DAY_S).astype(int)
    pairs = frame.assign(day=day).drop_duplicates(["user", "category", "day"]).sort_values(["user", "category", "day"])
    gaps = pairs.groupby(["user", "category"])["day"].diff().dropna().to_numpy()
    gap = np.percentile(gaps, GAP_PERCENTS) if len(gaps) else np.zeros(4)
    weekly = frame.assign(week=(day - day.min()) // 7).groupby("week")["user"].nunique()
    rhythm = Rhythm(
        n_days=int(day.max() - day.min() + 1),
        first_day=datetime.fromtimestamp(int(day.min()) * DAY_S, UTC).date(),
        active_days_per_user_median=float(frame.assign(day=day).groupby("user")["day"].nunique().median()),
        gap_days_quantiles=tuple(map(float, gap)),  # type: ignore[arg-type]
        pairs=len(pairs[["user", "category"]].drop_duplicates()),
        users=int(frame["user"].nunique()),
        users_per_week_quantiles=tuple(map(float, np.percentile(weekly, WEEK_PERCENTS))),  # type: ignore[arg-type]
        events=len(frame),
    )
    n_categories = int(frame["category"].nunique())
    lines = (f"{len(frame):,} events of {rhythm.users:,} people in {n_categories} categories",)
    return Understood(section.model_copy(update=columns), rhythm, n_categories, lines)


def population_of_file(
    path: Path, section: FileSection, *, step: Step, first_day: date, n_steps: int, users: int, seed: int
) -> Population:
    frame, _ = _read(path, section)
    origin = datetime(first_day.year, first_day.month, first_day.day, tzinfo=UTC).timestamp()
    frame = frame.assign(time_s=frame["time_s"] - origin)
    frame = frame[(frame["time_s"] >= 0) & (frame["time_s"] < n_steps * step.seconds)]
    names = tuple(sorted(frame["category"].unique()))
    _, user = np.unique(frame["user"].to_numpy(), return_inverse=True)
    n_users = int(user.max()) + 1
    kinds = [EventKind[kind.upper()] for kind in frame["kind"]]
    purchase = np.array([kind is EventKind.PURCHASE for kind in kinds])
    people = Population.from_events(
        name=path.name,
        catalogue=Catalogue(names),
        step=step,
        n_steps=n_steps,
        simulated=False,
        n_users=n_users,
        user=user,
        category=np.searchsorted(names, frame["category"].to_numpy(str)),
        kind=np.array(kinds, np.int8),
        time_s=frame["time_s"].to_numpy(np.float64),
        amount=np.where(purchase, frame["amount"].to_numpy(np.float64), 0).astype(np.float32),
    )
    if users and users < n_users:
        rng = np.random.Generator(np.random.Philox(seed))
        return people.take(np.sort(rng.choice(n_users, users, replace=False)))
    return people


def _read(path: Path, section: FileSection) -> tuple[Any, dict[str, str]]:
    pandas = importlib.import_module("pandas")
    try:
        frame = pandas.read_parquet(path) if path.suffix == ".parquet" else pandas.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"expected a log as CSV or Parquet, got {path}: {type(error).__name__}") from None
    columns = {
        role: getattr(section, role) or next((name for name in names if name in frame.columns), "")
        for role, names in NAMES.items()
    }
    for role in ("user", "time", "category"):
        if columns[role] not in frame.columns:
            raise DataError(f"expected a column for data.file.{role} in {path.name}, got {', '.join(frame.columns)}")
    try:
        time = pandas.to_datetime(frame[columns["time"]], format="ISO8601", utc=True)
    except (ValueError, TypeError):
        raise DataError(f"expected times in the column {columns['time']} of {path.name}, got none") from None
    if not len(frame):
        raise DataError(f"expected events in {path.name}, got none")
    out = pandas.DataFrame(
        {
            "user": frame[columns["user"]],
            "category": frame[columns["category"]].astype(str),
            "time_s": (time - pandas.Timestamp(0, tz="UTC")).dt.total_seconds(),
            "kind": frame[columns["event"]].str.lower() if columns["event"] else section.kind,
            "amount": frame[columns["amount"]].fillna(0) if columns["amount"] else 0.0,
        }
    )
    return out, {role: name for role, name in columns.items() if name}
