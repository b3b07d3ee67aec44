"""What earlier apps left opens with all it held; what later apps left is refused by name, and nothing of it is changed."""

import hashlib
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from client.privacy.caps import LedgerLine
from client.privacy.ledger import Ledger
from client.vault import migrations
from client.vault import store as store_module
from client.vault.consent import Consent
from client.vault.header import Header
from client.vault.keys import FileKeys
from client.vault.migrations import MIGRATIONS, Migration, with_default
from client.vault.store import Durability, Store
from client.vault.vault import TABLES, Limits, Vault
from shared.errors import VaultBusy, VaultDamaged, VaultError, VaultNewer, VaultRolledBack
from shared.rdp import coin
from tests.world.basics import Diary, cheap_keys, make_plan, make_profile, open_device, ready, view
from tests.world.old_vault import SAID, held, old_vault, opened
from tests.world.spellings import spelled, value_of

FORMAT = 1 + len(MIGRATIONS)


@pytest.fixture
def old(tmp_path) -> Path:
    """A folder as format 1 left it."""
    return old_vault(tmp_path / "old")


def rows_of(folder: Path) -> dict[str, dict[int, bytes]]:
    """Every row of a vault, opened; it may migrate on the way."""
    with closing(Vault(folder, cheap_keys(folder), Limits())) as vault:
        return {table: dict(vault.store.rows(table)) for table in TABLES}


def files_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in sorted(folder.iterdir())}


def header_of(folder: Path) -> int:
    """The format in a vault's header; asked of a copy, for whoever looks leaves traces."""
    with TemporaryDirectory() as place:
        copy = shutil.copytree(folder, Path(place) / "copy")
        with closing(sqlite3.connect(copy / Store.FILE)) as database:
            return database.execute("SELECT format FROM header").fetchone()[0]


def with_header(folder: Path, number: int) -> None:
    """Another format in the header, as somebody without the key can put it there."""
    with closing(sqlite3.connect(folder / Store.FILE)) as database, database:
        (wrapped,) = database.execute("SELECT wrapped FROM header").fetchone()
        database.execute("UPDATE header SET format = ?, wrapped = ?, sha256 = ?", Header(number, wrapped).row)


# ---- format 1, as e1f0571 left it


def test_a_vault_of_format_1_opens_with_all_that_the_code_of_format_1_read_in_it(old):
    assert header_of(old) == 1 and SAID["alerts"] and SAID["releases"]["update"] == 3 and SAID["left"], "worth opening"
    for _ in range(3):  # carried over, then as it is
        with opened(old) as device:
            found = held(device)
            assert list(found) == list(SAID)
            for name, said in SAID.items():
                assert found[name] == said, name
        assert header_of(old) == FORMAT
        assert sorted(file.name for file in old.iterdir()) == ["device.anchor", "device.key", "vault.db"]


def test_a_device_that_was_carried_over_goes_on_from_there(old):
    """Events, closed steps, charges, decisions, another opening: as if it had always been of this format."""
    diary = Diary()
    with opened(old, on_step=diary.write) as device:
        spent = device.gate.ledger.epsilon(1)
        before = device._state.history.n_steps
        assert device.record(view(37, 2)) and diary.steps == [35, 36]
        fields = {"step": 40, "epsilon_micro": 10**5, "bit": 0}
        device.gate.release(hashlib.sha256(b"later").digest(), "alert_bit", fields, coin(0.1))
        assert device.pause() is True
        after = device.gate.ledger.epsilon(1)
        assert after > spent
    with opened(old) as device:
        assert device.gate.ledger.epsilon(1) == after and device.gate.ledger.releases["alert_bit"] == 2
        assert device.n_closed_steps == before + 2 and device.pause(False) is False
        assert [entry.kind for entry in device.what_left()][-1] == "alert_bit"
        assert device.alerts()[:3] == device.alerts()[: len(SAID["alerts"])]


def test_opening_a_vault_of_this_format_carries_nothing_over(old):
    rows_of(old)
    keys = cheap_keys(old)
    with closing(Vault(old, keys, Limits())):
        first = keys.anchor()
    with closing(Vault(old, keys, Limits())):
        assert keys.anchor() == first


# ---- killed on the way


def killed(work: Callable[[Callable[[], None]], None], at: int) -> bool:
    """Whether a child that does `work` was killed at the `at`-th moment that it tells of."""
    pid = os.fork()
    if not pid:
        moments = iter(range(10**6))

        def moment(*_: object) -> None:
            if next(moments) == at:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            work(moment)
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def test_killed_at_any_moment_of_a_migration_the_old_format_or_the_new_one_is_there(tmp_path, old, monkeypatch):
    """Before every statement of opening an old vault, and on both sides of raising its anchor."""
    connect, advance = store_module.connect, FileKeys.advance
    whole = rows_of(Path(shutil.copytree(old, tmp_path / "whole")))
    formats = []
    for at in range(10**6):
        folder = Path(shutil.copytree(old, tmp_path / str(at)))

        def work(moment: Callable[..., None], folder: Path = folder) -> None:
            def traced(*arguments):
                database = connect(*arguments)
                database.set_trace_callback(moment)
                return database

            def told(keys, anchor):
                moment()
                advance(keys, anchor)
                moment()

            monkeypatch.setattr(store_module, "connect", traced)
            monkeypatch.setattr(FileKeys, "advance", told)
            Vault(folder, cheap_keys(folder), Limits()).close()

        if not killed(work, at):
            break
        formats.append(header_of(folder))
        assert rows_of(folder) == whole
    assert formats == sorted(formats) and {*formats} == {1, FORMAT} and len(formats) > 30
    assert formats.count(FORMAT) >= 2, "the new format is there before the anchor is raised"


@pytest.mark.parametrize("room_bytes", [0, 1024, 10_240])
def test_a_vault_at_its_cap_is_carried_over_all_the_same(old, monkeypatch, room_bytes):
    """Rows are written anew before the old ones' pages are free; nobody is locked out for that. Then the cap is back."""
    monkeypatch.setattr(store_module, "RESERVE_BYTES", 0)
    with closing(sqlite3.connect(old / Store.FILE)) as database:
        database.execute("VACUUM")
    most = (old / Store.FILE).stat().st_size + room_bytes
    for _ in range(2):
        with opened(old, limits=Limits(max_bytes=most)) as device:
            assert held(device) == SAID and device._vault.store.format == FORMAT
            pragmas = (device._vault.store._db.execute(f"PRAGMA {name}_count") for name in ("max_page", "page"))
            cap, pages = (pragma.fetchone()[0] for pragma in pragmas)
            assert cap == pages > most // 1024, "not a page more"


def test_where_a_migration_fails_the_old_format_stays(old, monkeypatch):
    before = rows_of(Path(shutil.copytree(old, old.parent / "copy")))

    def failing(store, *_):
        raise VaultError("expected nothing")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "_write_heads", failing)
        with pytest.raises(VaultError, match="expected nothing"):
            rows_of(old)
    assert header_of(old) == 1
    assert rows_of(old) == before


# ---- what was tampered with is refused before anything is carried over


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("UPDATE alerts SET sealed = zeroblob(1100)", VaultDamaged),
        ("DELETE FROM events WHERE id = 1", VaultDamaged),
        ("UPDATE ledger SET version = version - 1", VaultDamaged),
        ("CREATE TABLE more (id INTEGER PRIMARY KEY)", VaultDamaged),
        ("DROP TABLE problems", VaultDamaged),
        ("UPDATE header SET format = 2", VaultDamaged),
        ("UPDATE header SET format = 'x'", VaultDamaged),
        ("UPDATE header SET wrapped = 'x'", VaultDamaged),
        ("UPDATE header SET wrapped = 1 << 50", VaultDamaged),
        ("DELETE FROM header", VaultDamaged),
        ("DROP TABLE header", VaultDamaged),
        ("DELETE FROM heads", VaultDamaged),
    ],
)
def test_an_old_vault_that_was_tampered_with_is_refused_and_not_carried_over(old, change, error):
    with closing(sqlite3.connect(old / Store.FILE)) as database, database:
        database.execute(change)
    before = files_of(old)["vault.db"][0]
    with pytest.raises(error):
        opened(old)
    assert files_of(old)["vault.db"][0] == before


def test_an_old_vault_behind_its_anchor_is_refused_and_not_carried_over(old):
    copy = (old / Store.FILE).read_bytes()
    rows_of(old)  # its anchor is one further now
    with opened(old) as device:
        device.pause()
    (old / Store.FILE).write_bytes(copy)
    with pytest.raises(VaultRolledBack):
        opened(old)
    assert (old / Store.FILE).read_bytes() == copy


@pytest.mark.parametrize("number", [1, 0, -3])
def test_a_header_that_makes_a_vault_look_older_is_noticed(tmp_path, number):
    open_device(tmp_path, make_profile()).close()
    with_header(tmp_path, number)
    with pytest.raises(VaultDamaged, match="format"):
        opened(tmp_path)


def test_a_header_that_makes_an_old_vault_look_like_one_of_this_format_is_noticed(old):
    with_header(old, FORMAT)
    with pytest.raises(VaultDamaged, match="format"):
        opened(old)
    with_header(old, 1)
    with opened(old) as device:
        assert held(device) == SAID


# ---- what a later app left


def left_by_a_later_app(folder: Path, *, killed_on_the_way: bool) -> None:
    """A vault of this format, carried over to the next one, which has one table more."""
    open_device(folder, make_profile()).close()

    def work(_: object) -> None:
        later = (*MIGRATIONS, Migration(tuple(TABLES), lambda rows: None))
        store = Store(folder, (*TABLES, "later"), cheap_keys(folder), migrations=later)
        with store.transaction(Durability.POWER):
            store.put("later", 1, b"something")
        if not killed_on_the_way:
            store.close()

    killed(work, -1)
    assert (folder / "vault.db-wal").exists() == killed_on_the_way


@pytest.mark.parametrize("killed_on_the_way", [False, True])
def test_a_later_format_is_refused_by_name_and_not_a_byte_is_changed(tmp_path, killed_on_the_way):
    left_by_a_later_app(tmp_path, killed_on_the_way=killed_on_the_way)
    before = files_of(tmp_path)
    for _ in range(2):
        with pytest.raises(VaultNewer, match=f"of format {FORMAT} at most, got format {FORMAT + 1}"):
            opened(tmp_path)
        assert files_of(tmp_path) == before
    later = (*MIGRATIONS, Migration(tuple(TABLES), lambda rows: None))
    with closing(Store(tmp_path, (*TABLES, "later"), cheap_keys(tmp_path), migrations=later)) as store:
        assert store.row("later", 1) == b"something"


@pytest.mark.parametrize("change", ["format = 'x'", "wrapped = 'x'", "wrapped = 1 << 50", "sha256 = 7"])
def test_a_header_that_holds_something_else_has_a_name_where_there_is_a_log_too(old, change):
    def work(_: object) -> None:
        database = sqlite3.connect(old / Store.FILE, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(f"UPDATE header SET {change}")
        os._exit(0)  # before the log is taken in

    killed(work, -1)
    assert (old / "vault.db-wal").stat().st_size
    with pytest.raises(VaultDamaged, match="its header is changed"):
        opened(old)


def test_a_log_that_a_killed_process_left_is_taken_in_as_ever(tmp_path):
    """Looking at the format first leaves nothing behind, and takes nothing away."""

    def work(_: object) -> None:
        device = open_device(tmp_path, make_profile())
        assert device.record(view(0))

    killed(work, -1)
    assert (tmp_path / "vault.db-wal").stat().st_size
    with open_device(tmp_path) as device:
        assert device._state.open_count[0] > 0
        with pytest.raises(VaultBusy):
            open_device(tmp_path)
        assert device.record(view(0))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["device.anchor", "device.key", "vault.db"]


def test_a_device_whose_ledger_has_a_line_of_a_later_app_does_not_open(old):
    """Nor is it changed: what was spent on that line stands there for the app that knows it."""
    with closing(Vault(old, cheap_keys(old), Limits())) as vault, vault.writing("ledger"):
        fields = value_of(Ledger.from_bytes(vault.get("ledger")).to_bytes())
        fields["lines"]["sums"] = fields["lines"]["risk_update"]
        vault.put("ledger", spelled(fields))
    before = files_of(old)
    with pytest.raises(VaultNewer, match="ledger"):
        opened(old)
    assert files_of(old) == before


def test_an_unknown_table_in_a_vault_of_this_format_is_refused_by_name(tmp_path):
    open_device(tmp_path, make_profile()).close()
    with closing(sqlite3.connect(tmp_path / Store.FILE)) as database, database:
        database.execute("CREATE TABLE more (id INTEGER PRIMARY KEY)")
    with pytest.raises(VaultDamaged, match=f"tables of a vault of format {FORMAT}"):
        opened(tmp_path)


# ---- the rule itself: what later issues will add

#: The lines that a ledger has in a vault of each format from the second on.
LINES_OF = {2: {"update", "risk_update", "alert_bit"}}


def test_a_line_more_in_the_ledger_is_a_format_more():
    """An app that does not know the line refuses the vault by its number, unchanged."""
    assert set(LedgerLine) == LINES_OF[FORMAT] and max(LINES_OF) == FORMAT


def test_steps_run_in_order_and_add_and_drop_tables(tmp_path):
    def moved(rows):
        rows.put("new", 1, rows.row("old", 1) + b" moved")

    def marked(rows):
        rows.put("new", 2, rows.row("new", 1) + b", then marked")

    with closing(Store(tmp_path, ("old", "kept"), cheap_keys(tmp_path))) as store, store.transaction(Durability.POWER):
        store.put("old", 1, b"a row")
        store.put("kept", 7, b"as it was")
    steps = (Migration(("old", "kept"), moved), Migration(("new", "kept"), marked))
    with closing(Store(tmp_path, ("new", "kept"), cheap_keys(tmp_path), migrations=steps[:1])) as store:
        assert store.format == 2 and dict(store.rows("new")) == {1: b"a row moved"}
    for _ in range(2):
        with closing(Store(tmp_path, ("new", "kept"), cheap_keys(tmp_path), migrations=steps)) as store:
            assert store.format == 3 and dict(store.rows("kept")) == {7: b"as it was"}
            assert dict(store.rows("new")) == {1: b"a row moved", 2: b"a row moved, then marked"}


def test_a_vault_that_missed_several_steps_takes_them_all_in_one_transaction(tmp_path):
    with closing(Store(tmp_path, ("old",), cheap_keys(tmp_path))) as store, store.transaction(Durability.POWER):
        store.put("old", 1, b"a row")
    keys = cheap_keys(tmp_path)
    steps = (
        Migration(("old",), lambda rows: rows.put("new", 1, rows.row("old", 1))),
        Migration(("new",), lambda rows: rows.put("newest", 1, rows.row("new", 1))),
    )
    with closing(Store(tmp_path, ("newest",), keys, migrations=steps)) as store:
        assert store.tables == ("newest",) and store.row("newest", 1) == b"a row"
        assert keys.anchor().number == 2, "one write more"


def test_a_field_that_came_later_has_its_default_in_older_rows(tmp_path, monkeypatch):
    open_device(tmp_path, make_profile()).close()
    with monkeypatch.context() as later:
        later.setattr(migrations, "ROWS", {**migrations.ROWS, "profile": (with_default("arm", 3),)})
        with closing(Vault(tmp_path, cheap_keys(tmp_path), Limits())) as vault:
            assert vault.get("profile")["arm"] == 3 and vault.get("profile")["n_categories"] == 4
            with vault.writing("profile"):
                vault.put("profile", {**vault.get("profile"), "arm": 5})
        with closing(Vault(tmp_path, cheap_keys(tmp_path), Limits())) as vault:
            assert vault.get("profile")["arm"] == 5, "what was written is not defaulted"
    with pytest.raises(VaultNewer, match="row of profile of version 1 at most, got 2"):
        opened(tmp_path)


def test_the_register_of_rows_is_that_of_tables_with_one_row(tmp_path):
    """Every row of such a table has a version, and those of others have none: the format stands for them."""
    with open_device(tmp_path, make_profile(Consent.RANDOMISED)) as device:
        ready(device, make_plan())
        for step in range(8):
            device.record(view(step))
        device.gate.release(bytes(32), "alert_bit", {"step": 7, "epsilon_micro": 10**5, "bit": 0}, coin(0.1))
        device.record(view(0, category=99))
        device.take_alerts(3)
        device._keep_alerts([])
    with closing(Vault(tmp_path, cheap_keys(tmp_path), Limits())) as vault:
        for table in migrations.ROWS:
            assert vault.store.ids(table) == [migrations.ONLY], table
        assert set(migrations.ROWS) == set(TABLES) - {"consent", "journal", "outbox", "events", "counters"}
