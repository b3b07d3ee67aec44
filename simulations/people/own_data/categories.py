"""Which categories a log's people are watched in: all of a column or of a file, or the ones that most users touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from shared.errors import ConfigError, DataError
from shared.events import MAX_CATEGORIES

from ..private_choice import MOST_VOTES, top_of_noise
from .cleaning import parts_of
from .staging import Staged

EVERYTHING_ELSE: Final = "everything else"


@dataclass(frozen=True)
class Categories:
    """The catalogue, and what it leaves out. `how` is "column", "file", "top" or "none" (a single one); `found`: different ones in
    the log; `without`: kept lines that have none; `lines`: kept lines of each name, by their order in `names`."""

    names: tuple[str, ...]
    how: str
    found: int
    without: int
    lines: tuple[int, ...]


def choose_categories(connection: Any, staged: Staged) -> Categories:
    """The categories of the lines that are kept, and table `chosen` (category, number). What has none, or one that was not chosen,
    is "everything else", the last of the names; it is there if a line is in it, and always where the top ones were chosen.

    Guarantees, with `top_epsilon` > 0: those of `top_of_noise`, unless the section names what was `chosen` already: then no vote is
    counted. The other choices look at the lines and are not counted.
    """
    section = staged.section
    found, without = connection.execute(
        "SELECT count(DISTINCT category), count_if(category IS NULL) FROM kept"
    ).fetchone()
    mapped = bool(connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'mapping'").fetchone()[0])
    has_column = staged.columns.at["category"] is not None
    how: str = section.categories
    if section.top_epsilon and (mapped or how not in ("auto", "top")):
        raise ConfigError(
            f'expected top_epsilon = 0, or categories = "top" without a file of categories, got {section.top_epsilon:g}: only a '
            "choice of the top ones has a price"
        )
    if how == "auto":
        how = (
            "top"
            if section.top_epsilon
            else "file"
            if mapped
            else "column"
            if has_column and found < MAX_CATEGORIES
            else "top"
        )
    if how == "column" and not has_column:
        raise DataError(f"expected a column of categories in {staged.path}, named in data.file.category")
    if how == "top":
        names = _top(connection, staged)
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
    return Categories(tuple(names), how, int(found), int(without), counts)


def _top(connection: Any, staged: Staged) -> list[str]:
    """The names of the `top` categories, sorted. DataError if a private choice finds none."""
    section = staged.section
    private = section.top_epsilon > 0
    if section.chosen:
        return sorted(set(section.chosen))
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
        return sorted(name for name, _ in sorted(rows, key=lambda row: (-row[1], row[0]))[: section.top])
    votes = np.array([count for _, count in rows], np.int64)
    chosen = sorted(rows[number][0] for number in top_of_noise(votes, section.top, section.top_epsilon))
    if not chosen:
        raise DataError(
            f"expected categories of so many people that they stand out of noise of top_epsilon = {section.top_epsilon:g}, got "
            "none: every try costs it anew; a larger one, or the public choice (0), finds more"
        )
    return chosen
