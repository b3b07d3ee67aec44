"""The offline key that signs enrolment, as a file: made once, for its owner only, never in the place of another."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from shared.errors import ConfigError
from shared.files import private_folder
from shared.secure_sum.epoch import read_at_most

_MOST_KEY_BYTES: Final = 1 << 12
#: OpenSSL takes passphrases of 1,023 bytes (`cryptography` refuses longer ones).
_MOST_PASSPHRASE_BYTES: Final = 1000


def make_key(file: Path, passphrase: bytes | None) -> Ed25519PrivateKey:
    """A fresh key in a file that was not there: PEM, PKCS 8, mode 0600, encrypted under a passphrase if there is one; on disk
    when this returns. ConfigError if something is there already; whatever fails, nothing is left."""
    key = Ed25519PrivateKey.generate()
    how: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    private_folder(file.parent)
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(
            f"expected a free place, but {file} is there: a key that apps pinned cannot be made again"
        ) from None
    try:
        with os.fdopen(number, "wb") as out:
            os.fchmod(number, 0o600)  # whatever the umask took away
            out.write(data)
            out.flush()
            os.fsync(number)
    except BaseException:
        file.unlink()
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return key


def read_key(file: Path, passphrase: bytes | None) -> Ed25519PrivateKey:
    """The key in a file; ConfigError if it holds anything else, is open to others, or the passphrase is not its own."""
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise ConfigError(f"expected {file} to be open to its owner only (chmod 600)")
    data = read_at_most(file, _MOST_KEY_BYTES)
    try:
        key = load_pem_private_key(data, passphrase)
    except TypeError:
        asked = "no passphrase: it is not encrypted" if passphrase else "its passphrase: --passphrase-file FILE"
        raise ConfigError(f"expected, for {file}, {asked}") from None
    except ValueError:
        raise ConfigError(f"expected an Ed25519 private key in {file}, as PEM, and its passphrase") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"expected an Ed25519 private key in {file}, got another kind")
    return key


def read_passphrase(file: Path | None) -> bytes | None:
    """The first line of a file, without its end; None without a file. ConfigError for an empty one, more lines, or more than
    1,000 bytes."""
    if file is None:
        return None
    line, _, more = read_at_most(file, _MOST_PASSPHRASE_BYTES + 2).partition(b"\n")
    line = line.removesuffix(b"\r")
    if not line or more or len(line) > _MOST_PASSPHRASE_BYTES:
        raise ConfigError(f"expected one line of 1 to {_MOST_PASSPHRASE_BYTES} bytes in {file}")
    return line


def public_half(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes that apps pin."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
