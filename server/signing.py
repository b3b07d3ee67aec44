"""The server's key, and what it signs: everything that it asks of a device."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from shared.clock import Clock
from shared.envelope import wrap
from shared.errors import ConfigError
from shared.files import private_folder

from .run_log.log import RunLog, digest


class Signer:
    """Signs requests with one key (Ed25519, RFC 8032), at the time that its clock shows. With a `log`, nothing is signed that is not
    a leaf of it, on disk, before; and whoever is asked is told the log's head."""

    def __init__(self, key: Ed25519PrivateKey, clock: Clock, log: RunLog | None = None) -> None:
        self._key, self._clock, self.log = key, clock, log

    def sign(self, body: bytes, name: str = "") -> bytes:
        """The signed envelope of the canonical bytes of a request of that name: one for everybody who is asked the same."""
        if self.log is not None:
            self.log.add("request", name=name, sha256=digest(body))
        return wrap(body, int(self._clock.now_s()), self._key.sign, self.log.head if self.log else None)

    def sign_unwitnessed(self, body: bytes) -> bytes:
        """The envelope of a body that was signed before, for devices that know no log."""
        return wrap(body, int(self._clock.now_s()), self._key.sign)


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes that devices pin."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def signing_key(file: Path) -> Ed25519PrivateKey:
    """The private key in a file (PEM, PKCS 8); made there, durably, if there is none yet.

    ConfigError if the file holds anything else, or if others than its owner may read or write it: devices trust whoever
    has this key, and it cannot be replaced on a device that pinned its public half.
    """
    if not file.exists():
        _make(file)
    elif _fresh(file).exists():
        with suppress(OSError):
            _make(file)  # which only clears up what a killed process left
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise ConfigError(f"expected {file} to be open to its owner only (chmod 600)")
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError):
        raise ConfigError(f"expected an Ed25519 private key in {file}, as PEM without a passphrase") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"expected an Ed25519 private key in {file}, got another kind")
    return key


def _fresh(file: Path) -> Path:
    """Where a key is written before it has its name."""
    return file.with_name(f"{file.name}.new")


def _make(file: Path) -> None:
    """Write a fresh key; on disk, power loss included, before it has its name. One that is there already stays.

    Who writes holds the lock of `<name>.new`, so that two processes at once end with one key, also on a disk without hard
    links. Whatever fails, nothing of a key is left; a process that is killed leaves that file, readable by its owner
    only, and the next one that asks for the key removes it. ConfigError on a disk that locks nothing.
    """
    private_folder(file.parent)
    with _locked(_fresh(file)) as number:
        try:
            if not file.exists():
                _write(number)
                _fresh(file).rename(file)
        except BaseException:
            _fresh(file).unlink()
            raise
        if _is_at(number, _fresh(file)):  # another process's key is there
            _fresh(file).unlink()
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write(number: int) -> None:
    """A fresh key into an open file, for its owner only; on disk when this returns."""
    os.fchmod(number, 0o600)
    os.ftruncate(number, 0)
    with os.fdopen(number, "wb", closefd=False) as out:
        out.write(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    os.fsync(number)


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    """The number of an open file of that name, made if need be, which no other process has locked."""
    while True:
        number = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(number, fcntl.LOCK_EX)
            except OSError:
                file.unlink(missing_ok=True)  # empty, or what a killed process left
                raise ConfigError(f"expected a disk that can lock a file, got that of {file.parent}") from None
            if _is_at(number, file):
                yield number
                return
        finally:
            os.close(number)


def _is_at(number: int, file: Path) -> bool:
    """Whether an open file still has a name: who held its lock before may have moved or removed it."""
    try:
        return os.path.samestat(os.fstat(number), file.lstat())
    except FileNotFoundError:
        return False
