"""A log read once, line by line, into a table of what is needed of it: whose, when, what, and why a line cannot be used.

Table `lines`: line (number in the order of reading, from 1), bucket (0..63, of the user), reason (`Reason`), person, time_s,
event (its name in the log), kind (`EventKind`), category, amount, row_hash, s0, s1, ... (scores). `lines` is on the disk, in
the workshop's folder.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from shared.errors import DataError
from shared.events import MAX_AMOUNT, EventKind

from ...scenarios.own_data import FileSection
from ..datasets import RETAIL_CATEGORIES
from .account import Reason
from .columns import Columns, own_list, propose
from .opening import LogFile, files_of, opened, source_of, workshop
from .presets import BY_VERB, EVENTS, FAILED, plain
from .values import (
    END_S,
    FIRST_S,
    Decimal,
    Order,
    Unit,
    constant,
    day_first_counts,
    decimal_of,
    id_of,
    is_number,
    is_time,
    local_seconds,
    number_of,
    text_of,
    unit_of,
)

OnRead = Callable[[str, int, int], None]
BUCKETS: Final = 64
_SAMPLE_LINES: Final = 20_000
_KINDS: Final = {kind.name.lower(): kind.value for kind in EventKind}
_IGNORED: Final = -1


@dataclass(frozen=True)
class Forms:
    """What values mean in this log, and why: `reasons` by key of the scenario."""

    unit: Unit
    order: Order
    decimal: Decimal
    zone: str
    events: dict[str, str]
    reasons: dict[str, str]


@dataclass(frozen=True)
class Staged:
    """A log that has been read: `n_lines` in the table, and of text files the malformed ones, by file, as lines of the file."""

    path: Path
    files: tuple[LogFile, ...]
    columns: Columns
    forms: Forms
    section: FileSection
    n_lines: int
    ends: tuple[int, ...]
    malformed: tuple[tuple[int, ...], ...]

    @property
    def n_read(self) -> int:
        return self.n_lines + sum(map(len, self.malformed))

    def where(self, line: int) -> str:
        """The place of a line of the table in its file, in words."""
        number = bisect_right(self.ends, line - 1)
        within = line - (self.ends[number - 1] if number else 0)
        if self.files[number].is_text:
            within += 1
            for bad in self.malformed[number]:
                if bad > within:
                    break
                within += 1
        return self._words(number, within)

    def first_malformed(self) -> str:
        number = next(n for n, bad in enumerate(self.malformed) if bad)
        return self._words(number, self.malformed[number][0])

    def _words(self, number: int, within: int) -> str:
        word = "line" if self.files[number].is_text else "row"
        return f"{word} {within:,}" + (f" of {self.files[number].path.name}" if len(self.files) > 1 else "")


@contextmanager
def speaking(path: Path) -> Iterator[None]:
    """A body in which duckdb's complaints, which quote what stands in a file, become one line that does not."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise DataError(f"expected room on the disk and in memory for {path}: there is none left") from None
    except duckdb.Error:
        raise DataError(f"expected {path} to be whole CSV or Parquet that duckdb reads: it is cut or damaged") from None


@contextmanager
def telling(connection: Any, what: str, on_read: OnRead | None) -> Iterator[None]:
    """A body of one long query, whose progress is told every half second, in percent."""
    if on_read is None:
        yield
        return
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(0.5):
            on_read(what, max(0, min(99, int(connection.query_progress()))), 100)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
    on_read(what, 100, 100)


@contextmanager
def read_log(path: Path, section: FileSection, on_read: OnRead | None = None) -> Iterator[tuple[Any, Staged]]:
    """(connection, the log that was read) in a workshop of its own; complaints of duckdb in the body are DataErrors."""
    lists = files_of(Path(section.category_file)) if section.category_file else [RETAIL_CATEGORIES]
    paths = [*files_of(path), *lists]
    with workshop(paths) as (connection, folder), speaking(path):
        yield connection, stage(connection, folder, path, section, on_read)


def stage(connection: Any, folder: Path, path: Path, section: FileSection, on_read: OnRead | None = None) -> Staged:
    """The log at `path`, read into table `lines` of the workshop in `folder`; see this module."""
    files = opened(connection, folder, files_of(path))
    source, parameters = source_of(files[0])
    connection.execute(f"CREATE TABLE sample AS SELECT * FROM {source} LIMIT {_SAMPLE_LINES}", parameters)
    if not any(
        connection.execute(f"SELECT count(*) FROM {_whole(file)[0]}", _whole(file)[1]).fetchone()[0] for file in files
    ):
        raise DataError(f"expected lines below the header in {path}, got none that can be read")
    columns = propose(connection, "sample", files[0], section)
    forms = _forms(connection, files, columns, section)
    own = own_list(columns.preset, columns.at["category"], section)
    mapped = own or _kind_of_categories(section) == "file"
    if mapped:
        _load_mapping(connection, folder, RETAIL_CATEGORIES if own else Path(section.category_file))
    return _stage(connection, path, files, columns, forms, section, mapped, on_read)


def _whole(file: LogFile) -> tuple[str, dict[str, Any]]:
    source, parameters = source_of(file)
    return f"(SELECT * FROM {source} LIMIT 1)", parameters


def _kind_of_categories(section: FileSection) -> str:
    if section.categories == "auto":
        return "file" if section.category_file else "auto"
    if section.categories == "file" and not section.category_file:
        raise DataError('expected data.file.category_file, a CSV of items and categories, with categories = "file"')
    return section.categories


def _load_mapping(connection: Any, folder: Path, path: Path) -> None:
    """Table `mapping` (item, category), from the first two columns of a file."""
    own = folder / "mapping"
    own.mkdir()
    file = opened(connection, own, files_of(path))[0]
    source, parameters = source_of(file)
    item, category = id_of("c0", file.types[0]), text_of("c1", file.types[1])
    with speaking(path):
        connection.execute(
            f"CREATE TABLE mapping AS SELECT {item} AS item, min({category}) AS category FROM {source} "
            f"WHERE {item} IS NOT NULL AND {category} IS NOT NULL GROUP BY ALL",
            parameters,
        )
        if not connection.execute("SELECT count(*) FROM mapping").fetchone()[0]:
            raise DataError(f"expected items and their categories in {path}, got none")


def _forms(connection: Any, files: list[LogFile], columns: Columns, section: FileSection) -> Forms:
    at, types, rules, reasons = columns.at, files[0].types, columns.rules, {}
    time = at["time"]
    assert time is not None
    column, kind = f"c{time}", types[time]
    asked = section.time_unit if section.time_unit != "auto" else "auto"
    unit: Unit = unit_of(connection, "sample", column, kind) if asked == "auto" else asked
    reasons["time_unit"] = (
        "the scenario says so" if asked != "auto" else "by how large the numbers are" if unit != "text" else "dates"
    )
    order: Order = "ymd"
    reasons["date_order"] = "the scenario says so" if section.date_order != "auto" else "years first"
    if section.date_order != "auto":
        order = section.date_order
    elif (
        unit == "text"
        and not is_time(kind)
        and not is_number(kind)
        and day_first_counts(connection, "sample", column)[0]
    ):
        order, reasons["date_order"] = _order_of(connection, files, column)
    decimal: Decimal = "."
    money = [role for role in ("amount", "price", "quantity") if at[role] is not None]
    if section.decimal != "auto":
        decimal, reasons["decimal"] = section.decimal, "the scenario says so"
    else:
        reasons["decimal"] = "no amounts"
        for role in money[:1]:
            decimal, reasons["decimal"] = decimal_of(connection, "sample", f"c{at[role]}", types[at[role] or 0])
    zone = section.zone
    if not connection.execute("SELECT count(*) FROM pg_timezone_names() WHERE name = $zone", {"zone": zone}).fetchone()[
        0
    ]:
        raise DataError(f"expected the name of a time zone, such as Europe/Berlin, in data.file.zone, got {zone!r}")
    own = {plain(name): kind for name, kind in section.events.items()}
    return Forms(unit, order, decimal, zone, {**EVENTS, **rules.events, **own}, reasons)


def _order_of(connection: Any, files: list[LogFile], column: str) -> tuple[Order, str]:
    """Whether days or months come first: told by all lines, for a log's first weeks may leave it open."""
    first = second = 0
    for file in files:
        source, parameters = source_of(file)
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE dated AS SELECT DISTINCT left({column}, 10) AS {column} FROM {source}",
            parameters,
        )
        _, above, below = day_first_counts(connection, "dated", column)
        first, second = first + above, second + below
    connection.execute("DROP TABLE dated")
    if first and not second:
        return "dmy", "days first: first numbers go above 12"
    if second and not first:
        return "mdy", "months first: second numbers go above 12"
    if first or second:
        kind: Order = "dmy" if first >= second else "mdy"
        return kind, "BOTH days and months seem to come first: the more frequent form is read, the other is dropped"
    return "dmy", 'AMBIGUOUS: no number goes above 12; days first is assumed, date_order = "mdy" reads months first'


def _stage(
    connection: Any, path: Path, files: list[LogFile], columns: Columns, forms: Forms, section: FileSection, mapped: bool,
    on_read: OnRead | None,
) -> Staged:  # fmt: skip
    scores = "".join(f", s{n} DOUBLE" for n in range(len(columns.scores)))
    connection.execute(
        "CREATE TABLE lines (line BIGINT, bucket UTINYINT, reason UTINYINT, person VARCHAR, time_s DOUBLE, event VARCHAR, "
        f"kind TINYINT, category VARCHAR, amount FLOAT, row_hash UBIGINT{scores})"
    )
    ends: list[int] = []
    malformed: list[tuple[int, ...]] = []
    for number, file in enumerate(files):
        before = ends[-1] if ends else 0
        rejects = f"bad_{number}"
        source, parameters = source_of(file, rejects)
        query = _query(file, columns, forms, section, mapped, source, before)
        with telling(connection, f"reading {file.path.name}", on_read):
            connection.execute(f"INSERT INTO lines {query}", parameters)
        n_lines = connection.execute("SELECT count(*) FROM lines").fetchone()[0]
        ends.append(int(n_lines))
        bad: tuple[int, ...] = ()
        if file.is_text:
            found = connection.execute(f"SELECT DISTINCT line FROM {rejects} ORDER BY line").fetchnumpy()["line"]
            bad = tuple(int(line) for line in found)
            connection.execute(f"DROP TABLE {rejects}; DROP TABLE {rejects}_scan")
        malformed.append(bad)
    return Staged(path, tuple(files), columns, forms, section, ends[-1], tuple(ends), tuple(malformed))


def _query(
    file: LogFile, columns: Columns, forms: Forms, section: FileSection, mapped: bool, source: str, before: int
) -> str:
    """What of a file goes into `lines`."""

    def of(role: str, form: Callable[[str, str], str]) -> str:
        at = columns.at[role]
        return "NULL" if at is None else form(f"c{at}", file.types[at])

    def money(column: str, kind: str) -> str:
        return number_of(column, kind, forms.decimal)

    rules = columns.rules
    time_at = columns.at["time"]
    assert time_at is not None
    time = local_seconds(
        f"c{time_at}", file.types[time_at], forms.unit, forms.order, forms.zone, section.without_offset
    )
    event, kind = _event_and_kind(of("event", text_of), forms.events, section.kind)
    item = of("item", id_of)
    by_item = (
        mapped
        or (_kind_of_categories(section) == "top" and columns.at["category"] is None)
        or columns.at["category"] is None
    )
    category = item if by_item else of("category", text_of)
    given = " OR ".join(
        f"({of(role, text_of)} IS NOT NULL AND {of(role, money)} IS NULL)"
        for role in ("amount", "price", "quantity")
        if columns.at[role] is not None
    )
    number = "file_row_number + 1" if not file.is_text else "row_number() OVER ()"
    hashed = (
        f"hash({', '.join(f'c{n}' for n in range(len(file.columns)))})"
        if section.duplicates == "drop"
        else "0::UBIGINT"
    )
    amount = (
        "amount"
        if columns.at["amount"] is not None
        else "price * quantity"
        if columns.at["quantity"] is not None
        else "price"
    )
    scores = "".join(f", {money(f'c{at}', file.types[at])} AS s{n}" for n, at in enumerate(columns.scores.values()))
    names = "".join(f", s{n}" for n in range(len(columns.scores)))
    inner = (
        f"SELECT {number} AS number, {of('user', id_of)} AS person, {of('time', text_of)} IS NULL AS timeless, {time} AS time_s, "
        f"{event} AS event, {category} AS category, {item} AS item, {of('amount', money)}::DOUBLE AS amount, "
        f"{of('price', money)}::DOUBLE AS price, {of('quantity', money)}::DOUBLE AS quantity, {of('order', text_of)} AS order_id, "
        f"{given or 'false'} AS unread, {hashed} AS row_hash{scores} FROM {source}"
    )
    bought = f"kind = {EventKind.PURCHASE.value}"
    free = "price = 0" if rules.no_free else "false"
    back = f"regexp_matches(order_id, '^[Cc]\\d') OR quantity <= 0 OR price < 0 OR amount < 0 OR {free}"
    tests = (
        (Reason.NO_USER, "person IS NULL"),
        (Reason.NO_TIME, "timeless"),
        (Reason.UNREADABLE_TIME, "time_s IS NULL OR isnan(time_s)"),
        (Reason.FAR_TIME, f"time_s < {FIRST_S!r} OR time_s >= {END_S!r}"),
        (Reason.UNKNOWN_EVENT, "kind IS NULL"),
        (Reason.IGNORED_EVENT, f"kind = {_IGNORED}"),
        (
            Reason.NO_PRODUCT,
            f"NOT coalesce(regexp_matches(item, {constant(rules.item_pattern)}), false)" if rules.item_pattern else "",
        ),
        (Reason.BAD_AMOUNT, f"{bought} AND (unread OR worth > {MAX_AMOUNT!r})"),
        (Reason.RETURNED, f"{bought} AND ({back})" if section.returns == "drop" else ""),
        (Reason.NO_CATEGORY, "group_name IS NULL" if section.missing_category == "drop" else ""),
    )
    reason = "CASE " + " ".join(f"WHEN {test} THEN {why.value}" for why, test in tests if test) + " ELSE 0 END"
    joined = "LEFT JOIN mapping USING (item)" if mapped else ""
    group = "mapping.category" if mapped else "q.category"
    middle = f"SELECT q.* EXCLUDE (amount), {amount} AS worth, amount, {kind} AS kind, {group} AS group_name FROM ({inner}) q {joined}"
    return (
        f"SELECT {before} + number, (hash(person) % {BUCKETS})::UTINYINT, {reason}, person, time_s, event, kind, group_name, "
        f"(CASE WHEN {bought} THEN greatest(coalesce(worth, 0), 0) ELSE 0 END)::FLOAT, row_hash{names} FROM ({middle})"
    )


def _event_and_kind(event: str, kinds: Mapping[str, str], every: str) -> tuple[str, str]:
    """(the event's name, its kind as a number of EventKind, -1 to be ignored, NULL if it is unknown), as SQL."""
    if event == "NULL":
        return "NULL", str(_KINDS.get(every, _IGNORED))
    name = f"trim(regexp_replace(lower({event}), '[-_ ]+', '_', 'g'), '_')"
    cases = " ".join(f"WHEN {constant(name)} THEN {_KINDS.get(kind, _IGNORED)}" for name, kind in kinds.items())
    verbs = " ".join(
        f"WHEN regexp_matches(event, {constant(pattern)}) THEN {_KINDS[kind]}" for pattern, kind in BY_VERB
    )
    by_verb = f"CASE WHEN regexp_matches(event, {constant(FAILED)}) THEN NULL {verbs} END"
    return name, f"CASE event {cases} ELSE {by_verb} END"
