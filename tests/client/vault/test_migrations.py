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

import numpy as np
import pytest

from client.privacy.caps import Caps
from client.privacy.ledger import Ledger
from client.vault import store as store_module
from client.vault.header import Header
from client.vault.keys import FileKeys
from client.vault.migrations import MIGRATIONS, Migration
from client.vault.store import Durability, Store
from client.vault.vault import TABLES, Limits, Vault
from shared.errors import VaultBusy, VaultDamaged, VaultError, VaultNewer, VaultRolledBack
from shared.events import EventKind
from shared.rdp import coin
from tests.world.basics import Diary, cheap_keys, make_profile, open_device, view
from tests.world.old_vault import SAID, SAID_BY, held, old_vault, opened
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


# ---- formats 1 and 2, as e1f0571 and 2944447 left them


@pytest.mark.parametrize("number", SAID_BY)
def test_a_vault_of_an_earlier_format_opens_with_all_that_the_code_of_that_format_read_in_it(tmp_path, number):
    old, said = old_vault(tmp_path / "old", number), SAID_BY[number]
    assert header_of(old) == number and said["alerts"] and said["releases"]["update"] == 3 and said["left"], (
        "worth opening"
    )
    for _ in range(3):  # carried over, then as it is
        with opened(old) as device:
            found = held(device, said)
            assert list(found) == list(said)
            for name, read in said.items():
                assert found[name] == read, name
            assert device.gate.ledger.caps == Caps() and (number > 2 or device.gate.heard.offer is None)
            assert not device.refused() and not device.withdrawn()
        assert header_of(old) == FORMAT
        assert {file.name for file in old.iterdir()} == {"device.anchor", "device.key", "vault.db"}


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


@pytest.mark.parametrize("number", [number for number in SAID_BY if number < 7])
def test_of_steps_before_kinds_were_counted_it_is_known_where_something_was_bought(tmp_path, number):
    with opened(old_vault(tmp_path / "old", number)) as device:
        history, step = device._state.history, device.n_closed_steps
        assert history.kinds is not None and (history.amount > 0).any()
        np.testing.assert_array_equal(history.kinds[EventKind.PURCHASE], history.amount > 0)
        assert not history.kinds[: EventKind.PURCHASE].any()
        assert device.record(view(step, 2, EventKind.CART))
        assert device._state.open_kinds[EventKind.CART, 2] == 1
    with opened(tmp_path / "old") as device:
        np.testing.assert_array_equal(device._state.history.kinds, history.kinds)
        assert device._state.open_kinds[EventKind.CART, 2] == 1


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
        if killed_on_the_way:
            os._exit(0)
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
        os._exit(0 if device.record(view(0)) else 1)

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
