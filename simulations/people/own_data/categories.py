"""Which categories a log's people are watched in: all of a column or of a file, or the ones that most users touched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from shared.errors import DataError
from shared.events import MAX_CATEGORIES
from shared.mechanisms import DiscreteGaussian

from ...scenarios.sections import noise_for
from .cleaning import parts_of
from .staging import Staged

EVERYTHING_ELSE: Final = "everything else"
#: Categories that one user votes for at most, where the choice is private: the sum's L2 sensitivity is the root of it.
MOST_VOTES: Final = 16
DELTA: Final = 1e-6


@dataclass(frozen=True)
class TopCharge:
    """What a private choice of the top categories costs: one sum, asked once. `unit` says whose presence it hides; the sum's
    noise has `noise_multiplier` times the L2 `sensitivity` as its sigma."""

    epsilon: float
    delta: float
    noise_multiplier: float
    sensitivity: float
    unit: str = "a user: neighbours differ by all lines of one"


@dataclass(frozen=True)
class Categories:
    """The catalogue, and what it leaves out. `how` is "column", "file", "top" or "none" (a single one); `found`: different ones in
    the log; `without`: kept lines that have none; `lines`: kept lines of each name, by their order in `names`."""

    names: tuple[str, ...]
    how: str
    found: int
    without: int
    lines: tuple[int, ...]
    charge: TopCharge | None = None


def choose_categories(connection: Any, staged: Staged) -> Categories:
    """The categories of the lines that are kept, and table `chosen` (category, number). What has none, or one that was not chosen,
    is "everything else", the last of the names; it is there if a line is in it, and always where the top ones were chosen.

    Guarantees, with `top_epsilon` > 0: `top_of_noise`. The other choices look at the lines and are not counted.
    """
    section = staged.section
    found, without = connection.execute(
        "SELECT count(DISTINCT category), count_if(category IS NULL) FROM kept"
    ).fetchone()
    mapped = bool(connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'mapping'").fetchone()[0])
    has_column = staged.columns.at["category"] is not None
    how: str = section.categories
    if how == "auto":
        how = "file" if mapped else "column" if has_column and found < MAX_CATEGORIES else "top"
    if how == "column" and not has_column:
        raise DataError(f"expected a column of categories in {staged.path}, named in data.file.category")
    charge = None
    if how == "top":
        names, charge = _top(connection, staged)
    else:
        table = "mapping" if how == "file" else "kept"
        rows = connection.execute(f"SELECT DISTINCT category FROM {table} WHERE category IS NOT NULL").fetchall()
        names = sorted(row[0] for row in rows)
        if len(names) >= MAX_CATEGORIES:
            raise DataError(
                f'expected at most {MAX_CATEGORIES - 1} categories, got {len(names)}: categories = "top" takes the largest'
            )
    own = {name: number for number, name in enumerate(names)}
    rest = own.get(EVERYTHING_ELSE, len(names))
    connection.execute("CREATE TABLE chosen (category VARCHAR, number SMALLINT)")
    if names:
        connection.executemany("INSERT INTO chosen VALUES (?, ?)", list(own.items()))
    connection.execute(
        f"CREATE VIEW counted AS SELECT kept.*, coalesce(number, {rest})::SMALLINT AS place FROM kept LEFT JOIN chosen USING (category)"
    )
    lines = dict(connection.execute("SELECT place, count(*) FROM counted GROUP BY place").fetchall())
    if EVERYTHING_ELSE not in own and (how == "top" or rest in lines or not names):
        names = [*names, EVERYTHING_ELSE]
    counts = tuple(int(lines.get(number, 0)) for number in range(len(names)))
    if how == "top" and not found:
        how = "none"
    return Categories(tuple(names), how, int(found), int(without), counts, charge)


def _top(connection: Any, staged: Staged) -> tuple[list[str], TopCharge | None]:
    """The names of the `top` categories, sorted."""
    section = staged.section
    private = section.top_epsilon > 0
    connection.execute("CREATE TEMP TABLE votes (category VARCHAR, users BIGINT)")
    bound = f"QUALIFY row_number() OVER (PARTITION BY person ORDER BY hash(person, category), category) <= {MOST_VOTES}"
    for part in parts_of(staged):
        connection.execute(
            "INSERT INTO votes SELECT category, count(*) FROM (SELECT DISTINCT person, category FROM kept "
            f"WHERE category IS NOT NULL AND {part} {bound if private else ''}) GROUP BY category"
        )
    rows = connection.execute("SELECT category, sum(users)::BIGINT FROM votes GROUP BY category").fetchall()
    connection.execute("DROP TABLE votes")
    if not private:
        return sorted(name for name, _ in sorted(rows, key=lambda row: (-row[1], row[0]))[: section.top]), None
    names = [name for name, _ in rows]
    chosen, charge = top_of_noise(np.array([count for _, count in rows], np.int64), section.top, section.top_epsilon)
    return sorted(names[number] for number in chosen), charge


def top_of_noise(votes: Any, top: int, epsilon: float, delta: float = DELTA) -> tuple[list[int], TopCharge]:
    """The positions of the `top` largest of `votes` (n,) behind noise, fewer if fewer are surely not of one user.

    Guarantees. The choice is (epsilon, delta)-private for a user with all lines, if a user votes for at most MOST_VOTES
    categories, once each: the sum moves by at most the root of that, and gets discrete Gaussian noise of the operating system's
    entropy, which spends epsilon and half of delta. The names come from the log, so one that a single user brought must not
    show: only noisy counts above 1 + z sigma are taken, z such that all the votes of one user together go above it with
    probability delta / 2.

    Edge cases. No votes give no positions, and cost the same.
    """
    multiplier, sensitivity = noise_for(epsilon, delta / 2), math.sqrt(MOST_VOTES)
    sigma = multiplier * sensitivity
    noisy = votes + DiscreteGaussian(sigma).sample(votes.shape)
    least = 1 + sigma * NormalDist().inv_cdf(1 - delta / 2 / MOST_VOTES)
    order = [int(number) for number in np.argsort(-noisy, kind="stable") if noisy[number] > least]
    return order[:top], TopCharge(epsilon, delta, multiplier, sensitivity)
