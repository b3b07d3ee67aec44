"""A log's people as a population: the same one that a loader of the project makes of the same people."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from shared.arrays import Doubles, hold_declared
from shared.errors import DataError, InputError
from shared.events import Catalogue, Step

from ...scenarios.own_data import FileSection
from ..population import Population
from .account import Account, Dropped, Reason
from .categories import Categories, choose_categories
from .cleaning import clean
from .staging import OnRead, read_log

#: What a population from a file is called.
NAME = "your data"


@dataclass(frozen=True, eq=False, repr=False)
class FilePeople:
    """People of a log. `scores`: of each column of scores, its value at every event of `population`, in the events' order
    (n_events,), NaN where none stands. `account` counts events outside of the steps as dropped."""

    population: Population
    scores: dict[str, Doubles]
    account: Account
    categories: Categories

    def __post_init__(self) -> None:
        hold_declared(self)

    def __repr__(self) -> str:
        return f"FilePeople({self.population!r})"

    def scores_at(self, name: str) -> Doubles:
        """A column of scores as a rival's p: (users, categories, steps), the last value that an event of the pair gave by the
        close of the step; NaN before there was one."""
        people, values = self.population, self.scores[name]
        user = np.repeat(np.arange(people.n_users), np.diff(people.offsets))
        step = np.floor(people.time_s / people.step.seconds).astype(np.int64)
        known = np.isfinite(values)
        table = np.full((people.n_users, len(people.catalogue), people.n_steps), np.nan)
        table[user[known], people.category[known], step[known]] = values[known]
        held = np.where(np.isnan(table), 0, np.arange(people.n_steps))
        return np.take_along_axis(table, np.maximum.accumulate(held, axis=-1), axis=-1)


def population_of_file(
    path: Path, section: FileSection, *, step: Step, first_day: date, n_steps: int, users: int | None = None, seed: int = 0
) -> Population:  # fmt: skip
    """The population of `people_of_file`, which says the rest."""
    return people_of_file(
        path, section, step=step, first_day=first_day, n_steps=n_steps, users=users, seed=seed
    ).population


def people_of_file(
    path: Path,
    section: FileSection,
    *,
    step: Step,
    first_day: date,
    n_steps: int,
    users: int | None = None,
    seed: int = 0,
    on_read: OnRead | None = None,
) -> FilePeople:
    """Everybody with an event in the `n_steps` steps from `first_day` on, on the clocks of the section's zone.

    Users are in the order of their numbers, or, where one has none, of their names as text; neither is kept. `users` takes a
    random subset of that size (0 or None: everybody), the same for the same `seed`, as `simulations.people.datasets.load` does.

    Guarantees. The same lines in another order, form or division into files give the same population, bit for bit, except
    where lines with scores tie in all else. No identifier is in what is returned, nor in an error.
    """
    if n_steps < 1:
        raise InputError(f"expected n_steps >= 1, got {n_steps}")
    if users is not None and users < 0:
        raise InputError(f"expected users >= 0, got {users}")
    origin_s = (first_day - date(1970, 1, 1)).days * 86_400
    end_s = origin_s + n_steps * step.seconds
    within = f"time_s >= {origin_s} AND time_s < {end_s}"
    with read_log(Path(path), section, on_read) as (connection, staged):
        account = clean(connection, staged, on_read)
        categories = choose_categories(connection, staged)
        outside, first_outside = connection.execute(
            f"SELECT count(*), min(line) FROM kept WHERE NOT ({within})"
        ).fetchone()
        if outside:
            place = staged.where(int(first_outside))
            lost = Dropped(Reason.OUTSIDE, int(outside), place)
            account = replace(account, kept=account.kept - int(outside), dropped=(*account.dropped, lost))
        if not account.kept:
            raise DataError(f"expected events in the {n_steps} {step.value}s from {first_day} on in {path}, got none")
        all_numbers = "count(*) = count(TRY_CAST(person AS HUGEINT))"
        (numbered,) = connection.execute(f"SELECT {all_numbers} FROM kept WHERE {within}").fetchone()
        order = "TRY_CAST(person AS HUGEINT), person" if numbered else "person"
        connection.execute(
            f"CREATE TABLE people AS SELECT person, row_number() OVER (ORDER BY {order}) - 1 AS user "
            f"FROM (SELECT DISTINCT person FROM kept WHERE {within})"
        )
        score = "".join(f", s{number}" for number in range(len(staged.columns.scores)))
        found = connection.execute(
            f"SELECT user, place, kind, time_s - {origin_s} AS time_s, amount{score} FROM counted JOIN people USING (person) "
            f"WHERE {within} ORDER BY user, time_s, place, kind, amount, line"
        ).fetchnumpy()
        (n_users,) = connection.execute("SELECT count(*) FROM people").fetchone()
    everybody = Population.from_events(
        name=NAME,
        catalogue=Catalogue(categories.names),
        step=step,
        n_steps=n_steps,
        simulated=False,
        n_users=int(n_users),
        user=found["user"],
        category=found["place"],
        kind=found["kind"],
        time_s=found["time_s"],
        amount=found["amount"],
    )
    scores = {
        name: np.ma.filled(np.ma.asarray(found[f"s{number}"], np.float64), np.nan)
        for number, name in enumerate(staged.columns.scores)
    }
    if not users:
        return FilePeople(everybody, scores, account, categories)
    if users > everybody.n_users:
        raise InputError(f"expected users in 0..{everybody.n_users}, got {users}")
    rng = np.random.Generator(np.random.Philox(seed))
    chosen = np.sort(rng.choice(everybody.n_users, users, replace=False))
    rows = np.isin(found["user"], chosen)
    return FilePeople(everybody.take(chosen), {name: all_[rows] for name, all_ in scores.items()}, account, categories)
