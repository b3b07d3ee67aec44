"""Which rows a store has, as marks (`client/vault/sealing.py`): of which write each row came, and what a table's marks add
up to. Changes go with a transaction, and are taken back with it."""

from __future__ import annotations

from collections.abc import Iterable

from .heads import head
from .sealing import MODULUS

#: The number of the write that a row came from, and the row's mark.
Mark = tuple[int, int]


class Marks:
    """The marks of all tables of one store."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[int, Mark]] = {}
        self._sums: dict[str, int] = {}
        self._last: dict[str, int] = {}  # the highest id of a table, where it is known
        self._heads: dict[str, bytes] = {}  # the tables' heads, where nothing changed since
        self._sums_before = self._sums  # as they were when the changes began
        self._undo: list[tuple[dict[int, Mark], int, Mark | None]] | None = None

    def add_table(self, table: str) -> None:
        """Know of a table, which has no rows."""
        self._rows[table], self._sums[table] = {}, 0

    # ---- what there is

    @property
    def tables(self) -> Iterable[str]:
        return self._rows

    def count(self, table: str) -> int:
        return len(self._rows[table])

    def of(self, table: str, row: int) -> Mark | None:
        """The mark of a row, None if there is no such row."""
        return self._rows[table].get(row)

    def ids(self, table: str) -> list[int]:
        """Rising."""
        return sorted(self._rows[table])

    def ids_by_age(self, table: str) -> list[int]:
        """The one written longest ago first."""
        return sorted(self._rows[table], key=self._rows[table].__getitem__)

    def next_id(self, table: str) -> int:
        """Behind the last row; 1 in an empty table."""
        if table not in self._last:
            self._last[table] = max(self._rows[table], default=0)
        return self._last[table] + 1

    def head(self, table: str) -> bytes:
        """How many rows a table has, and what their marks add up to."""
        if table not in self._heads:
            self._heads[table] = head(len(self._rows[table]), self._sums[table])
        return self._heads[table]

    # ---- changes

    @property
    def changing(self) -> bool:
        """Whether there is a transaction that changes go with."""
        return self._undo is not None

    def begin(self) -> None:
        """Changes from here on may be taken back."""
        self._sums_before, self._undo = dict(self._sums), []

    def keep(self) -> None:
        """The changes since `begin` stay."""
        self._undo = None

    def take_back(self) -> None:
        """Everything is as it was at `begin`; so it is, too, if nothing began."""
        undo, self._undo = self._undo or [], None
        for rows, row, before in reversed(undo):
            if before:
                rows[row] = before
            else:
                rows.pop(row, None)
        self._sums = self._sums_before
        self._last.clear()
        self._heads.clear()

    def load(self, table: str, row: int, mark: Mark) -> None:
        """A row that is there already, as the store opens."""
        self._rows[table][row] = mark
        self._sums[table] = (self._sums[table] + mark[1]) % MODULUS

    def change(self, table: str, row: int, now: Mark | None) -> None:
        """A row was written, or with None taken out."""
        assert self._undo is not None, "expected a transaction around every write"
        rows = self._rows[table]
        before = rows.get(row)
        self._sums[table] = (self._sums[table] + (now[1] if now else 0) - (before[1] if before else 0)) % MODULUS
        self._heads.pop(table, None)
        if now:
            rows[row] = now
            last = self._last.get(table)
            if last is not None and row > last:
                self._last[table] = row
        else:
            del rows[row]
            self._last.pop(table, None)
        self._undo.append((rows, row, before))
