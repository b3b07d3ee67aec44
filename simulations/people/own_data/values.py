"""Times, amounts and names as SQL over a log's columns: what a value means once its form is known, and which form a column has.

Columns are called c0, c1, ... in SQL, whatever their names in the file. Times are local seconds since 1970 in the log's zone.
"""

from __future__ import annotations

from typing import Any, Final, Literal

Unit = Literal["text", "s", "ms", "us", "ns"]
Order = Literal["ymd", "dmy", "mdy"]
Decimal = Literal[".", ","]

PER_SECOND: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
#: What stands for no value, in lower case.
NOTHING: Final = ("", "null", "none", "nan", "n/a", "\\n", "<na>", "nat")
#: Times beyond are mistakes of a clock or of a form: 1970-01-01 and 2100-01-01.
FIRST_S, END_S = 0.0, 4_102_444_800.0
_OFFSET: Final = r":\d{2}.*(Z|UTC|GMT|[+-]\d{2}(:?\d{2})?)$"
_MONEY: Final = (
    r"^\s*[-(]?\s*(\p{Sc}|[A-Za-z]{1,3}\.?)?\s*-?\s*\d[\d.,'\s\x{a0}\x{202f}]*(\p{Sc}|[A-Za-z]{1,3}\.?)?\s*\)?\s*$"
)
_DAY_FIRST: Final = r"^\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}"


def quoted(name: str) -> str:
    """An identifier or a constant's letters, as SQL takes them inside double quotes."""
    return '"' + name.replace('"', '""') + '"'


def constant(text: str) -> str:
    """A text as an SQL constant."""
    return "'" + text.replace("'", "''") + "'"


def is_number(kind: str) -> bool:
    return kind.startswith(
        ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "U", "FLOAT", "DOUBLE", "DECIMAL")
    ) and (kind not in ("UUID", "UNION"))


def is_time(kind: str) -> bool:
    return kind.startswith("TIMESTAMP") or kind == "DATE"


def text_of(column: str, kind: str) -> str:
    """A value as text, NULL where nothing stands; whole numbers without ".0", so that 17850.0 and 17850 are one."""
    if kind in ("FLOAT", "DOUBLE"):
        whole = f"{column} = trunc({column}) AND abs({column}) < 9e15"
        integer = f"CAST(CAST({column} AS BIGINT) AS VARCHAR)"
        return f"CASE WHEN {whole} THEN {integer} WHEN isfinite({column}) THEN CAST({column} AS VARCHAR) END"
    if is_number(kind):
        return f"CAST({column} AS VARCHAR)"
    trimmed = f"trim(CAST({column} AS VARCHAR), ' \t\r\n\u00a0')"
    nothing = ", ".join(constant(each) for each in NOTHING)
    return f"CASE WHEN lower({trimmed}) IN ({nothing}) THEN NULL ELSE {trimmed} END"


def id_of(column: str, kind: str) -> str:
    """A user's or an item's number or name: text, without the ".0" that a column with gaps gets."""
    text = text_of(column, kind)
    return text if is_number(kind) else f"regexp_replace({text}, '^(\\d+)\\.0$', '\\1')"


def number_of(column: str, kind: str, decimal: Decimal) -> str:
    """A number as DOUBLE, NULL where there is none or it cannot be read; NaN and infinity are NULL."""
    if is_number(kind):
        value = f"CAST({column} AS DOUBLE)"
    else:
        kept = f"regexp_replace({column}, '[^\\d.,()-]', '', 'g')"
        plain = f"replace({kept}, ',', '')" if decimal == "." else f"replace(replace({kept}, '.', ''), ',', '.')"
        signed = f"regexp_replace({plain}, '^\\((.*)\\)$', '-\\1')"
        money = f"CASE WHEN regexp_matches({column}, {constant(_MONEY)}) THEN TRY_CAST({signed} AS DOUBLE) END"
        value = f"COALESCE(TRY_CAST({column} AS DOUBLE), {money})" if decimal == "." else money
    return f"CASE WHEN isfinite({value}) THEN {value} END"


def ymd(text: str, order: Order) -> str:
    """A date and time in text, with the year first."""
    text = f"replace({text}, ', ', ' ')"
    if order == "ymd":
        return f"regexp_replace({text}, '^(\\d{{4}})[./](\\d{{1,2}})[./](\\d{{1,2}})', '\\1-\\2-\\3')"
    to = "\\3-\\2-\\1" if order == "dmy" else "\\3-\\1-\\2"
    long = f"regexp_replace({text}, '^(\\d{{1,2}})[-/.](\\d{{1,2}})[-/.](\\d{{4}})', '{to}')"
    return f"regexp_replace({long}, '^(\\d{{1,2}})[-/.](\\d{{1,2}})[-/.](\\d{{2}})(\\D|$)', '20{to}\\4')"


def local_seconds(column: str, kind: str, unit: Unit, order: Order, zone: str, bare: str) -> str:
    """A time as DOUBLE seconds since 1970 on the zone's clocks, NULL where it cannot be read. An offset in the text is honoured;
    without one the text is of the zone's clocks, or, where `bare` is UTC, of those of UTC."""
    at = constant(zone)

    def moved(local: str) -> str:
        return f"timezone({at}, timezone('UTC', {local}))" if bare == "UTC" != zone else local

    if is_time(kind):
        local = f"timezone({at}, {column})" if "TIME ZONE" in kind else moved(f"CAST({column} AS TIMESTAMP)")
        return f"epoch_us({local}) / 1e6"
    if unit != "text":
        value = f"CAST({column} AS DOUBLE)" if is_number(kind) else f"TRY_CAST({column} AS DOUBLE)"
        seconds = f"{value} / {PER_SECOND[unit]!r}"
        if zone == "UTC":
            return seconds
        near = f"{seconds} BETWEEN {FIRST_S} AND {END_S}"
        there = f"epoch_us(timezone({at}, to_timestamp(CASE WHEN {near} THEN floor({seconds}) END))) / 1e6"
        return f"CASE WHEN {near} THEN {there} + ({seconds} - floor({seconds})) ELSE {seconds} END"
    text = f"trim(CAST({column} AS VARCHAR))"
    dated = ymd(text, order)
    eight = f"try_strptime({text}, '%Y%m%d')"
    forms = "['%Y-%m-%d %I:%M:%S %p', '%Y-%m-%d %I:%M %p', '%d-%b-%Y', '%d %b %Y', '%d %b %Y %H:%M:%S', '%b %d %Y', '%d-%b-%Y %H:%M:%S']"
    rare = f"COALESCE({eight}, try_strptime({dated}, {forms}))"
    named = f"regexp_replace({dated}, ' ?(UTC|GMT|Z)$', '+00:00')"
    short = f"regexp_replace({named}, '(:\\d{{2}}[\\d.]*) ?([+-]\\d{{2}})$', '\\1\\2:00')"
    shifted = f"regexp_replace({short}, ' ?([+-]\\d{{2}}):?(\\d{{2}})$', '\\1:\\2')"
    offset = f"regexp_matches({dated}, {constant(_OFFSET)})"
    local = (
        f"CASE WHEN {offset} THEN timezone({at}, TRY_CAST({shifted} AS TIMESTAMPTZ)) "
        f"ELSE {moved(f'COALESCE(TRY_CAST({dated} AS TIMESTAMP), {rare})')} END"
    )
    return f"epoch_us(CASE WHEN isfinite({local}) THEN {local} END) / 1e6"


def unit_of(connection: Any, table: str, column: str, kind: str) -> Unit:
    """The unit of a column of times, by how large its numbers are; "text" where most are dates."""
    if is_time(kind):
        return "text"
    if not is_number(kind):
        counted = f"count(TRY_CAST({column} AS DOUBLE)) * 2 > count(*)"
        if not connection.execute(f"SELECT {counted} FROM {table} WHERE {column} IS NOT NULL").fetchone()[0]:
            return "text"
    value = f"TRY_CAST({column} AS DOUBLE)"
    middle = connection.execute(f"SELECT median({value}) FROM {table} WHERE isfinite({value})").fetchone()[0] or 0.0
    if 19_700_101 <= middle <= 20_991_231 and middle == int(middle):
        dates = f"count(try_strptime(CAST(CAST({value} AS BIGINT) AS VARCHAR), '%Y%m%d')) = count(*)"
        if connection.execute(f"SELECT {dates} FROM {table} WHERE {value} BETWEEN 0 AND 1e9").fetchone()[0]:
            return "text"
    return "s" if middle < 1e11 else "ms" if middle < 1e14 else "us" if middle < 1e17 else "ns"


def day_first_counts(connection: Any, table: str, column: str) -> tuple[int, int, int]:
    """(texts with the year last, of these with a first number above 12, with a second number above 12)."""
    first = f"TRY_CAST(regexp_extract({column}, '^(\\d{{1,2}})[-/.]', 1) AS INTEGER)"
    second = f"TRY_CAST(regexp_extract({column}, '^\\d{{1,2}}[-/.](\\d{{1,2}})', 1) AS INTEGER)"
    counts = f"count(*), count_if({first} > 12), count_if({second} > 12)"
    where = f"regexp_matches({column}, {constant(_DAY_FIRST)})"
    row = connection.execute(
        f"SELECT {counts} FROM (SELECT trim({column}) AS {column} FROM {table}) WHERE {where}"
    ).fetchone()
    return int(row[0] or 0), int(row[1] or 0), int(row[2] or 0)


def decimal_of(connection: Any, table: str, column: str, kind: str) -> tuple[Decimal, str]:
    """The decimal sign of a column of amounts, and why."""
    if is_number(kind):
        return ".", "numbers"
    commas, points = connection.execute(
        f"SELECT count_if(regexp_matches({column}, ',\\d{{1,2}}\\D*$') OR regexp_matches({column}, '\\.\\d{{3}},')),"
        f" count_if(regexp_matches({column}, '\\.\\d{{1,2}}\\D*$') OR regexp_matches({column}, ',\\d{{3}}\\.')) FROM {table}"
    ).fetchone()
    commas, points = commas or 0, points or 0
    if commas > points:
        return ",", f"{commas} of the first amounts have a comma before the last digits, {points} a point"
    return ".", f"{points} of the first amounts have a point before the last digits, {commas} a comma"
