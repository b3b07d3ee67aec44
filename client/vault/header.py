"""The header of a vault's file: the number of its format, and its data key, wrapped. Its form never changes: it is how
an app of any age learns what it has before it."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from shared.errors import VaultDamaged, VaultFull, VaultNewer, VaultReadOnly, VaultUnwritable

from .schema import HEADER, expect_header, statement_of
from .sqlite_file import connect, raise_named


class Header(NamedTuple):
    """What a vault's file says of itself, in clear."""

    format: int
    wrapped: bytes

    @property
    def row(self) -> tuple[int, bytes, bytes]:
        """The table's one row: format, wrapped key, and a hash that tells a damaged row from another format. A thief can
        make one: the format is in the sealed heads as well, from format 2 on."""
        return (*self, hashlib.sha256(b"%d/" % self.format + self.wrapped).digest())


def write_header(database: sqlite3.Connection, header: Header) -> None:
    """Make the header of a new file."""
    database.execute(statement_of(HEADER))
    database.execute(f"INSERT INTO {HEADER} VALUES (?, ?, ?)", header.row)


def rewrite_header(database: sqlite3.Connection, header: Header) -> None:
    """Put another format into the header."""
    database.execute(f"UPDATE {HEADER} SET format = ?, wrapped = ?, sha256 = ?", header.row)


def read_header(database: sqlite3.Connection, newest: int) -> Header:
    """The header; VaultDamaged if it is changed, VaultNewer if its format is a later one than `newest`."""
    expect_header(database)
    rows = database.execute(f"SELECT format, wrapped, sha256 FROM {HEADER}").fetchall()
    if len(rows) != 1 or [*map(type, rows[0])] != [int, bytes, bytes] or Header(*rows[0][:2]).row != rows[0]:
        raise VaultDamaged(f"expected a vault of format {newest}: its header is changed")
    header = Header(*rows[0][:2])
    if header.format > newest:
        raise VaultNewer(f"expected a vault of format {newest} at most, got format {header.format}: update the app")
    if header.format < 1:
        raise VaultDamaged(f"expected a vault of format 1 to {newest}, got format {header.format}")
    return header


def expect_known(file: Path, newest: int, wait_s: float) -> None:
    """VaultNewer if the file, with writes that a killed process left in its log, is of a later format than `newest`; not
    a byte of either is changed. VaultBusy if another process holds it for all of `wait_s`; whatever else is wrong is not
    said here.

    A connection that may write moves the log into the file when it closes. So where there is a log, one that may not
    looks first.
    """
    log, index = (file.with_name(f"{file.name}-{end}") for end in ("wal", "shm"))
    try:
        if not log.stat().st_size:
            return
    except OSError:
        return
    ours = not index.exists()
    try:
        with suppress(VaultDamaged, VaultUnwritable, VaultReadOnly, VaultFull):
            _look(file, newest, wait_s)
    finally:
        if ours:
            index.unlink(missing_ok=True)


def _look(file: Path, newest: int, wait_s: float) -> None:
    with closing(connect(file, wait_s, may_write=False)) as database:
        try:
            read_header(database, newest)
        except sqlite3.Error as error:
            raise_named(error)
