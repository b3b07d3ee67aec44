"""Logs of a made-up shop, as a stranger's would be: planted people's events written as lines of a file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from shared.events import Catalogue, EventKind
from simulations.people.planted import plant
from simulations.people.population import Population

#: The day of step 0.
FIRST_DAY = datetime(2026, 1, 5, tzinfo=UTC)
HEADER = "user_id,event_type,category,event_time,price"


def in_a_logs_order(people: Population) -> Population:
    """The same people as a log tells of them: recorded, categories by their names, what happened at once by category and kind."""
    names = tuple(sorted(people.catalogue.names))
    user = np.repeat(np.arange(people.n_users), np.diff(people.offsets))
    category = np.array([names.index(name) for name in people.catalogue.names])[people.category]
    order = np.lexsort((people.amount, people.kind, category, people.time_s, user))
    return Population.from_events(
        name="any",
        catalogue=Catalogue(names),
        step=people.step,
        n_steps=people.n_steps,
        simulated=False,
        n_users=people.n_users,
        user=user[order],
        category=category[order],
        kind=people.kind[order],
        time_s=people.time_s[order],
        amount=people.amount[order],
    )


def write_shop_log(file: Path, n_users: int, n_days: int, *, seed: int = 3) -> Population:
    """The planted people whose every event is a line of `file`, in the order of time, which is in whole seconds."""
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
