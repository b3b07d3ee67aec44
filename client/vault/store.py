"""Sealed tables in one SQLite file: a row opens only where and as it was written last, and nothing else goes in.

    vault = Store(folder, ("events", "ledger"), keys)
    with vault.transaction(Durability.POWER):
        vault.put("ledger", 1, payload)

Every table is (id, version, sealed). `version` is the number of the write, over all tables: no two rows ever share one.
One more row, `heads`, holds for each table the number of its rows and the sum of their marks (`client/vault/sealing.py`), and
the anchor. It is written with every transaction and compared with the rows when the store opens.

Guarantees.
- `Durability.PROCESS` (synchronous=NORMAL): what a transaction wrote survives a process that is killed at any moment.
  Power loss may take the latest such transactions away, whole ones, the last first.
- `Durability.POWER` (synchronous=FULL): what it wrote, and everything before it, survives power loss, and is noticed if
  an older copy of the database is put back: such a transaction raises the key provider's anchor before it returns.
- A transaction is there as a whole or not at all.
- What a transaction deleted is in no file when it returns, with the key or without, if the disk took that, and at the
  latest when the store opens next; what it replaced goes with the next deletion (`client/vault/residue.py`).
- Opening raises VaultDamaged for a row that is changed or not in its place, and for a schema that is not exactly ours,
  before any of it could run (`client/vault/schema.py`); RowsPutBack if rows are missing or older ones are back,
  VaultRolledBack if the whole file is not the one that raised the anchor (`client/vault/anchor.py`), VaultBusy if another
  opening holds it, in whatever process, for all of `wait_s`; a process that was forked gets VaultForked, and changes nothing
  (`client/holding.py`). VaultNewer for a later format: not a byte of the file is changed.
- An earlier format is carried over (`client/vault/migrations.py`) after all these checks, by one `POWER` transaction.

Edge cases. An older copy of the file from after the last `POWER` transaction cannot be told from a power loss: events
are missing, never a charge. When the anchor cannot be raised, the transaction is kept and the error is raised: its
caller hands nothing out, and the next such transaction raises the anchor first. With `waits_for_disk=False`, which is
for simulations, power loss may take anything. One thread at a time: `client/turns.py`.

What a thief without the key still sees: the tables' names, how many rows each has and how long their payloads are, in
which order rows were written and about how often (versions), file sizes and times; that a file was deleted.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path

from shared.errors import KeyMissing, KeyWorn, RowsPutBack, VaultDamaged, VaultError, VaultRolledBack

from ..holding import Holding
from .anchor import Anchor, expect_newest
from .header import Header, expect_known, read_header, rewrite_header, write_header
from .heads import HEADS, packed, unpacked
from .key_derivation import KEY_BYTES
from .keys import KeyProvider, sync_folder
from .marks import Marks
from .migrations import Migration
from .residue import Residue
from .schema import expect_schema, objects_in, statement_of
from .sealing import MAX_SEALS, Seal
from .sqlite_file import connect, make_file, raise_named, take, uncapped, used_bytes

#: Room beyond `max_bytes` that only what must not be refused may use: ledger, consent, journal.
RESERVE_BYTES = 1 << 20
#: What columns and heads raise that hold something else.
_CHANGED = TypeError | ValueError | OverflowError | struct.error


class Durability(Enum):
    """What a transaction survives; the value is SQLite's `synchronous`."""

    PROCESS = "NORMAL"
    POWER = "FULL"


class Store:
    """The sealed tables of one folder, held by this process alone."""

    FILE = "vault.db"

    def __init__(
        self,
        folder: Path,
        tables: Sequence[str],
        keys: KeyProvider,
        *,
        migrations: Sequence[Migration] = (),
        max_bytes: int = 1 << 26,
        waits_for_disk: bool = True,
        wait_s: float = 0.0,
    ) -> None:
        """`tables` as of now; `migrations`, from format 1 on, are what earlier ones were carried over by."""
        self.folder, self.tables, self.max_bytes = folder, tuple(tables), max_bytes
        self.format, self._migrations = 1 + len(migrations), migrations
        self._keys, self._waits = keys, waits_for_disk
        self._file = folder / self.FILE
        self._marks = Marks()
        self._writes, self._anchor, self._tip_before = 0, Anchor(), Anchor().tip
        self._was = self._anchor, self._tip_before  # before this transaction
        self._settled, self._closed = True, False
        self._opened: dict[tuple[str, int], bytes] = {}  # payloads as the store opened them, until the first write
        self._durability: Durability | None = None
        make_file(self._file)
        self._holding = Holding(folder, wait_s)
        try:
            expect_known(self._file, self.format, wait_s)
            self._db = connect(self._file, wait_s)
        except BaseException:
            self._holding.let_go()
            raise
        self._holding.goes_with(self._db)
        self._residue = Residue(self._db, self._marks)
        try:
            self._open()
            self._residue.wipe()  # before anything is served
        except BaseException as error:
            self._db.close()
            self._holding.let_go()
            if isinstance(error, sqlite3.Error):
                raise_named(error)
            if isinstance(error, _CHANGED):
                raise VaultDamaged("expected the vault's database: it is changed") from None
            raise

    def __repr__(self) -> str:
        return "Store(<sealed>)"

    @property
    def is_closed(self) -> bool:
        return self._closed

    def expect_ours(self) -> None:
        """VaultForked in a process that was forked from the one that opened this store."""
        self._holding.expect_ours()

    def close(self) -> None:
        """Let go of the file and of the key. Can be repeated."""
        self._closed = True
        vars(self).pop("_seal", None)
        self._opened.clear()
        if self._holding.is_ours:
            with suppress(sqlite3.Error):
                self._db.close()
        self._holding.let_go()

    # ---- reading

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return self._marks.count(table)

    def version(self, table: str, row: int) -> int:
        """The number of the write that a row came from, 0 if there is no such row."""
        return (self._marks.of(table, row) or (0, 0))[0]

    def ids(self, table: str) -> list[int]:
        """The ids of a table's rows, rising."""
        return self._marks.ids(table)

    def row(self, table: str, row: int) -> bytes | None:
        """One payload, None if there is no such row."""
        self._expect_open()
        if (mark := self._marks.of(table, row)) is None:
            return None
        if (opened := self._opened.get((table, row))) is not None:
            return opened
        try:
            found = self._db.execute(f"SELECT version, sealed FROM {table} WHERE id = ?", (row,)).fetchone()
        except sqlite3.Error as error:
            raise_named(error)
        if found is None or mark != (found[0], self._seal.mark(table, row, *found)):
            raise RowsPutBack(f"expected the rows of {table} that were written last")
        return self._seal.open(table, row, *found)

    def rows(self, table: str) -> Iterator[tuple[int, bytes]]:
        """(id, payload) of every row, ids rising."""
        self._expect_open()
        for row in self.ids(table):
            payload = self._opened.get((table, row)) or self.row(table, row)
            assert payload is not None
            yield row, payload

    def ids_by_age(self, table: str) -> list[int]:
        """The ids of a table's rows, the one written longest ago first."""
        return self._marks.ids_by_age(table)

    def place(self, table: str, name: bytes) -> int:
        """The row id that stands for a name in a table: 63 bits that tell nothing without the key."""
        return self._seal.place(table, name)

    @property
    def used_bytes(self) -> int:
        """Bytes of the file's pages in use."""
        self._expect_open()
        return used_bytes(self._db)

    # ---- writing, inside `transaction` only

    def transaction(self, durability: Durability) -> Transaction:
        """All writes of the `with` body, or none. Inside another transaction the body is a part of that one."""
        return Transaction(self, durability)

    def _expect_open(self) -> None:
        if self._closed:
            raise VaultError("expected an open vault, got one that was closed")
        self._holding.expect_ours()

    def _begin(self, durability: Durability) -> None:
        self._expect_open()
        if durability is Durability.POWER:
            self.settle()  # the database is never two such writes ahead of its anchor
        try:
            if durability is not self._durability:
                self._db.execute(f"PRAGMA synchronous={self._synchronous(durability)}")
                self._durability = durability
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise_named(error)
        self._opened.clear()
        self._was = self._anchor, self._tip_before
        self._marks.begin()

    def _synchronous(self, durability: Durability) -> str:
        return durability.value if self._waits else "OFF"

    def _commit(self) -> None:
        try:
            self._residue.write_anew()
            self._write_heads(self._durability is Durability.POWER)
            self._db.execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            if isinstance(error, sqlite3.Error):
                raise_named(error)
            raise
        self._marks.keep()
        if self._durability is Durability.POWER:
            self._settled = False
            self.settle()
        self._residue.wipe()

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            self._db.execute("ROLLBACK")
        self._marks.take_back()
        self._residue.know_nothing()
        # The number of writes does not go back: no version is used twice.
        self._anchor, self._tip_before = self._was

    def settle(self) -> None:
        """Raise the anchor to where the database is, if an earlier attempt failed; an error again if this one does."""
        if not self._settled:
            self._holding.expect_ours()
            self._keys.advance(self._anchor)
            self._settled = True

    def put(self, table: str, row: int, payload: bytes) -> None:
        """Write one row, in place of what it held."""
        self._writes += 1
        version = self._writes
        sealed = self._seal.close(table, row, version, payload)
        self._residue.put(table, row, len(sealed))
        verb = "INSERT" if self._marks.of(table, row) is None else "REPLACE"
        self._db.execute(f"{verb} INTO {table} VALUES (?, ?, ?)", (row, version, sealed))
        self._marks.change(table, row, (version, self._seal.mark(table, row, version, sealed)))

    def append(self, table: str, payload: bytes) -> int:
        """Write a row behind the last one; its id. An empty table begins at 1."""
        row = self._marks.next_id(table)
        self.put(table, row, payload)
        return row

    def delete(self, table: str, row: int) -> None:
        """Take one row out; its bytes are overwritten: see `client/vault/residue.py`."""
        if self._marks.of(table, row) is not None:
            self._residue.delete(table)
            self._db.execute(f"DELETE FROM {table} WHERE id = ?", (row,))
            self._marks.change(table, row, None)

    def clear(self, table: str) -> None:
        """Take every row of a table out; their bytes are overwritten, and with them what was replaced before, in any
        table."""
        self._residue.clear(table)
        self._db.execute(f"DELETE FROM {table}")
        for row in self.ids(table):
            self._marks.change(table, row, None)

    # ---- inside

    def _write_heads(self, to_stay: bool = False) -> None:
        """Write the heads; those of a transaction that must not be taken back move the anchor."""
        self._writes += 1
        if self._writes > MAX_SEALS:
            raise KeyWorn(f"expected at most {MAX_SEALS} writes under one key")
        heads = b"".join(map(self._marks.head, self.tables))
        if to_stay:
            self._anchor, self._tip_before = self._anchor.then(heads), self._anchor.tip
        payload = packed(self._anchor, self._tip_before, heads, self.format)
        sealed = self._seal.close(HEADS, 0, self._writes, payload)
        self._db.execute(f"UPDATE {HEADS} SET version = ?, sealed = ? WHERE id = 0", (self._writes, sealed))

    def _open(self) -> None:
        take(self._db, self.max_bytes + RESERVE_BYTES)
        self._db.execute(f"PRAGMA synchronous={self._synchronous(Durability.POWER)}")
        if objects_in(self._db):
            self._load()
        else:
            self._create()

    def _create(self) -> None:
        """A new vault; VaultRolledBack if there has been one that spent something under these keys."""
        if self._keys.exists() and self._keys.anchor().number:
            raise VaultRolledBack("expected the database that belongs to this key: it is missing")
        data_key = os.urandom(KEY_BYTES)
        self._seal = Seal(data_key)
        wrapped = self._keys.wrap(data_key)
        self._db.execute("BEGIN IMMEDIATE")
        write_header(self._db, Header(self.format, wrapped))
        self._add_tables(HEADS, *self.tables)
        self._db.execute(f"INSERT INTO {HEADS} VALUES (0, 0, x'')")
        self._write_heads()
        self._db.execute("COMMIT")
        sync_folder(self.folder)

    def _add_tables(self, *tables: str) -> None:
        for table in tables:
            self._db.execute(statement_of(table))
            self._marks.add_table(table)

    def _load(self) -> None:
        """Open every row and compare the heads; then carry an earlier format over."""
        header, tables = read_header(self._db, self.format), self.tables
        if earlier := self._migrations[header.format - 1 :]:
            self.format, self.tables = header.format, earlier[0].before
        expect_schema(self._db, (HEADS, *self.tables), self.format)
        if not self._keys.exists():
            raise KeyMissing("expected the key of this vault: it is missing")
        data_key = self._keys.unwrap(header.wrapped)
        if len(data_key) != KEY_BYTES:  # something else that the key wrapped once
            raise VaultDamaged(f"expected a data key of {KEY_BYTES} bytes, got {len(data_key)}")
        self._seal = Seal(data_key)
        self._load_rows()
        self._residue.know_nothing()
        self._keys.advance(self._anchor)
        if earlier:
            self._migrate(header, tables)

    def _load_rows(self) -> None:
        found = self._db.execute(f"SELECT version, sealed FROM {HEADS} WHERE id = 0").fetchone()
        if found is None:
            raise VaultDamaged("expected the vault's heads: they are missing")
        payload = self._seal.open(HEADS, 0, *found)
        self._anchor, self._tip_before, heads = unpacked(payload, len(self.tables), self.format)
        self._writes = found[0]
        expect_newest(self._keys.anchor(), self._anchor, self._tip_before)
        for table, expected in zip(self.tables, heads, strict=True):
            self._marks.add_table(table)
            for row, version, sealed in self._db.execute(f"SELECT id, version, sealed FROM {table}"):
                self._opened[table, row] = self._seal.open(table, row, version, sealed)
                self._marks.load(table, row, (version, self._seal.mark(table, row, version, sealed)))
            if self._marks.head(table) != expected:
                raise RowsPutBack(f"expected the rows of {table} that were written last")

    def _migrate(self, header: Header, tables: tuple[str, ...]) -> None:
        """Carry this vault over to the newest format, and its `tables`. Where it fails, the store is of no use."""
        formats = [*(migration.before for migration in self._migrations), tables]
        with uncapped(self._db, self.max_bytes + RESERVE_BYTES), self.transaction(Durability.POWER):
            for migration in self._migrations[header.format - 1 :]:
                after = formats[self.format]
                self._add_tables(*(table for table in after if table not in self.tables))
                migration.carry(self)
                for table in set(self.tables) - set(after):
                    self._db.execute(f"DROP TABLE {table}")
                self.format, self.tables = self.format + 1, after
            self._residue.everything(self.tables)
            rewrite_header(self._db, header._replace(format=self.format))


class Transaction:
    """The `with` block of `Store.transaction`."""

    __slots__ = ("_durability", "_inner", "_store")

    def __init__(self, store: Store, durability: Durability) -> None:
        self._store, self._durability = store, durability

    def __enter__(self) -> None:
        store = self._store
        self._inner = store._marks.changing
        if not self._inner:
            store._begin(self._durability)
        elif self._durability is Durability.POWER and store._durability is not Durability.POWER:
            raise VaultError("expected a transaction that survives power loss, got one inside a lesser one")

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if self._inner:
            return
        if error is None:
            self._store._commit()
            return
        self._store._roll_back()
        if isinstance(error, sqlite3.Error):
            raise_named(error)
