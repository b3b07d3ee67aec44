"""docs/data-on-device.md says what lies on the device: each table, each file, and each promise, as the code has them."""

import re
import sqlite3
from pathlib import Path

from client.vault.consent import Consent
from client.vault.erasure import MARKER
from client.vault.header import HEADER
from client.vault.heads import HEADS
from client.vault.keys import FileKeys
from client.vault.store import RESERVE_BYTES, Durability, Store
from client.vault.vault import TABLES, Limits
from tests.world.basics import make_profile, open_device, view

PAGE = (Path(__file__).parents[3] / "docs" / "data-on-device.md").read_text(encoding="utf-8")
SURVIVES = {Durability.PROCESS: "a killed process", Durability.POWER: "power loss"}


def table_under(heading: str) -> list[list[str]]:
    """The rows of the first Markdown table under a heading, cell by cell, without its head."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_tables_of_the_page_are_those_of_the_code_word_by_word():
    expected = [[f"`{n}`", t.holds, t.purpose, t.until, SURVIVES[t.durability]] for n, t in TABLES.items()]
    assert table_under("The tables") == expected


def test_the_tables_of_the_page_are_those_of_a_device_s_database(tmp_path):
    open_device(tmp_path, make_profile()).close()
    database = sqlite3.connect(tmp_path / Store.FILE)
    names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    named = {row[0].strip("`") for row in table_under("The tables")}
    assert names == named | {HEADER, HEADS}
    assert f"`{HEADER}`" in PAGE and f"`{HEADS}`" in PAGE
    columns = {row[1] for table in TABLES for row in database.execute(f"PRAGMA table_info({table})")}
    assert columns == {"id", "version", "sealed"}, "nothing lies beside what is sealed"
    database.close()


def test_the_files_of_the_page_are_those_of_a_device(tmp_path):
    files = {row[0].strip("`") for row in table_under("The files")}
    device = open_device(tmp_path, make_profile())
    device.record(view(0))
    lying = {file.name for file in tmp_path.iterdir()}
    device.forget()
    assert lying == {Store.FILE, f"{Store.FILE}-wal", FileKeys.KEY_FILE, FileKeys.ANCHOR_FILE}
    assert files == lying | {file.name for file in tmp_path.iterdir()} == lying | {MARKER}


def test_the_numbers_of_the_page_are_the_defaults():
    limits = Limits()
    assert f"{limits.max_bytes >> 20} MiB" in PAGE and RESERVE_BYTES == 1 << 20
    assert f"{limits.journal_entries:,} entries" in TABLES["journal"].until
    assert f"newest {limits.outbox_entries}" in TABLES["outbox"].until
    assert f"{limits.raw_events:,} are there" in TABLES["events"].until and limits.raw_seconds == 86_400


def test_the_lengths_of_rows_tell_as_little_as_the_page_says(tmp_path):
    with open_device(tmp_path, make_profile()) as device:
        for choice in (*Consent, Consent.LOCAL):
            device.consent(choice)
        for step in range(3):
            for category in range(step + 1):
                device.record(view(step, category))
        database = device._vault.store._db
        for table in ("events", "counters", "consent"):
            lengths = [n for (n,) in database.execute(f"SELECT length(sealed) FROM {table}")]
            assert len(lengths) > 1 and len(set(lengths)) == 1, table
        vault, alert = device._vault, [1, 29, 2, 119, 61, 118]
        sizes = []
        for n in (0, 1, 30, 31, 4096):
            with vault.writing("alerts"):
                vault.put("alerts", [alert] * n)
            assert vault.get("alerts") == [alert] * n
            sizes.append(len(vault.store.row("alerts", 1)))
        assert sizes[0] == sizes[2] == 1024 < sizes[4] and all(size % 1024 == 0 for size in sizes)


def test_every_path_and_name_that_the_page_quotes_exists():
    root = Path(__file__).parents[3]
    for name in re.findall(r"`((?:client|shared)/[\w/]+\.py)`", PAGE):
        assert (root / name).exists(), name
