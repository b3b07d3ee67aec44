"""What only shows between lines: duplicates, and users who do more on one day than a person does. Counts stay within memory,
for users are looked at a part at a time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

from .account import Account, Dropped, Reason
from .staging import BUCKETS, OnRead, Staged

_PART_LINES: Final = 8_000_000


def parts_of(staged: Staged) -> list[str]:
    """Conditions on `bucket` that part the users, each of some millions of lines."""
    n_parts = min(BUCKETS, max(1, -(-staged.n_lines // _PART_LINES)))
    edges = [BUCKETS * part // n_parts for part in range(n_parts + 1)]
    return [f"bucket >= {low} AND bucket < {high}" for low, high in pairwise(edges)]


def clean(connection: Any, staged: Staged, on_read: OnRead | None = None) -> Account:
    """The account of all lines. Makes tables `doubled` (line) and `bots` (person), and the view `kept` of the lines that count."""
    connection.execute("CREATE TABLE doubled (line BIGINT); CREATE TABLE bots (person VARCHAR)")
    most = staged.section.most_events_per_day
    parts = parts_of(staged)
    for number, part in enumerate(parts):
        good = f"reason = 0 AND {part}"
        if staged.section.duplicates == "drop":
            connection.execute(
                "CREATE OR REPLACE TEMP TABLE twice AS SELECT row_hash, time_s, min(line) AS first FROM lines "
                f"WHERE {good} GROUP BY row_hash, time_s HAVING count(*) > 1"
            )
            connection.execute(
                "INSERT INTO doubled SELECT line FROM lines JOIN twice USING (row_hash, time_s) "
                f"WHERE {good} AND line > first"
            )
        if most:
            connection.execute(
                "INSERT INTO bots SELECT DISTINCT person FROM (SELECT person FROM lines ANTI JOIN doubled USING (line) "
                f"WHERE {good} GROUP BY person, floor(time_s / 86400) HAVING count(*) > {most})"
            )
        if on_read:
            on_read("duplicates and bots", number + 1, len(parts))
    has_doubled, has_bots = (
        connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("doubled", "bots")
    )
    once = "lines ANTI JOIN doubled USING (line)" if has_doubled else "lines"
    people = f"(SELECT * FROM {once}) ANTI JOIN bots USING (person)" if has_bots else once
    connection.execute(f"CREATE VIEW kept AS SELECT * FROM {people} WHERE reason = 0")
    rows = connection.execute(
        "SELECT reason, count(*), min(line) FROM lines WHERE reason > 0 GROUP BY reason"
    ).fetchall()
    if has_doubled:
        rows += connection.execute(f"SELECT {Reason.DUPLICATE.value}, count(*), min(line) FROM doubled").fetchall()
    if has_bots:
        rows += connection.execute(
            f"SELECT {Reason.BOT.value}, count(*), min(line) FROM (SELECT * FROM {once}) SEMI JOIN bots USING (person) WHERE reason = 0"
        ).fetchall()
    dropped = [Dropped(Reason(reason), int(count), staged.where(int(line))) for reason, count, line in sorted(rows)]
    if n_bad := sum(map(len, staged.malformed)):
        dropped.insert(0, Dropped(Reason.MALFORMED, n_bad, staged.first_malformed()))
    kept = int(connection.execute("SELECT count(*) FROM kept").fetchone()[0])
    return Account(staged.n_read, kept, tuple(dropped))
