"""What may lie on a disk instead of what was written: each case has a named error, or changes nothing."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.vault.keys import FileKeys
from client.vault.store import Store
from shared.errors import (
    KeyMissing,
    RowsPutBack,
    VaultBusy,
    VaultDamaged,
    VaultFull,
    VaultReadOnly,
    VaultRolledBack,
    WrongKey,
)
from tests.client.vault.test_store import POWER, PROCESS, TABLES, contents, opened
from tests.world.basics import cheap_keys, examples

ROOT = Path(__file__).parents[3]
WAL = f"{Store.FILE}-wal"


def filled(folder: Path, n: int = 6) -> dict[str, dict[int, bytes]]:
    """A closed store with some rows, some of them rewritten; what is in it."""
    store = opened(folder)
    for i in range(n):
        with store.transaction(PROCESS):
            store.append("events", b"event %d" % i * 9)
        with store.transaction(POWER):
            store.put("ledger", 1, b"spent %d" % i)
            store.append("journal", b"left %d" % i)
    out = contents(store)
    store.close()
    return out


def raw(folder: Path) -> sqlite3.Connection:
    """The database as a thief opens it."""
    return sqlite3.connect(folder / Store.FILE, isolation_level=None)


def test_no_payload_and_no_key_is_in_any_file_open_or_closed(tmp_path):
    canary = b"canary-7f3a" * 30
    store = opened(tmp_path)
    with store.transaction(POWER):
        for row in range(40):
            store.put("events", row, canary)
    with store.transaction(PROCESS):
        store.clear("events")
        store.put("ledger", 1, canary)
    for _ in range(2):
        files = [file for file in tmp_path.iterdir()]
        assert {Store.FILE, FileKeys.KEY_FILE, FileKeys.ANCHOR_FILE} <= {file.name for file in files}
        assert not [file.name for file in files if b"canary" in file.read_bytes()]
        store.close()


@examples(150)
@given(st.data())
def test_a_flipped_bit_is_a_named_error_or_changes_nothing(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("store")
    was = filled(folder)
    file = folder / Store.FILE
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(bytes(content))
    try:
        store = opened(folder)
    except (VaultDamaged, VaultReadOnly):
        return  # a flip in the file's format version reads as "may not be written"
    assert contents(store) == was
    store.close()


@examples(40)
@given(st.data())
def test_a_cut_file_is_a_named_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("store")
    filled(folder)
    file = folder / Store.FILE
    content = file.read_bytes()
    file.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises((VaultDamaged, VaultRolledBack)):
        opened(folder)


def put_back(folder: Path, table: str, rows: list[tuple]) -> None:
    with raw(folder) as database:
        database.executemany(f"REPLACE INTO {table} VALUES (?, ?, ?)", rows)
    database.close()


def rows_of(folder: Path, table: str) -> list[tuple]:
    database = raw(folder)
    found = database.execute(f"SELECT id, version, sealed FROM {table}").fetchall()
    database.close()
    return found


def test_swapped_rows_are_damage(tmp_path):
    filled(tmp_path)
    (a, va, first), (b, vb, second), *_ = rows_of(tmp_path, "events")
    put_back(tmp_path, "events", [(a, vb, second), (b, va, first)])
    with pytest.raises(VaultDamaged):
        opened(tmp_path)


def test_rows_swapped_between_tables_are_damage(tmp_path):
    filled(tmp_path)
    put_back(tmp_path, "journal", rows_of(tmp_path, "events"))
    with pytest.raises(VaultDamaged):
        opened(tmp_path)


@pytest.mark.parametrize("table", TABLES)
def test_an_old_row_put_back_is_noticed(tmp_path, table):
    filled(tmp_path)
    old = rows_of(tmp_path, table)[:1]
    store = opened(tmp_path)
    with store.transaction(PROCESS):
        store.put(table, old[0][0], b"newer")
    store.close()
    opened(tmp_path).close()
    put_back(tmp_path, table, old)
    with pytest.raises(RowsPutBack):
        opened(tmp_path)


@pytest.mark.parametrize("table", TABLES)
def test_a_removed_row_and_one_that_had_been_removed_are_noticed(tmp_path, table):
    filled(tmp_path)
    *_, last = rows_of(tmp_path, table)
    store = opened(tmp_path)
    with store.transaction(POWER):
        store.delete(table, last[0])
    store.close()
    shutil.copytree(tmp_path, tmp_path / "copy")
    put_back(tmp_path, table, [last])
    with pytest.raises(RowsPutBack):
        opened(tmp_path)
    others = [name for name in TABLES if name != table]
    with raw(tmp_path / "copy") as database:
        database.execute(f"DELETE FROM {others[0]} WHERE id = 1")
    database.close()
    with pytest.raises(RowsPutBack):
        opened(tmp_path / "copy")


def test_old_heads_old_tables_and_foreign_tables_are_noticed(tmp_path):
    filled(tmp_path)
    heads = rows_of(tmp_path, "heads")
    store = opened(tmp_path)
    with store.transaction(PROCESS):
        store.put("events", 1, b"newer")
    store.close()
    for name, change in {
        "heads": lambda db: db.executemany("REPLACE INTO heads VALUES (?, ?, ?)", heads),
        "no heads": lambda db: db.execute("DELETE FROM heads"),
        "no table": lambda db: db.execute("DROP TABLE events"),
        "one more": lambda db: db.execute("CREATE TABLE notes (text TEXT)"),
        "header": lambda db: db.execute("UPDATE header SET wrapped = x'00'"),
        "format": lambda db: db.execute("UPDATE header SET format = 2"),
        "no header": lambda db: db.execute("DELETE FROM header"),
    }.items():
        folder = tmp_path / "copies" / name
        shutil.copytree(tmp_path, folder, ignore=shutil.ignore_patterns("copies"))
        with raw(folder) as database:
            change(database)
        database.close()
        with pytest.raises(VaultDamaged):
            opened(folder)


def test_a_row_changed_under_an_open_store_is_noticed_when_it_is_read(tmp_path):
    store = opened(tmp_path)
    with store.transaction(PROCESS):
        store.put("events", 1, b"old")
    old = store._db.execute("SELECT version, sealed FROM events").fetchone()
    with store.transaction(PROCESS):
        store.put("events", 1, b"new")
    store._db.execute("UPDATE events SET version = ?, sealed = ?", old)
    with pytest.raises(RowsPutBack):
        store.row("events", 1)


def test_an_older_database_is_rolled_back_if_anything_was_spent_since(tmp_path):
    filled(tmp_path)
    old = (tmp_path / Store.FILE).read_bytes()
    store = opened(tmp_path)
    with store.transaction(POWER):
        store.put("ledger", 1, b"spent more")
    store.close()
    (tmp_path / Store.FILE).write_bytes(old)
    with pytest.raises(VaultRolledBack):
        opened(tmp_path)
    (tmp_path / Store.FILE).unlink()
    with pytest.raises(VaultRolledBack):
        opened(tmp_path)


def test_an_older_database_of_the_same_spendings_is_like_a_power_loss(tmp_path):
    """Documented: events are missing, never a charge."""
    was = filled(tmp_path)
    old = (tmp_path / Store.FILE).read_bytes()
    store = opened(tmp_path)
    with store.transaction(PROCESS):
        store.append("events", b"one more event")
    store.close()
    (tmp_path / Store.FILE).write_bytes(old)
    assert contents(opened(tmp_path)) == was


def test_database_and_key_files_put_back_together_are_not_noticed(tmp_path):
    """Documented: the file prototype cannot."""
    was = filled(tmp_path)
    shutil.copytree(tmp_path, tmp_path / "old")
    store = opened(tmp_path)
    with store.transaction(POWER):
        store.put("ledger", 1, b"spent more")
    store.close()
    assert contents(opened(tmp_path / "old")) == was


def test_every_file_is_its_owner_s_alone(tmp_path):
    store = opened(tmp_path)
    with store.transaction(PROCESS):
        store.append("events", b"x")
    assert {file.name: file.stat().st_mode & 0o077 for file in tmp_path.iterdir()} == dict.fromkeys(
        [Store.FILE, WAL, FileKeys.KEY_FILE, FileKeys.ANCHOR_FILE], 0
    )


def test_a_missing_and_a_wrong_key_have_their_names(tmp_path):
    filled(tmp_path)
    with pytest.raises(WrongKey):
        Store(tmp_path, TABLES, cheap_keys(tmp_path, b"battery staple"))
    (tmp_path / FileKeys.KEY_FILE).unlink()
    with pytest.raises(KeyMissing):
        opened(tmp_path)
    assert (tmp_path / Store.FILE).exists() and not cheap_keys(tmp_path).exists(), "no new key for an old database"


def test_who_waits_gets_the_vault_when_the_other_process_lets_go_of_it(tmp_path):
    filled(tmp_path)
    code = (
        "import sys, time; from pathlib import Path; from tests.client.vault.test_store import opened\n"
        "store = opened(Path(sys.argv[1])); print('held', flush=True); time.sleep(1); store.close()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(VaultBusy):
            opened(tmp_path)
        Store(tmp_path, TABLES, cheap_keys(tmp_path), wait_s=60).close()
    assert other.returncode == 0


def test_one_process_at_a_time(tmp_path):
    store = opened(tmp_path)
    with pytest.raises(VaultBusy):
        opened(tmp_path)
    code = (
        "import sys; from pathlib import Path; from tests.client.vault.test_store import opened\n"
        "try: opened(Path(sys.argv[1]))\nexcept Exception as error: print(type(error).__name__)"
    )
    assert child(code, tmp_path).stdout.strip() == "VaultBusy"
    with store.transaction(PROCESS):
        store.put("events", 1, b"still ours")
    store.close()
    opened(tmp_path).close()


def child(code: str, folder: Path, *more: str, **arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code, str(folder), *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, **arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


READ_ONLY = """
import os, sys
from pathlib import Path
from client.vault.keys import FileKeys
from client.vault.store import Durability, Store
from tests.client.vault.test_store import opened
folder = Path(sys.argv[1])
if os.geteuid() == 0:
    (os.setuid if sys.argv[2:] == ["for good"] else os.seteuid)(65534)
for action in (lambda: opened(folder / "vault"), lambda: opened(folder / "nobody")):
    try:
        action()
    except Exception as error:
        print(type(error).__name__)
"""


@pytest.mark.parametrize("how", ["for good", "for now"])
def test_a_folder_that_cannot_be_written_is_read_only(tmp_path, how):
    """Root may write everywhere: the child gives that up first."""
    filled(tmp_path / "vault")
    folders = [tmp_path / "vault", tmp_path]
    for file in (tmp_path / "vault").iterdir():
        file.chmod(0o444)
    for folder in folders:
        folder.chmod(0o555)
    above = [folder for folder in tmp_path.parents if folder.stat().st_mode & 0o005 != 0o005]
    modes = [folder.stat().st_mode for folder in above]
    try:
        for folder in above:
            folder.chmod(folder.stat().st_mode | 0o055)
        assert child(READ_ONLY, tmp_path, how).stdout.split() == ["VaultReadOnly", "VaultReadOnly"]
    finally:
        for folder, mode in zip(above, modes, strict=True):
            folder.chmod(mode)
        for folder in folders:
            folder.chmod(0o755)


def fill_up(store: Store) -> int:
    """Write events until there is no more room; how many went in."""
    n = 0
    while True:
        with store.transaction(PROCESS):
            store.append("events", bytes(3000))
        n += 1


def test_a_vault_at_its_cap_is_full_and_whole(tmp_path):
    store = opened(tmp_path, max_bytes=1 << 16)
    with pytest.raises(VaultFull):
        fill_up(store)
    held = contents(store)
    assert len(held["events"]) > 50, "the reserve beyond the cap can be used"
    store.close()
    store = opened(tmp_path, max_bytes=1 << 16)
    assert contents(store) == held
    with store.transaction(POWER):
        store.clear("events")
    with store.transaction(POWER):
        store.put("ledger", 1, b"there is room again")


FULL_DISK = """
import os, resource, signal, sys
from pathlib import Path
from client.vault.store import Durability
from shared.errors import VaultError
from tests.client.vault.test_store import contents, opened
from tests.client.vault.test_store_faults import fill_up
folder = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = opened(folder)
with store.transaction(Durability.POWER):
    store.put("ledger", 1, b"spent")
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, resource.RLIM_INFINITY))
try:
    fill_up(store)
except VaultError as error:
    print(type(error).__name__)
print(len(contents(store)["events"]))
os._exit(0)
"""


def test_a_disk_that_takes_no_more_is_a_named_error_and_what_was_written_is_there(tmp_path):
    """The limit on a file's size stands for the full disk: SQLite meets it in a write."""
    name, n = child(FULL_DISK, tmp_path).stdout.split()
    assert name in ("VaultFull", "VaultUnwritable")
    store = opened(tmp_path)
    assert len(contents(store)["events"]) == int(n) > 20
    assert store.row("ledger", 1) == b"spent"


def test_no_error_holds_a_payload_or_a_path(tmp_path):
    filled(tmp_path)
    put_back(tmp_path, "events", [(1, 1, os.urandom(60))])
    with pytest.raises(VaultDamaged) as caught:
        opened(tmp_path)
    assert str(tmp_path) not in str(caught.value) and "event 0" not in str(caught.value)
    assert repr(opened(tmp_path / "new")) == "Store(<sealed>)"
