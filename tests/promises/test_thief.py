"""A thief who can write to the disk, at the files of a whole device: each attempt has a named error and destroys nothing, or
is one of the two that the docs say go unnoticed."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from client.device import Device
from client.refusals import answer_forgotten
from client.vault.consent import Consent
from client.vault.erasure import DUE, MARKER, TOLD
from client.vault.header import Header
from client.vault.keys import FileKeys
from client.vault.store import Store
from shared.codec import decode
from shared.errors import (
    Forgotten,
    KeyDamaged,
    KeyMissing,
    RefusalCode,
    RowsPutBack,
    VaultDamaged,
    VaultError,
    VaultRolledBack,
    WrongKey,
)
from shared.messages import REGISTER
from tests.client.test_gate import paid
from tests.world.basics import cheap_keys, event_stream, make_plan, make_profile, open_device, ready
from tests.world.signing import SERVER_KEY

KEY, ANCHOR = FileKeys.KEY_FILE, FileKeys.ANCHOR_FILE


def changed(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / Store.FILE, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


@pytest.fixture(scope="module")
def lives(tmp_path_factory) -> dict[str, Path]:
    """One device's folder, at two moments of its life, and another device's."""
    place = tmp_path_factory.mktemp("lives")
    device = ready(open_device(place / "now", make_profile(Consent.IDENTIFIED)), make_plan())
    for event in event_stream(np.random.default_rng(0), 9):
        assert device.record(event)
    paid(device, bytes(32), 0)
    device.close()
    shutil.copytree(place / "now", place / "before")
    with open_device(place / "now") as device:
        for number in (1, 2):
            paid(device, bytes([number]) * 32, number)
        assert device.close_until(12)
    with open_device(place / "other", make_profile(Consent.IDENTIFIED, number=8)) as device:
        paid(device, bytes(32), 0)
        paid(device, bytes([1]) * 32, 1)
    return {folder.name: folder for folder in place.iterdir()}


def put_back(*names: str, of: str = "before") -> Callable[[Path, dict[str, Path]], None]:
    """Files of another moment, or of another device, in place of these."""

    def attempt(folder: Path, lives: dict[str, Path]) -> None:
        for name in names:
            shutil.copy(lives[of] / name, folder / name)

    return attempt


def rows_put_back(table: str) -> Callable[[Path, dict[str, Path]], None]:
    def attempt(folder: Path, lives: dict[str, Path]) -> None:
        with closing(sqlite3.connect(lives["before"] / Store.FILE)) as old:
            rows = old.execute(f"SELECT * FROM {table}").fetchall()
        with closing(sqlite3.connect(folder / Store.FILE)) as database, database:
            database.executemany(f"REPLACE INTO {table} VALUES (?, ?, ?)", rows)

    return attempt


def said(*statements: str) -> Callable[[Path, dict[str, Path]], None]:
    return lambda folder, _: changed(folder, *statements)


def removed(name: str) -> Callable[[Path, dict[str, Path]], None]:
    return lambda folder, _: (folder / name).unlink()


def planted(content: bytes) -> Callable[[Path, dict[str, Path]], None]:
    return lambda folder, _: (folder / MARKER).write_bytes(content) and None


def planted_with_the_wrapped_data_key(folder: Path, _: dict[str, Path]) -> None:
    """Something that this key did wrap, and that lies in clear in the file."""
    with closing(sqlite3.connect(folder / Store.FILE)) as database:
        (wrapped,) = database.execute("SELECT wrapped FROM header").fetchone()
    (folder / MARKER).write_bytes(DUE + SERVER_KEY + wrapped)


ATTEMPTS = {
    "an older database": (put_back(Store.FILE), VaultRolledBack),
    "an older anchor": (put_back(ANCHOR), VaultRolledBack),
    "another device's database": (put_back(Store.FILE, of="other"), VaultError),
    "another device's key": (put_back(KEY, of="other"), VaultError),
    "another device's anchor": (put_back(ANCHOR, of="other"), KeyDamaged),
    "another device's key and anchor": (put_back(KEY, ANCHOR, of="other"), WrongKey),
    "no anchor": (removed(ANCHOR), KeyDamaged),
    "no key": (removed(KEY), KeyMissing),
    "no database": (removed(Store.FILE), VaultRolledBack),
    "an older ledger row": (rows_put_back("ledger"), RowsPutBack),
    "older heads": (rows_put_back("heads"), VaultRolledBack),
    "an older watch": (rows_put_back("watch"), RowsPutBack),
    "the newest journal entry deleted": (said("DELETE FROM journal WHERE id = (SELECT max(id) FROM journal)"), RowsPutBack),
    "two rows swapped": (
        said(*(f"UPDATE counters SET id = {to} WHERE id = {at}" for at, to in ((0, -1), (1, 0), (-1, 1)))),
        VaultDamaged,
    ),
    "a row of another table": (said("UPDATE watch SET (version, sealed) = (SELECT version, sealed FROM ledger)"), VaultDamaged),
    "a trigger": (said("CREATE TRIGGER t AFTER UPDATE ON ledger BEGIN DELETE FROM journal; END"), VaultDamaged),
    "a view": (said("CREATE VIEW v AS SELECT 1"), VaultDamaged),
    "a marker": (planted(DUE + bytes(32)), VaultDamaged),
    "a marker for this server": (planted(DUE + SERVER_KEY), VaultDamaged),
    "a marker that was told": (planted(TOLD + SERVER_KEY + bytes(69)), VaultDamaged),
    "an empty marker": (planted(b""), VaultDamaged),
    "a marker with the wrapped data key": (planted_with_the_wrapped_data_key, VaultDamaged),
    "a folder for a marker": (lambda folder, _: (folder / MARKER).mkdir(), VaultDamaged),
}  # fmt: skip


def kept(folder: Path) -> dict[str, bytes]:
    """The files that nothing brings back."""
    return {name: (folder / name).read_bytes() for name in (KEY, ANCHOR, MARKER) if (folder / name).is_file()}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_an_attempt_at_the_files_has_a_name_and_destroys_nothing(lives, tmp_path, name):
    """Twice: the first opening mends nothing, and leaves key, anchor and marker as they are."""
    attempt, error = ATTEMPTS[name]
    folder = Path(shutil.copytree(lives["now"], tmp_path / "device"))
    attempt(folder, lives)
    left = kept(folder)
    for _ in range(2):
        with pytest.raises(error) as refused:
            open_device(folder)
        assert refused.type is error or error is VaultError
        assert str(folder) not in str(refused.value)
    assert kept(folder) == left


def test_a_marker_that_a_thief_planted_can_be_taken_away_again_or_believed(lives, tmp_path):
    folder = Path(shutil.copytree(lives["now"], tmp_path / "device"))
    (folder / MARKER).write_bytes(DUE + bytes(32))
    with pytest.raises(VaultDamaged, match="holder of this vault's key"):
        open_device(folder)
    (folder / MARKER).unlink()
    with open_device(folder) as device:
        assert device.n_closed_steps == 12
        (folder / MARKER).write_bytes(DUE + bytes(32))
        assert device.forget(), "the owner's own word takes the place of it"
    assert [file.name for file in folder.iterdir()] == [MARKER]
    assert (folder / MARKER).read_bytes().startswith(DUE + SERVER_KEY)
    with pytest.raises(Forgotten):
        open_device(folder)


@pytest.mark.parametrize("passphrase", [b"correct horse", b"battery staple"])
def test_a_device_that_does_not_open_for_a_planted_marker_can_be_forgotten(lives, tmp_path, passphrase):
    """Also by who has lost the passphrase: then the marker bears no proof, and the key is gone all the same."""
    folder = Path(shutil.copytree(lives["now"], tmp_path / "device"))
    (folder / MARKER).write_bytes(DUE + bytes(32))
    assert Device.forget_at(folder, cheap_keys(folder, passphrase), SERVER_KEY)
    assert [file.name for file in folder.iterdir()] == [MARKER]
    with pytest.raises(Forgotten):
        open_device(folder)
    assert decode(REGISTER, answer_forgotten(folder, b"canary")) == ("refusal", {"code": int(RefusalCode.SIGNATURE)})


def test_what_the_key_wrapped_for_a_marker_is_no_data_key(lives, tmp_path, monkeypatch):
    """Nobody gets a vault sealed under words that they know, from a copy that was taken while it was being forgotten."""
    folder = Path(shutil.copytree(lives["now"], tmp_path / "device"))
    device = open_device(folder)
    with monkeypatch.context() as patch:
        patch.setattr(FileKeys, "destroy", lambda keys: shutil.copytree(folder, tmp_path / "copy"))
        device.forget()
    copy = tmp_path / "copy"
    proof = (copy / MARKER).read_bytes()[len(DUE) + len(SERVER_KEY) :]
    (copy / MARKER).unlink()
    with closing(sqlite3.connect(copy / Store.FILE)) as database, database:
        row = database.execute("SELECT format FROM header").fetchone()
        database.execute("UPDATE header SET format = ?, wrapped = ?, sha256 = ?", Header(row[0], proof).row)
    with pytest.raises(VaultDamaged, match="data key"):
        open_device(copy)
