"""What of sealed rows lies in a folder's files: every nonce that was ever written, and which of them are of rows that are there.

A nonce is found where a row lies, whole or in part; without it nobody opens the rest, whoever has the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from client.vault.heads import HEADS
from client.vault.keys import NONCE_BYTES
from client.vault.sealing import Seal
from client.vault.store import Store


class Written(NamedTuple):
    """A row as it was sealed: its table, and the beginning of its bytes."""

    table: str
    nonce: bytes


@contextmanager
def watched(tell: Callable[[Written], object]) -> Iterator[None]:
    """Every row that is sealed while the block runs is told, before it is written anywhere."""
    real = Seal.close

    def close(seal: Seal, table: str, row: int, version: int, payload: bytes) -> bytes:
        sealed = real(seal, table, row, version, payload)
        tell(Written(table, sealed[:NONCE_BYTES]))
        return sealed

    Seal.close = close  # type: ignore[method-assign]
    try:
        yield
    finally:
        Seal.close = real  # type: ignore[method-assign]


def nonces_there(store: Store) -> set[bytes]:
    """The nonces of all rows that a store has."""
    rows = (store._db.execute(f"SELECT sealed FROM {table}").fetchall() for table in (HEADS, *store.tables))
    return {sealed[:NONCE_BYTES] for table in rows for (sealed,) in table}


def raw(folder: Path) -> bytes:
    """The bytes of all files in a folder."""
    return b"/".join(file.read_bytes() for file in sorted(folder.iterdir()))


def remnants(written: set[Written], there: set[bytes], data: bytes) -> list[str]:
    """The tables of rows that are gone, and lie in the data all the same."""
    return sorted(table for table, nonce in written if nonce not in there and nonce in data)
