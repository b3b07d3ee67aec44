"""What SQLite may know of in a vault's file: plain tables, each made by exactly our own statement, and nothing else.

A trigger, a view, an index on an expression, a virtual table, a generated column or a check runs what whoever wrote the
file put there. So the schema is compared, word by word, before any statement touches a row; to read it runs nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from shared.errors import VaultDamaged

HEADER = "header"
#: The statements of every format so far; SQLite keeps them as they were written.
_HEADER_COLUMNS = "format INTEGER NOT NULL, wrapped BLOB NOT NULL, sha256 BLOB NOT NULL"
_SEALED_COLUMNS = "id INTEGER PRIMARY KEY, version INTEGER NOT NULL, sealed BLOB NOT NULL"


def statement_of(table: str) -> str:
    """The statement that makes a table."""
    return f"CREATE TABLE {table} ({_HEADER_COLUMNS if table == HEADER else _SEALED_COLUMNS})"


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
