"""What SQLite may know of in a vault's file: plain tables, each made by exactly our own statement, and nothing else.

A trigger, a view, an index on an expression, a virtual table, a generated column or a check runs what whoever wrote the
file put there. So the schema is compared, word by word, before any statement touches a row; to read it runs nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from shared.errors import VaultDamaged

HEADER = "header"


class Column(NamedTuple):
    """A column of a table: its name, what SQLite is told of it, and what it is for."""

    name: str
    declared: str
    purpose: str


#: The columns of every format so far; SQLite keeps the statements that made them as they were written.
HEADER_COLUMNS = (
    Column("format", "INTEGER NOT NULL", "the format's number: an app of any age learns what it has before it"),
    Column("wrapped", "BLOB NOT NULL", "the data key that every row is sealed with, itself sealed"),
    Column("sha256", "BLOB NOT NULL", "tells a damaged header from one of another format"),
)
SEALED_COLUMNS = (
    Column("id", "INTEGER PRIMARY KEY", "which row it is: a number that counts up, or a keyed hash, never a value"),
    Column("version", "INTEGER NOT NULL", "the number of the write: an older row that is put back is noticed"),
    Column(
        "sealed", "BLOB NOT NULL", "all that the row holds, sealed with AES-256-GCM under its table, id and version"
    ),
)


def statement_of(table: str) -> str:
    """The statement that makes a table."""
    columns = HEADER_COLUMNS if table == HEADER else SEALED_COLUMNS
    return f"CREATE TABLE {table} ({', '.join(f'{column.name} {column.declared}' for column in columns)})"


def objects_in(database: sqlite3.Connection) -> list[tuple[object, ...]]:
    """(type, name, table, statement) of everything in the schema; sqlite3's errors."""
    return database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()


def expect_header(database: sqlite3.Connection) -> None:
    """VaultDamaged unless the header is our own plain table: then it can be read, whatever else is there, and of whatever
    format."""
    if _object(HEADER) not in objects_in(database):
        raise VaultDamaged("expected the header of a vault: it is missing, or another one")


def expect_schema(database: sqlite3.Connection, tables: Iterable[str], number: int) -> None:
    """VaultDamaged unless the schema is the header, these tables, and nothing else; `number` is their format's. And
    unless SQLite finds its pages sound: no page belongs to two tables."""
    found, expected = objects_in(database), [_object(table) for table in (HEADER, *tables)]
    if len(found) != len(expected) or set(found) != set(expected):
        raise VaultDamaged(f"expected the tables of a vault of format {number}, got others")
    if database.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]:
        raise VaultDamaged("expected the pages of a vault: they are cut or changed")


def _object(table: str) -> tuple[object, ...]:
    return "table", table, table, statement_of(table)
