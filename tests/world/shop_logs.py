"""Logs of a made-up shop, as a stranger's would be: planted people's events written as lines of a file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from shared.events import EventKind
from simulations.people.planted import plant
from simulations.people.population import Population

#: The day of step 0.
FIRST_DAY = datetime(2026, 1, 5, tzinfo=UTC)
HEADER = "user_id,event_type,category,event_time,price"


def write_shop_log(file: Path, n_users: int, n_days: int, *, seed: int = 3) -> Population:
    """The planted people whose every event is a line of `file`, in the order of time; milliseconds are cut off."""
    people = plant(n_users, n_days, seed=seed)
    user = np.repeat(np.arange(n_users), np.diff(people.offsets))
    order = np.argsort(people.time_s, kind="stable")
    names = people.catalogue.names
    lines = [HEADER]
    for i in order:
        at = FIRST_DAY + timedelta(seconds=float(people.time_s[i]))
        kind = EventKind(int(people.kind[i])).name.lower()
        price = f"{people.amount[i]:.9g}" if people.amount[i] else ""
        lines.append(f"{user[i]},{kind},{names[people.category[i]]},{at.isoformat(timespec='microseconds')},{price}")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return people
