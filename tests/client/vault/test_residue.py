"""What a store lets go is in none of its files when the transaction returns, wherever SQLite had moved it before."""

import random
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.vault import residue
from client.vault.heads import HEADS
from client.vault.store import Durability, Store
from shared.errors import VaultFull
from tests.client.vault.test_store import POWER, PROCESS, TABLES, contents, opened
from tests.world.basics import examples
from tests.world.residue import Written, nonces_there, raw, remnants, watched

WAL = f"{Store.FILE}-wal"


class Life:
    """A store that lives on random rows, and remembers every one that it ever sealed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random, self.written = folder, random.Random(seed), set[Written]()
        self.store = opened(folder)

    def payload(self) -> bytes:
        return self.random.randbytes(self.random.choice([19, 60, 200, 900, 6400]))

    def fill(self, table: str, n: int) -> None:
        """Rows behind the last one, and between others: SQLite moves what is in its way."""
        for _ in range(n):
            with self.store.transaction(self.random.choice([PROCESS, POWER])):
                if self.random.random() < 0.3:
                    self.store.append(table, self.payload())
                else:
                    self.store.put(table, self.random.randrange(1, 1 << 40), self.payload())

    def let_go(self, table: str) -> None:
        ids = self.store.ids(table)
        with self.store.transaction(self.random.choice([PROCESS, POWER])):
            if self.random.random() < 0.05:
                self.store.clear(table)
            for row in self.random.sample(ids, min(len(ids), 1 + self.random.randrange(4))):
                if self.random.random() < 0.3:
                    self.store.put(table, row, self.payload())
                else:
                    self.store.delete(table, row)
            self.store.clear("events")

    def found(self) -> list[str]:
        """Tables of which something is left that should be gone. Of the heads the log may hold one, which says nothing
        but how many rows there are."""
        return [t for t in remnants(self.written, nonces_there(self.store), raw(self.folder)) if t != HEADS]


@examples(6)
@given(st.integers(0, 2**32))
def test_nothing_that_was_deleted_or_replaced_is_left_when_a_transaction_returns(tmp_path_factory, seed):
    life = Life(tmp_path_factory.mktemp("store"), seed)
    with watched(life.written.add):
        for _ in range(40):
            life.fill(life.random.choice(TABLES), 4)
            life.let_go(life.random.choice(TABLES))
            assert life.found() == []
            if life.random.random() < 0.3:
                life.store.close()
                life.store = opened(life.folder)
                assert life.found() == []
        held = contents(life.store)
        life.store.close()
        assert contents(opened(life.folder)) == held


def test_without_it_there_is_something_to_find(tmp_path, monkeypatch):
    """The test above looks at what SQLite really leaves: in pages of which it moved rows, and in its log."""
    life = Life(tmp_path, 1)
    monkeypatch.setattr(residue.Residue, "write_anew", lambda self: None)
    with watched(life.written.add):
        for _ in range(300):  # an outbox: places in no order, the oldest goes
            with life.store.transaction(PROCESS):
                life.store.put("journal", life.random.getrandbits(60), bytes(life.random.choice([60, 200, 6400])))
                for row in life.store.ids_by_age("journal")[:-32]:
                    life.store.delete("journal", row)
            if found := life.found():
                break
        assert found == ["journal"], "pages"
        monkeypatch.setattr(residue, "cut_log", lambda _: False)
        with life.store.transaction(PROCESS):
            life.store.append("events", b"raw")
        with life.store.transaction(PROCESS):
            life.store.clear("events")
        assert "events" in life.found(), "log"


@pytest.mark.parametrize("durability", Durability)
def test_what_was_only_replaced_leaves_the_log_with_the_next_thing_that_goes(tmp_path, durability):
    written: set[Written] = set()
    with watched(written.add):
        store = opened(tmp_path)
        for payload in (b"old", b"new"):
            with store.transaction(durability):
                store.put("ledger", 1, payload)
        assert (tmp_path / WAL).stat().st_size, "no write waits for the file: events are cheap"
        with store.transaction(PROCESS):
            store.clear("events")
        assert (tmp_path / WAL).stat().st_size == 0
        assert remnants(written, nonces_there(store), raw(tmp_path)) == []


def test_a_log_that_could_not_be_cut_is_cut_after_the_next_write_and_at_the_next_opening(tmp_path, monkeypatch):
    """Nothing is lost on the way, and nobody is told of an error: what was asked for is done."""
    store, log = opened(tmp_path), tmp_path / WAL
    with store.transaction(PROCESS):
        store.append("events", b"raw")
        store.append("journal", b"kept")
    real = residue.cut_log
    with monkeypatch.context() as patch:
        patch.setattr(residue, "cut_log", lambda _: False)
        with store.transaction(PROCESS):
            store.clear("events")
        assert log.stat().st_size
    with store.transaction(PROCESS):
        store.append("journal", b"another")
    assert log.stat().st_size == 0
    with monkeypatch.context() as patch:
        patch.setattr(residue, "cut_log", lambda _: False)
        with store.transaction(PROCESS):
            store.clear("ledger")
        content = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    killed = tmp_path / "killed"
    killed.mkdir()
    for name, data in content.items():
        (killed / name).write_bytes(data)
    cut = []
    monkeypatch.setattr(residue, "cut_log", lambda database: cut.append(real(database)) or cut[-1])
    with_rows = opened(killed)
    assert cut == [True] and (killed / WAL).stat().st_size == 0
    assert contents(with_rows)["journal"] == {1: b"kept", 2: b"another"}


def test_a_disk_that_takes_no_checkpoint_leaves_the_transaction_whole(tmp_path):
    """A statement that is not at its end holds the log: SQLite gives an error."""
    store = opened(tmp_path)
    with store.transaction(PROCESS):
        for _ in range(9):
            store.append("events", b"raw")
    held = store._db.execute("SELECT * FROM events")
    held.fetchone()
    with store.transaction(PROCESS):
        store.append("journal", b"kept")
        store.clear("ledger")
    assert (tmp_path / WAL).stat().st_size
    held.close()
    with store.transaction(PROCESS):
        store.append("journal", b"more")
    assert (tmp_path / WAL).stat().st_size == 0 and store.count("journal") == 2


def test_a_transaction_that_is_taken_back_leaves_nothing_once_another_one_ends(tmp_path):
    """More than SQLite's cache holds: pages of a transaction that never was went into the log."""
    written: set[Written] = set()
    with watched(written.add):
        store = opened(tmp_path)
        with pytest.raises(KeyError), store.transaction(PROCESS):
            for _ in range(3000):
                store.append("events", bytes(1000))
            raise KeyError
        assert remnants(written, nonces_there(store), raw(tmp_path)), "worth looking for"
        with store.transaction(PROCESS):
            store.append("events", b"raw")
        assert [t for t in remnants(written, nonces_there(store), raw(tmp_path)) if t != HEADS] == []


def test_at_its_cap_a_vault_still_lets_go(tmp_path):
    """A table is written anew into the pages that its rows leave."""
    store = opened(tmp_path, max_bytes=1 << 16)
    with pytest.raises(VaultFull):
        while True:
            with store.transaction(PROCESS):
                store.append("journal", bytes(3000))
    first, *others = store.ids("journal")
    with store.transaction(PROCESS):
        store.delete("journal", first)
    assert store.ids("journal") == others
    store.close()
    assert opened(tmp_path, max_bytes=1 << 16).ids("journal") == others


def test_sqlite_zeroes_whole_pages_and_never_moves_rows_that_come_one_behind_the_other(tmp_path):
    """What `client/vault/residue.py` rests on, asked of the SQLite that runs here."""
    database, marked = sqlite3.connect(tmp_path / "plain.db", isolation_level=None), b"canary-%08d"
    for pragma in ("page_size=1024", "journal_mode=WAL", "secure_delete=ON"):
        database.execute(f"PRAGMA {pragma}").fetchall()
    database.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, data BLOB)")
    chance = random.Random(0)
    for row in range(1500):
        data = marked % row + bytes(chance.choice([0, 90, 700, 3000]))
        database.execute("INSERT INTO rows VALUES (?, ?)", (row, data))

    def file() -> bytes:
        assert database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        return (tmp_path / "plain.db").read_bytes()

    assert all(file().count(marked % row) == 1 for row in range(1500)), "no copy of any"
    database.execute("DELETE FROM rows")
    assert b"canary" not in file()
    database.close()
