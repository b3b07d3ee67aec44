"""The SQLite file of a vault: made for its owner alone, held by one process, with a cap on its size, and errors of its own."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from shared.errors import VaultBusy, VaultDamaged, VaultFull, VaultReadOnly, VaultUnwritable
from shared.files import private_folder

from ..holding import Holding
from .keys import disk_error

PAGE_BYTES = 1024
#: As many as a file may have in any version of SQLite.
MOST_PAGES = (1 << 30) - 1


def make_file(file: Path) -> None:
    """The file and its folder, if they are not there; VaultReadOnly if they cannot be made or written."""
    folder = file.parent
    try:
        private_folder(folder)
    except OSError as error:
        raise disk_error(error, "a folder that can be made") from None
    if not _may(folder, os.W_OK | os.X_OK) or (file.exists() and not _may(file, os.R_OK | os.W_OK)):
        raise VaultReadOnly("expected a folder that can be written")
    try:
        # For its owner only, and so its journal. Never opened when it is there: closing it would drop our own locks.
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise disk_error(error, "a file that can be written") from None


def _may(path: Path, mode: int) -> bool:
    """Whether this process may do that, as whoever it acts for now."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


@contextmanager
def held_alone(file: Path) -> Iterator[None]:
    """Nobody else opens the database in `file` while the block runs; VaultBusy if anybody holds it. What is no
    database any more, or is not there, nobody can hold."""
    if not file.exists():
        yield
        return
    with Holding(file.parent), closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as database:
        try:
            database.execute("PRAGMA locking_mode=EXCLUSIVE")
            database.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            with suppress(VaultDamaged, VaultUnwritable, VaultReadOnly, VaultFull):
                raise_named(error)
        yield


def connect(file: Path, wait_s: float, *, may_write: bool = True) -> sqlite3.Connection:
    """A connection to the file, which waits so long for others, and trusts nothing in its schema; the vault's own
    errors."""
    uri = f"{file.absolute().as_uri()}?mode={'rw' if may_write else 'ro'}"
    try:
        database = sqlite3.connect(uri, timeout=wait_s, isolation_level=None, check_same_thread=False, uri=True)
        for pragma in ("trusted_schema=OFF", "cell_size_check=ON"):
            database.execute(f"PRAGMA {pragma}")
    except sqlite3.Error as error:
        raise_named(error)
    return database


def cut_log(database: sqlite3.Connection) -> bool:
    """Move the whole log into the file, as durably as the connection is set, and cut it to nothing; whether that is
    done."""
    try:
        return bool(database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
    except sqlite3.Error:
        return False


def used_bytes(database: sqlite3.Connection) -> int:
    """Bytes of the file's pages in use; sqlite3's errors."""
    pages, free = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
    return int((pages - free) * PAGE_BYTES)


@contextmanager
def uncapped(database: sqlite3.Connection, max_bytes: int) -> Iterator[None]:
    """The file may grow beyond its cap of `max_bytes` while the block runs: SQLite writes a row anew before the pages of
    the old one are free. Where the block raises, there is no cap any more."""
    database.execute(f"PRAGMA max_page_count={MOST_PAGES}").fetchall()
    yield
    database.execute(f"PRAGMA max_page_count={max_bytes // PAGE_BYTES}").fetchall()


def take(database: sqlite3.Connection, max_bytes: int) -> None:
    """Set a connection up, and take the file for this process alone; sqlite3's errors."""
    for pragma in (
        f"page_size={PAGE_BYTES}",
        "locking_mode=EXCLUSIVE",
        "journal_mode=WAL",
        "secure_delete=ON",
        "temp_store=MEMORY",
        f"max_page_count={max_bytes // PAGE_BYTES}",
    ):
        database.execute(f"PRAGMA {pragma}").fetchall()
    database.execute("BEGIN EXCLUSIVE")
    database.execute("COMMIT")


def raise_named(error: sqlite3.Error) -> NoReturn:
    """The vault's own error for one of SQLite's. No text of it is passed on."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        raise VaultBusy("expected to be the only one who opens this vault: another process holds it") from None
    if name.startswith("SQLITE_FULL"):
        raise VaultFull("expected room for a write: the disk or the vault is full") from None
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        raise VaultReadOnly("expected a folder that can be written") from None
    if name.startswith("SQLITE_IOERR"):
        raise VaultUnwritable("expected the disk to take a write: it gave an error") from None
    raise VaultDamaged("expected the vault's database: it is cut or changed") from None
