"""The key in two files: wrapped under a passphrase, an anchor that never falls, destroyed for good; nothing printed."""

import errno
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.vault import keys as keys_module
from client.vault.anchor import TIP_BYTES, Anchor
from client.vault.keys import FileKeys
from client.vault.stretching import Cost
from shared.errors import ConfigError, KeyDamaged, KeyMissing, VaultReadOnly, VaultRolledBack, WrongKey
from tests.world.basics import cheap_keys, examples
from tests.world.hostile import HOSTILE
from tests.world.spellings import spelled, value_of

DATA_KEY = bytes(range(32))


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs, no handler catches it."""


def test_a_data_key_goes_round_also_after_a_restart(tmp_path):
    keys = cheap_keys(tmp_path)
    assert not keys.exists()
    wrapped = keys.wrap(DATA_KEY)
    assert keys.exists() and keys.unwrap(wrapped) == DATA_KEY
    assert cheap_keys(tmp_path).unwrap(wrapped) == DATA_KEY
    assert DATA_KEY not in wrapped
    assert keys.wrap(DATA_KEY) != wrapped, "a nonce of its own"
    assert {f.name for f in tmp_path.iterdir()} == {FileKeys.KEY_FILE, FileKeys.ANCHOR_FILE}
    assert all(f.stat().st_mode & 0o077 == 0 for f in tmp_path.iterdir()), "nobody else may read them"


def test_another_passphrase_or_another_key_is_the_wrong_key(tmp_path):
    (tmp_path / "a").mkdir()
    wrapped = cheap_keys(tmp_path / "a").wrap(DATA_KEY)
    with pytest.raises(WrongKey):
        cheap_keys(tmp_path / "a", b"battery staple").unwrap(wrapped)
    (tmp_path / "b").mkdir()
    other = cheap_keys(tmp_path / "b")
    other.wrap(DATA_KEY)
    with pytest.raises(WrongKey):
        other.unwrap(wrapped)
    for damaged in (b"", wrapped[:5], wrapped[:-1], wrapped[:-1] + bytes([wrapped[-1] ^ 1])):
        with pytest.raises(WrongKey):
            cheap_keys(tmp_path / "a").unwrap(damaged)


@examples(40)
@given(st.data())
def test_a_cut_or_flipped_key_file_is_damaged_and_no_other_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("keys")
    wrapped = cheap_keys(folder).wrap(DATA_KEY)
    file = folder / FileKeys.KEY_FILE
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:at]
    else:
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(bytes(content))
    with pytest.raises(KeyDamaged):
        cheap_keys(folder).unwrap(wrapped)


def with_fields(**changes):
    """What a key file's fields would be, with some of them changed."""
    names = ("magic", "version", "n", "r", "p", "salt", "sealed")
    return lambda fields: list({**dict(zip(names, fields, strict=True)), **changes}.values())


@pytest.mark.parametrize(
    "change",
    [
        lambda _: [],
        lambda _: 7,
        lambda fields: fields[:-1],
        lambda fields: [*fields, 0],
        with_fields(magic="another key"),
        with_fields(magic=b"ebbtide key"),
        with_fields(version=2),
        with_fields(n=0),
        with_fields(n=3),
        with_fields(n=-2),
        with_fields(n=1 << 62),
        with_fields(n="2"),
        with_fields(n=2.0),
        with_fields(n=True),
        with_fields(r=0),
        with_fields(r=1 << 40),
        with_fields(p=0),
        with_fields(p=1 << 40),
        with_fields(salt="x" * 16),
        with_fields(salt=bytes(2000)),
        with_fields(sealed=b""),
        with_fields(sealed=bytes(61)),
        with_fields(sealed=None),
    ],
)
def test_a_key_file_that_asks_for_anything_else_is_damaged_and_costs_nothing(tmp_path, change):
    """Its hash is right: whoever can write the file can make one."""
    wrapped = cheap_keys(tmp_path).wrap(DATA_KEY)
    file = tmp_path / FileKeys.KEY_FILE
    body = spelled(change(value_of(file.read_bytes()[32:])))
    file.write_bytes(hashlib.sha256(body).digest() + body)
    with pytest.raises(KeyDamaged):
        cheap_keys(tmp_path).unwrap(wrapped)


@pytest.mark.parametrize("shape", HOSTILE)
def test_a_key_file_that_is_made_to_cost_is_damaged(tmp_path, shape):
    wrapped = cheap_keys(tmp_path).wrap(DATA_KEY)
    for n in (100, 1 << 20):
        body = HOSTILE[shape](n)
        (tmp_path / FileKeys.KEY_FILE).write_bytes(hashlib.sha256(body).digest() + body)
        with pytest.raises(KeyDamaged):
            cheap_keys(tmp_path).unwrap(wrapped)


def test_a_missing_key_file_is_missing(tmp_path):
    wrapped = cheap_keys(tmp_path).wrap(DATA_KEY)
    (tmp_path / FileKeys.KEY_FILE).unlink()
    with pytest.raises(KeyMissing):
        cheap_keys(tmp_path).unwrap(wrapped)


@pytest.mark.parametrize(
    "cost", [{"n": 3}, {"n": 1}, {"r": 0}, {"p": 0}, {"n": 1 << 24}, {"p": 17}, {"n": 2.0}, {"n": 1 << 10, "r": True}]
)
def test_a_cost_that_scrypt_does_not_know_is_refused(tmp_path, cost):
    with pytest.raises(ConfigError, match="scrypt"):
        FileKeys(tmp_path, b"x", **cost)


def test_no_passphrase_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="passphrase"):
        FileKeys(tmp_path, b"")


# ---- the cost of a passphrase


def cost_of(folder: Path) -> list[int]:
    """What the key file says."""
    return value_of((folder / FileKeys.KEY_FILE).read_bytes()[32:])[2:5]


def test_the_default_cost_is_what_is_recommended_today_and_a_dearer_file_is_never_made_cheaper(tmp_path):
    assert (1 << 17, 8, 1) == Cost() == FileKeys(tmp_path, b"secret")._cost
    wrapped = FileKeys(tmp_path, b"secret", n=1 << 8, r=4, p=4).wrap(DATA_KEY)
    before = (tmp_path / FileKeys.KEY_FILE).read_bytes()
    for less in (
        {"n": 2, "r": 1, "p": 1},
        {"n": 1 << 8, "r": 4, "p": 1},
        {"n": 1 << 9, "r": 4, "p": 1},
        {"n": 1 << 7, "r": 4, "p": 16},
    ):
        keys = FileKeys(tmp_path, b"secret", **less)
        assert keys.unwrap(wrapped) == DATA_KEY, "opened at the cost that it was made with"
        assert (tmp_path / FileKeys.KEY_FILE).read_bytes() == before, less


def test_a_cheaper_key_file_is_stretched_anew_when_it_is_opened_with_the_right_passphrase(tmp_path):
    """Key and anchor stay; all of it happens once."""
    wrapped = cheap_keys(tmp_path).wrap(DATA_KEY)
    cheap_keys(tmp_path).advance(anchor(3))
    kept = (tmp_path / FileKeys.ANCHOR_FILE).read_bytes()
    with pytest.raises(WrongKey):
        FileKeys(tmp_path, b"battery staple", n=1 << 4, r=2, p=1).unwrap(wrapped)
    assert cost_of(tmp_path) == [2, 1, 1], "by the right passphrase alone"
    for n in (1 << 4, 1 << 6):
        assert FileKeys(tmp_path, b"correct horse", n=n, r=2, p=1).unwrap(wrapped) == DATA_KEY
        assert cost_of(tmp_path) == [n, 2, 1]
        written = (tmp_path / FileKeys.KEY_FILE).read_bytes()
        FileKeys(tmp_path, b"correct horse", n=n, r=2, p=1).unwrap(wrapped)
        assert (tmp_path / FileKeys.KEY_FILE).read_bytes() == written
    keys = cheap_keys(tmp_path)
    assert keys.unwrap(wrapped) == DATA_KEY and keys.anchor() == anchor(3)
    assert (tmp_path / FileKeys.ANCHOR_FILE).read_bytes() == kept
    with pytest.raises(WrongKey):
        cheap_keys(tmp_path, b"battery staple").unwrap(wrapped)
    assert {f.name: f.stat().st_mode & 0o077 for f in tmp_path.iterdir()} == {"device.key": 0, "device.anchor": 0}


@pytest.mark.parametrize("error", ["killed", "full"])
@pytest.mark.parametrize("nth", range(4))
def test_a_key_file_that_cannot_be_stretched_anew_opens_as_it_is_and_is_tried_again(tmp_path, monkeypatch, nth, error):
    """At each step of writing it: the old file is there or the new one, and nothing beside it after the next opening."""
    wrapped = cheap_keys(tmp_path).wrap(DATA_KEY)
    calls, real = iter(range(100)), {name: getattr(os, name) for name in ("open", "fsync", "replace")}
    armed = [False]

    def failing(name):
        def call(*arguments):
            if armed[0] and next(calls) == nth:
                raise Killed if error == "killed" else OSError(errno.ENOSPC, "no space")
            return real[name](*arguments)

        return call

    def dear() -> FileKeys:
        return FileKeys(tmp_path, b"correct horse", n=4, r=1, p=1)

    with monkeypatch.context() as patch:
        for name in real:
            patch.setattr(keys_module.os, name, failing(name))
        armed[0] = True
        try:
            assert dear().unwrap(wrapped) == DATA_KEY
        except Killed:
            assert error == "killed"
        armed[0] = False
    if error == "full":
        assert {file.name for file in tmp_path.iterdir()} == {FileKeys.KEY_FILE, FileKeys.ANCHOR_FILE}
    else:
        (tmp_path / "device.key.new").write_bytes(b"half a key")  # what SIGKILL leaves
    for keys in (dear(), dear()):
        assert keys.unwrap(wrapped) == DATA_KEY and cost_of(tmp_path) == [4, 1, 1]
    assert {file.name for file in tmp_path.iterdir()} == {FileKeys.KEY_FILE, FileKeys.ANCHOR_FILE}


@pytest.mark.parametrize(
    "cost",
    [(1 << 24, 8, 1), (2, 1, 1 << 30), (1 << 17, 8, 17), (3, 1, 1), (2, 1, 0), (2.0, 1, 1), (2, True, 1), (2, 1, b"")],
)
def test_a_planted_key_file_costs_no_more_than_the_bounds_allow(tmp_path, cost):
    """Damaged by name, before any of it is computed."""
    wrapped = cheap_keys(tmp_path).wrap(DATA_KEY)
    file = tmp_path / FileKeys.KEY_FILE
    magic, version, *_, salt, sealed = value_of(file.read_bytes()[32:])
    body = spelled([magic, version, *cost, salt, sealed])
    file.write_bytes(hashlib.sha256(body).digest() + body)
    with pytest.raises(KeyDamaged):
        cheap_keys(tmp_path).unwrap(wrapped)


def anchor(number: int, chain: int = 0) -> Anchor:
    """Some anchor of a number, on one of several chains."""
    return Anchor(number, bytes([chain]) * TIP_BYTES) if number else Anchor()


@given(st.lists(st.tuples(st.integers(0, 2**63) | st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=12))
def test_the_anchor_only_rises_stays_on_its_chain_and_survives_a_restart(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("keys")
    keys = cheap_keys(folder)
    keys.wrap(DATA_KEY)
    highest = Anchor()
    for step in (anchor(*step) for step in steps):
        if step.number < highest.number or (step.number == highest.number and step != highest):
            with pytest.raises(VaultRolledBack):
                keys.advance(step)
        else:
            keys.advance(step)
            highest = step
        assert keys.anchor() == cheap_keys(folder).anchor() == highest


def test_a_write_of_the_anchor_that_is_cut_off_leaves_the_one_before(tmp_path):
    keys = cheap_keys(tmp_path)
    keys.wrap(DATA_KEY)
    for number in (7, 8):
        keys.advance(anchor(number))
    file = tmp_path / FileKeys.ANCHOR_FILE
    whole = file.read_bytes()
    for at in (0, 512):
        torn = bytearray(whole)
        torn[at + 3 : at + 20] = os.urandom(17)
        file.write_bytes(bytes(torn))
        assert cheap_keys(tmp_path).anchor() in (anchor(7), anchor(8))
    file.write_bytes(os.urandom(len(whole)))
    with pytest.raises(KeyDamaged):
        cheap_keys(tmp_path).anchor()
    file.unlink()
    with pytest.raises(KeyDamaged):
        cheap_keys(tmp_path).anchor()


def test_a_number_that_nobody_signed_is_no_anchor(tmp_path):
    keys = cheap_keys(tmp_path)
    keys.wrap(DATA_KEY)
    keys.advance(anchor(5))
    file = tmp_path / FileKeys.ANCHOR_FILE
    forged = bytearray(file.read_bytes())
    forged[0:8] = (3).to_bytes(8, "little")
    forged[512:520] = (4).to_bytes(8, "little")
    file.write_bytes(bytes(forged))
    with pytest.raises(KeyDamaged):
        cheap_keys(tmp_path).anchor()


def test_destroyed_is_overwritten_removed_and_stays_so(tmp_path, monkeypatch):
    keys = cheap_keys(tmp_path)
    wrapped = keys.wrap(DATA_KEY)
    secret, overwritten = (tmp_path / FileKeys.KEY_FILE).read_bytes(), []
    unlink = type(tmp_path).unlink
    monkeypatch.setattr(
        type(tmp_path),
        "unlink",
        lambda file, **how: (overwritten.extend([file.read_bytes()] if file.exists() else []), unlink(file, **how))[1],
    )
    keys.destroy()
    assert len(overwritten) == 2 and secret not in overwritten, "random bytes lie there before the name goes"
    assert list(tmp_path.iterdir()) == [] and not keys.exists()
    for gone in (keys, cheap_keys(tmp_path)):
        with pytest.raises(KeyMissing):
            gone.unwrap(wrapped)
    keys.destroy()
    with pytest.raises(KeyMissing):
        keys.wrap(DATA_KEY)


@pytest.mark.parametrize("nth", [0, 1, 2, 3])
def test_killed_while_the_key_is_made_there_is_a_whole_key_or_none(tmp_path, monkeypatch, nth):
    """Each file is written beside its place, synced, and moved there; the key's last."""
    calls = iter(range(100))
    real = {"fsync": os.fsync, "replace": os.replace}

    def killed_at(name):
        def call(*arguments):
            if next(calls) == nth:
                raise Killed
            return real[name](*arguments)

        return call

    with monkeypatch.context() as patch:
        for name in real:
            patch.setattr(keys_module.os, name, killed_at(name))
        with pytest.raises(Killed):
            cheap_keys(tmp_path).wrap(DATA_KEY)
    keys = cheap_keys(tmp_path)
    assert not keys.exists() or keys.anchor() == Anchor()
    assert keys.unwrap(keys.wrap(DATA_KEY)) == DATA_KEY


def test_what_cannot_be_written_is_a_named_error(tmp_path):
    with pytest.raises(VaultReadOnly):
        cheap_keys(tmp_path / "nowhere").wrap(DATA_KEY)
    keys = cheap_keys(tmp_path)
    keys.wrap(DATA_KEY)
    (tmp_path / FileKeys.ANCHOR_FILE).unlink()
    with pytest.raises(KeyDamaged):
        keys.advance(anchor(1))


def test_no_secret_is_printed(tmp_path):
    keys = FileKeys(tmp_path, b"a passphrase that nobody may see", n=2, r=1, p=1)
    keys.wrap(DATA_KEY)
    for text in (repr(keys), str(keys), f"{keys!r}"):
        assert text == "FileKeys(<secret>)"
    for error in (WrongKey, KeyDamaged):
        try:
            FileKeys(tmp_path, b"another passphrase", n=2, r=1, p=1).unwrap(b"x" * 60)
        except error as caught:
            assert "another" not in str(caught).replace("got another", "") and str(tmp_path) not in str(caught)
            break
    else:
        pytest.fail("expected a WrongKey")
