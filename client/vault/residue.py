"""What rows that are gone leave in SQLite's files, and how it goes, too: nobody finds them there, with the key or without.

    in a page    `secure_delete` overwrites a row where it lay last. When SQLite moves rows from page to page, to make room
                 between two or to join pages, copies of them stay behind, and nothing overwrites those.
    in the log   `vault.db-wal` holds every page as each transaction left it, until it is moved into the file and cut.

So a table that lets a row go is written anew, by the same transaction: SQLite overwrites all of its pages, and rows that
come one behind the other are never moved. After the transaction the log is moved and cut.

Guarantees.
- When a transaction that deleted something is acknowledged, none of the sealed bytes that it deleted, and none that were
  replaced before it, are in `vault.db`; nor in its log, if the disk took that. If it did not, or the process died between
  the two, the log is cut after the next transaction of any kind, and when the store opens.
- Nothing that is still there is ever at risk: the log is cut when all of it is in the file, and synced as the store asks.

Edge cases. A row that was replaced by another is overwritten in the file like a deleted one, but stays in the log until
something is deleted, or the store closes or opens. A filesystem or a flash chip may keep older blocks where no file shows
them: sealed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from .marks import Marks
from .sqlite_file import cut_log


class Residue:
    """What is to be done about it in one store; `marks` are those of its tables, as before each change."""

    def __init__(self, database: sqlite3.Connection, marks: Marks) -> None:
        self._database, self._marks = database, marks
        self._moved: set[str] = set()  # tables whose rows SQLite may have moved since they were written anew
        self._stale: set[str] = set()  # tables to write anew at the end of this transaction
        self._to_cut = self._lets_go = True  # whether the log has to be cut; whether this transaction lets anything go
        self.know_nothing()

    def know_nothing(self) -> None:
        """Rows of any table may have been moved: as a store opens, or a transaction was taken back."""
        self._moved = {table for table in self._marks.tables if self._marks.count(table) > 1}
        self._stale.clear()
        self._to_cut, self._lets_go = True, False

    def put(self, table: str, row: int, n_bytes: int) -> None:
        """A sealed row of so many bytes is about to be written."""
        if self._marks.of(table, row) is None:
            if row < self._marks.next_id(table):
                self._moved.add(table)
        elif self._marks.count(table) > 1 and (table in self._moved or self._resizes(table, row, n_bytes)):
            self._stale.add(table)

    def delete(self, table: str) -> None:
        """A row is about to be taken out."""
        self._lets_go = True
        if self._marks.count(table) > 1:
            self._stale.add(table)

    def clear(self, table: str) -> None:
        """All rows are about to be taken out: SQLite overwrites all pages then. It counts without any row, too: what
        was replaced before goes."""
        self._lets_go = True
        self._moved.discard(table)
        self._stale.discard(table)

    def everything(self, tables: Iterable[str]) -> None:
        """Write all of these tables anew at the end of this transaction, whatever happened to them."""
        self._lets_go, self._stale = True, {table for table in tables if self._marks.count(table) > 1}

    def write_anew(self) -> None:
        """The end of a transaction: nothing that it let go stays in the pages of its tables. sqlite3's errors."""
        for table in self._stale:
            rows = self._database.execute(f"SELECT id, version, sealed FROM {table} ORDER BY id").fetchall()
            self._database.execute(f"DELETE FROM {table}")
            self._database.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", rows)
        self._moved -= self._stale
        self._stale.clear()

    def wipe(self) -> None:
        """After a transaction: cut the log, if something was let go or could not be cut before. Where the disk does not
        take it, the next call tries again."""
        self._to_cut |= self._lets_go
        self._lets_go = False
        if self._to_cut:
            self._to_cut = not cut_log(self._database)

    def _resizes(self, table: str, row: int, n_bytes: int) -> bool:
        lengths = self._database.execute(f"SELECT length(sealed) FROM {table} WHERE id = ?", (row,)).fetchall()
        return lengths != [(n_bytes,)]
