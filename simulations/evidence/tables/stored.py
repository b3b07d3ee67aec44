"""Everything that is stored on a device: each table of the vault and each of its columns, with its purpose, read from the schema."""

from __future__ import annotations

from collections.abc import Iterator

from client.vault.heads import HEADS
from client.vault.schema import HEADER, HEADER_COLUMNS, SEALED_COLUMNS
from client.vault.store import Durability
from client.vault.vault import TABLES
from server import bits, enrolment, inbox, state
from server.database import Base
from server.helper import store as helper_store
from server.sums import open_round

from ..case import Case
from ..fields import Field, FieldTable, missing
from ..grounds import of_code
from ..project_pages import stated

SCHEMA, VAULT = "client/vault/schema.py", "client/vault/vault.py"
HELD = ("tests/client/vault/test_data_on_device.py",)
SURVIVES = {Durability.PROCESS: "a killed process", Durability.POWER: "a killed process, and power loss"}
#: Modules whose tables a server or a helper keeps: what is imported here is known to `Base`.
KEPT_BY = (bits, enrolment, inbox, state, open_round, helper_store)
#: The column of which a table's own purpose is the purpose.
_CONTENT = "sealed"


def stored_tables(_: Case) -> list[FieldTable]:
    """What lies on the device, table by table, column by column; then its files."""
    return [
        FieldTable("stored-tables", tuple(_of_tables())),
        FieldTable("stored-columns", tuple(every_column())),
        FieldTable("stored-files", tuple(stated("stored.file", "docs/data-on-device.md", "The files", HELD))),
        FieldTable("stored-server", tuple(server_tables())),
    ]


def _of_tables() -> Iterator[Field]:
    for name, table in TABLES.items():
        said = {"holds": table.holds, "purpose": table.purpose, "survives": SURVIVES[table.durability]}
        yield from (of_code(f"stored.{key}", value, VAULT, row=name, tests=HELD) for key, value in said.items())


def every_column() -> Iterator[Field]:
    """A field for each column of each table; missing where nobody said what it is for."""
    for table in (HEADER, HEADS, *TABLES):
        for column in HEADER_COLUMNS if table == HEADER else SEALED_COLUMNS:
            purpose, row = column.purpose, f"{table}.{column.name}"
            if column.name == _CONTENT and table in TABLES:
                purpose = f"{TABLES[table].holds}: {TABLES[table].purpose}" if TABLES[table].purpose else ""
            if purpose:
                yield of_code("stored.column", purpose, SCHEMA, VAULT, row=row, tests=HELD)
            else:
                yield missing("stored.column", "nobody said what it is for", row)


def server_tables() -> Iterator[Field]:
    """A field for each table that a server or a helper keeps, with its columns, as its class says it."""
    for table in sorted(Base.__subclasses__(), key=lambda table: table.__tablename__):
        file = f"{table.__module__.replace('.', '/')}.py"
        value = {
            "purpose": " ".join((table.__doc__ or "").split()),
            "columns": [column.name for column in table.__table__.columns],
        }
        if value["purpose"]:
            yield of_code("stored.server_table", value, file, row=table.__tablename__)
        else:
            yield missing("stored.server_table", "nobody said what it is for", table.__tablename__)
