"""No older or other copy of a database opens beside its anchor, whenever its process died."""

import shutil
from pathlib import Path

import pytest

from client.vault.anchor import Anchor, expect_newest
from client.vault.keys import FileKeys
from client.vault.store import Store
from shared.errors import VaultReadOnly, VaultRolledBack
from tests.client.vault.test_store import POWER, PROCESS, opened


class Died(Exception):
    """Stands for a process that is killed."""


def write(store: Store, payload: bytes) -> None:
    with store.transaction(POWER):
        store.put("ledger", 1, payload)


def die_between_commit_and_anchor(store: Store, payload: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(FileKeys, "advance", killed)
        with pytest.raises(Died):
            write(store, payload)
    store.close()


def database(folder: Path, into: Path) -> None:
    """Put the database of one folder into another, without the key's files."""
    into.mkdir(exist_ok=True)
    for place, copy in ((into, False), (folder, True)):
        for file in place.glob(f"{Store.FILE}*"):
            shutil.copy(file, into) if copy else file.unlink()


def test_a_copy_of_the_same_number_from_another_chain_is_noticed(tmp_path, monkeypatch):
    """Died after a cheap write that was never handed out, went on from the copy before it with a dear one that was: the
    cheap one has the anchor's number, and must not come back."""
    home, base, fork = (tmp_path / name for name in ("home", "base", "fork"))
    store = opened(home)
    write(store, b"spent 0")
    store.close()
    database(home, base)
    die_between_commit_and_anchor(opened(home), b"spent 1", monkeypatch)
    database(home, fork)
    database(base, home)
    store = opened(home)
    write(store, b"spent 100")
    store.close()
    dear = tmp_path / "dear"
    database(home, dear)
    for older in (fork, base):
        database(older, home)
        with pytest.raises(VaultRolledBack):
            opened(home)
    database(dear, home)
    assert opened(home).row("ledger", 1) == b"spent 100"


@pytest.mark.parametrize("events_after", [0, 3])
def test_one_write_ahead_opens_and_raises_the_anchor(tmp_path, monkeypatch, events_after):
    home, base = tmp_path / "home", tmp_path / "base"
    store = opened(home)
    write(store, b"spent 0")
    store.close()
    database(home, base)
    store = opened(home)
    with monkeypatch.context() as patch:
        patch.setattr(FileKeys, "advance", lambda *_: (_ for _ in ()).throw(VaultReadOnly("no")))
        with pytest.raises(VaultReadOnly):
            write(store, b"spent 1")
        for _ in range(events_after):
            with store.transaction(PROCESS):
                store.append("events", b"x")
    store.close()
    store = opened(home)
    assert store.row("ledger", 1) == b"spent 1"
    store.close()
    database(base, home)
    with pytest.raises(VaultRolledBack):
        opened(home)


def test_an_older_anchor_beside_a_newer_database_is_noticed(tmp_path):
    store = opened(tmp_path)
    write(store, b"spent 0")
    kept = (tmp_path / FileKeys.ANCHOR_FILE).read_bytes()
    for i in range(1, 3):
        write(store, b"spent %d" % i)
    store.close()
    (tmp_path / FileKeys.ANCHOR_FILE).write_bytes(kept)
    with pytest.raises(VaultRolledBack):
        opened(tmp_path)


def test_a_database_is_at_its_anchor_or_one_write_ahead_of_it():
    first = Anchor().then(b"a")
    second, other = first.then(b"b"), first.then(b"c")
    third = second.then(b"d")
    for kept, here, before in ((first, first, Anchor().tip), (first, second, first.tip), (second, third, second.tip)):
        expect_newest(kept, here, before)
    for kept, here, before in (
        (second, first, Anchor().tip),
        (second, other, first.tip),
        (other, third, second.tip),
        (first, third, second.tip),
        (Anchor(), second, first.tip),
    ):
        with pytest.raises(VaultRolledBack):
            expect_newest(kept, here, before)
