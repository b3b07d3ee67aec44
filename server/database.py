"""The server's tables in SQLite: one registry of them, engines, and Flower's node ids as SQLite holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import DeclarativeBase

_HALF, _WHOLE = 1 << 63, 1 << 64


class Base(DeclarativeBase):
    """The registry of every table of the server. A file holds the tables of the one who opens it."""


def engine_of(file: Path, *tables: type[Base], durable: bool = False) -> Engine:
    """An engine on a file that has these tables. `durable`: it waits for the disk at every commit, and what is deleted is
    overwritten."""
    engine = create_engine(f"sqlite:///{file}")
    if durable:

        @event.listens_for(engine, "connect")
        def wait_for_disk(connection: Any, record: object) -> None:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA secure_delete=ON")

    Base.metadata.create_all(engine, tables=[table.__table__ for table in tables])  # type: ignore[misc]
    return engine


def signed(node: int) -> int:
    """A node's id as SQLite holds it: ids are unsigned 64 bits, its integers signed."""
    return node - _WHOLE if node >= _HALF else node


def unsigned(stored: int) -> int:
    """The node's id of `signed`."""
    return stored % _WHOLE
