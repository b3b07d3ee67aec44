"""The server's key, and what it signs: everything that it asks of a device."""

from __future__ import annotations

import os
import stat
import tempfile
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


class Signer:
    """Signs requests with one key (Ed25519, RFC 8032), at the time that its clock shows."""

    def __init__(self, key: Ed25519PrivateKey, clock: Clock) -> None:
        self._key, self._clock = key, clock

    def sign(self, body: bytes) -> bytes:
        """The signed envelope of a request's canonical bytes: one for everybody who is asked the same."""
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
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise ConfigError(f"expected {file} to be open to its owner only (chmod 600)")
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError):
        raise ConfigError(f"expected an Ed25519 private key in {file}, as PEM without a passphrase") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"expected an Ed25519 private key in {file}, got another kind")
    return key


def _make(file: Path) -> None:
    """Write a fresh key; on disk, power loss included, before it has its name. One that is there already stays."""
    file.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=file.parent, prefix=f"{file.name}.")  # readable by its owner only
    fresh = Path(name)
    try:
        with os.fdopen(number, "wb") as out:
            out.write(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            out.flush()
            os.fsync(out.fileno())
        try:
            os.link(fresh, file)
        except FileExistsError:
            pass
        except OSError:  # a disk without hard links: one writer at a time, which the run's lock sees to
            if not file.exists():
                fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
