"""Sealed tables: what was written comes back, whole or not at all; whatever else lies on the disk is a named error."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.vault import store as store_module
from client.vault.keys import FileKeys
from client.vault.store import Durability, Store
from shared.errors import KeyWorn, VaultError, VaultReadOnly
from tests.world.basics import cheap_keys

ROOT = Path(__file__).parents[3]
TABLES = ("events", "ledger", "journal")
PROCESS, POWER = Durability.PROCESS, Durability.POWER


def opened(folder: Path, **arguments) -> Store:
    return Store(folder, TABLES, cheap_keys(folder), **arguments)


def contents(store: Store) -> dict[str, dict[int, bytes]]:
    return {table: dict(store.rows(table)) for table in TABLES}


# ---- what goes in comes out

write = st.tuples(st.sampled_from(["put", "append", "delete"]), st.sampled_from(TABLES), st.integers(0, 5))
write = write | st.tuples(st.just("clear"), st.sampled_from(TABLES), st.just(0))
session = st.lists(
    st.tuples(st.lists(write, max_size=5), st.sampled_from(Durability), st.sampled_from(["commit", "fail", "reopen"])),
    max_size=12,
)


@given(session)
def test_a_store_is_a_dictionary_that_forgets_what_failed(tmp_path_factory, transactions):
    folder = tmp_path_factory.mktemp("store")
    store, model = opened(folder), {table: {} for table in TABLES}
    number = 0
    for writes, durability, end in transactions:
        after = {table: dict(rows) for table, rows in model.items()}
        try:
            with store.transaction(durability):
                for verb, table, row in writes:
                    number += 1
                    payload = b"payload %d" % number
                    if verb == "put":
                        store.put(table, row, payload)
                        after[table][row] = payload
                    elif verb == "append":
                        after[table][store.append(table, payload)] = payload
                    elif verb == "delete":
                        store.delete(table, row)
                        after[table].pop(row, None)
                    else:
                        store.clear(table)
                        after[table].clear()
                    assert contents(store) == after
                if end == "fail":
                    raise KeyError
        except KeyError:
            after = model
        model = after
        if end == "reopen":
            store.close()
            store = opened(folder)
        assert contents(store) == model
        assert all(store.ids(table) == sorted(model[table]) for table in TABLES)
    store.close()


def test_an_id_of_append_lies_behind_every_other_also_after_a_failure(tmp_path):
    store = opened(tmp_path)
    with store.transaction(PROCESS):
        assert [store.append("events", b"x") for _ in range(4)] == [1, 2, 3, 4]
    with pytest.raises(KeyError), store.transaction(PROCESS):
        store.clear("events")
        assert store.append("events", b"y") == 1
        raise KeyError
    with store.transaction(PROCESS):
        assert store.append("events", b"z") == 5


def test_rows_by_age_and_places_that_need_the_key(tmp_path):
    store = opened(tmp_path)
    with store.transaction(PROCESS):
        for row in (5, 3, 9, 5):
            store.put("events", row, b"x")
    assert store.ids_by_age("events") == [3, 9, 5]
    place = store.place("events", b"name")
    assert 0 <= place < 2**63 and place != store.place("ledger", b"name") != store.place("events", b"other")
    store.close()
    assert opened(tmp_path).place("events", b"name") == place
    assert opened(tmp_path / "other").place("events", b"name") != place


def test_a_closed_store_says_so(tmp_path):
    store = opened(tmp_path)
    store.close()
    store.close()
    with pytest.raises(VaultError, match="closed"), store.transaction(PROCESS):
        pass
    with pytest.raises(VaultError, match="closed"):
        store.row("events", 1)
    with pytest.raises(VaultError, match="closed"):
        _ = store.used_bytes


# ---- durability

SYNCHRONOUS = {PROCESS: 1, POWER: 2}  # SQLite's numbers for NORMAL and FULL


def test_each_class_has_its_own_synchronous_and_only_power_moves_the_anchor(tmp_path):
    store, keys = opened(tmp_path), cheap_keys(tmp_path)
    keys.unwrap(raw_header(store))
    for durability in (PROCESS, POWER, POWER, PROCESS, POWER):
        before = keys.anchor()
        with store.transaction(durability):
            store.put("ledger", 1, b"x")
            assert store._db.execute("PRAGMA synchronous").fetchone() == (SYNCHRONOUS[durability],)
            assert keys.anchor() == before, "first the database, then the anchor"
        assert keys.anchor().number == before.number + (durability is POWER)
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA secure_delete").fetchone() == (1,)


def raw_header(store: Store) -> bytes:
    return store._db.execute("SELECT wrapped FROM header").fetchone()[0]


def test_a_transaction_inside_another_belongs_to_it_but_never_promises_more(tmp_path):
    store = opened(tmp_path)
    with pytest.raises(KeyError), store.transaction(POWER):
        with store.transaction(PROCESS):
            store.put("events", 1, b"x")
        raise KeyError
    assert store.row("events", 1) is None
    with pytest.raises(VaultError, match="power"), store.transaction(PROCESS), store.transaction(POWER):
        pass
    with store.transaction(POWER), store.transaction(POWER):
        store.put("events", 1, b"y")
    assert store.row("events", 1) == b"y"


def test_when_the_anchor_cannot_rise_the_writes_stay_and_the_error_is_told_until_it_can(tmp_path, monkeypatch):
    store = opened(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(FileKeys, "advance", lambda *_: (_ for _ in ()).throw(VaultReadOnly("no")))
        with pytest.raises(VaultReadOnly), store.transaction(POWER):
            store.put("ledger", 1, b"spent")
        with pytest.raises(VaultReadOnly):
            store.settle()
        with pytest.raises(VaultReadOnly), store.transaction(POWER):
            store.put("ledger", 1, b"two ahead of the anchor")
        with store.transaction(PROCESS):
            store.put("events", 1, b"behaviour still counts")
    assert store.row("ledger", 1) == b"spent"
    store.settle()
    store.close()
    store = opened(tmp_path)
    assert store.row("ledger", 1) == b"spent" and store.row("events", 1) == b"behaviour still counts"


def test_a_worn_key_seals_no_more(tmp_path, monkeypatch):
    store = opened(tmp_path)
    monkeypatch.setattr(store_module, "MAX_SEALS", store._writes + 4)
    with store.transaction(PROCESS):
        store.put("events", 1, b"x")
    with pytest.raises(KeyWorn), store.transaction(PROCESS):
        for _ in range(4):
            store.put("events", 2, b"y")
    assert contents(store)["events"] == {1: b"x"}
