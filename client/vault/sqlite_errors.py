"""SQLite's errors under the vault's own names."""

from __future__ import annotations

import sqlite3
from typing import NoReturn

from shared.errors import VaultBusy, VaultDamaged, VaultFull, VaultReadOnly, VaultUnwritable


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
