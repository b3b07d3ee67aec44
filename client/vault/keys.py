"""Who holds the key: a provider wraps the vault's data key and keeps an anchor that only rises, outside the database.

    KeyProvider          what Android's Keystore or Apple's Keychain will implement
    `-- FileKeys         the prototype: two small files, a passphrase, scrypt

The data key itself (random, 32 bytes) lies in the database, wrapped; what wraps it never does. So a copy of the database
opens nothing, and destroying the wrapping key destroys every copy of the database with it.

Edge cases. A thief who has both files *and* the passphrase has everything. The file prototype cannot notice that
database and key files were *both* put back to the same older copy: a counter in hardware can. Python cannot wipe
memory: while the device is open, its keys are in the memory of its process.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared import cbor
from shared.arguments import folder as folder_path
from shared.arguments import octets, truth
from shared.cbor import Limits
from shared.errors import (
    ConfigError,
    KeyDamaged,
    KeyMissing,
    VaultError,
    VaultFull,
    VaultReadOnly,
    VaultRolledBack,
    VaultUnwritable,
    WireError,
    WrongKey,
)

from .anchor import TIP_BYTES, Anchor
from .key_derivation import KEY_BYTES, KeyedHash, derived
from .stretching import Cost

NONCE_BYTES = 12
SALT_BYTES = 16
#: Names the machine, where there is such a file; it changes with no boot.
MACHINE_FILE = Path("/etc/machine-id")
NEW = ".new"  #: behind the name of a file that is being written

_MAGIC = "ebbtide key"
_VERSION = 1
_SEALED_BYTES = NONCE_BYTES + KEY_BYTES + 16  #: behind the key, the tag
_LIMITS = Limits(1 << 10, most_items=8, most_depth=1)  #: several times what such a file has
_ANCHOR = struct.Struct(f"<Q{TIP_BYTES}s")
_SLOT_BYTES = _ANCHOR.size + 32
_SLOT_STEP = 512  #: the two slots lie in different sectors: a write that is cut off spoils one of them at most


class KeyProvider(Protocol):
    """Wraps a data key, and keeps an anchor that never falls, in a place that a copy of the database lacks."""

    def exists(self) -> bool:
        """Whether there is a wrapping key."""
        ...

    def wrap(self, data_key: bytes) -> bytes:
        """The data key, wrapped; the first call makes the wrapping key, durably."""
        ...

    def unwrap(self, wrapped: bytes) -> bytes:
        """The data key. KeyMissing, KeyDamaged or WrongKey if it cannot be had."""
        ...

    def anchor(self) -> Anchor:
        """What the last `advance` brought, `Anchor()` before the first."""
        ...

    def advance(self, anchor: Anchor) -> None:
        """Raise the anchor, durably before it returns. VaultRolledBack if its number would fall, or stand for another
        chain."""
        ...

    def destroy(self) -> None:
        """Make every wrapped key useless for good. Can be repeated."""
        ...

    def renew(self, kept: bytes, keep: Callable[[bytes], None]) -> None:
        """Put another wrapping key in place of the one that is there, if there is one, and make all that was wrapped before useless
        for good. `keep` is handed `kept`, wrapped by the new key, before that is in force; what it raises leaves the old one."""
        ...

    def place(self) -> bytes:
        """What names the place where this provider keeps its key, of at most 64 bytes: a copy of it elsewhere has another.
        Nothing, if it cannot tell."""
        ...


def sync_folder(folder: Path) -> None:
    """Make names in a folder survive power loss."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_durably(file: Path, data: bytes) -> None:
    """Replace a file in one move, readable by its owner only; durable when it returns. Where it fails, the file is as it
    was, and nothing lies beside it; a killed process leaves `<name>.new`, which the next write takes the place of."""
    fresh = file.with_name(file.name + NEW)
    number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        try:
            with open(number, "wb", closefd=False) as out:
                out.write(data)
            os.fsync(number)
        finally:
            os.close(number)
        os.replace(fresh, file)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise
    sync_folder(file.parent)


def disk_error(error: OSError, expected: str) -> VaultError:
    """The vault's own error for one of the disk's; `expected` is what it should have taken."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return VaultFull(f"expected {expected}: the disk is full")
    if error.errno == errno.EIO:
        return VaultUnwritable(f"expected {expected}: the disk gave an error")
    return VaultReadOnly(f"expected {expected}")


class FileKeys:
    """A wrapping key in `device.key`, itself sealed under a passphrase, and the anchor in `device.anchor`.

    Scrypt turns the passphrase into a key, at the cost of `client/vault/stretching.py` unless the app asks for another.
    The cost is written into the file: it is needed to open it. AES-256-GCM seals. `waits_for_disk=False` is for
    simulations: power loss may set the anchor back.

    A file that was written at a lower cost than is asked for is stretched anew when it is next opened with the right
    passphrase, in one durable move; key and anchor stay. It is never lowered: an app that asks for less, or for more
    memory and less work, pays what the file says.

    A passphrase is bytes; a text stands for its UTF-8. ConfigError for anything else, and for none. `knows_place=False` is
    for folders that may be copied, as those of simulations: a copy is then the device itself.
    """

    KEY_FILE = "device.key"
    ANCHOR_FILE = "device.anchor"

    def __init__(
        self,
        folder: Path | str,
        passphrase: bytes | str,
        *,
        n: int = Cost().n,
        r: int = Cost().r,
        p: int = Cost().p,
        waits_for_disk: bool = True,
        knows_place: bool = True,
    ) -> None:
        self._cost = Cost(n, r, p)
        if not self._cost.is_sound:
            raise ConfigError("expected scrypt n a power of 2, r and p >= 1, up to 1 GiB and n r p up to 2^24")
        self._folder, self._passphrase = folder_path(folder, "folder"), _phrase(passphrase)
        self._key_file, self._anchor_file = self._folder / self.KEY_FILE, self._folder / self.ANCHOR_FILE
        self._waits = truth(waits_for_disk, "waits_for_disk")
        self._knows_place = truth(knows_place, "knows_place")
        self._key: bytes | None = None
        self._uses: tuple[AESGCM, KeyedHash] | None = None  #: of the key: to wrap, and to mark the anchor
        self._destroyed = False

    def __repr__(self) -> str:
        return "FileKeys(<secret>)"

    def exists(self) -> bool:
        return self._key_file.exists()

    def wrap(self, data_key: bytes) -> bytes:
        if not self.exists() and not self._destroyed:
            self._create()
        return _wrapped(self._unlocked()[0], data_key)

    def unwrap(self, wrapped: bytes) -> bytes:
        try:
            return self._unlocked()[0].decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], b"data key")
        except (InvalidTag, ValueError):
            raise WrongKey("expected the key that this vault was made with, got another") from None

    def anchor(self) -> Anchor:
        return max(slot for slot in self._slots() if slot)

    def advance(self, anchor: Anchor) -> None:
        slots = self._slots()
        now = max(slot for slot in slots if slot)
        if anchor.number < now.number or (anchor.number == now.number and anchor != now):
            raise VaultRolledBack(f"expected an anchor after {now.number}, got {anchor.number}")
        if anchor == now:
            return
        older = 0 if slots[1] == now else 1
        try:
            number = os.open(self._anchor_file, os.O_WRONLY)
        except OSError as error:
            raise disk_error(error, "to write the anchor") from None
        try:
            os.pwrite(number, self._slot(anchor), older * _SLOT_STEP)
            if self._waits:
                getattr(os, "fdatasync", os.fsync)(number)
        except OSError as error:
            raise disk_error(error, "to write the anchor") from None
        finally:
            os.close(number)

    def place(self) -> bytes:
        """The anchor's file is made once and written in place, so its number in the file system is that of no copy."""
        if not self._knows_place:
            return b""
        try:
            number = self._anchor_file.stat().st_ino
        except OSError:
            raise KeyDamaged(f"expected {self.ANCHOR_FILE} beside {self.KEY_FILE}") from None
        machine = b""
        with suppress(OSError):
            machine = MACHINE_FILE.read_bytes()
        return hashlib.sha256(b"ebbtide place 1/%d/" % number + machine).digest()

    def renew(self, kept: bytes, keep: Callable[[bytes], None]) -> None:
        if self._destroyed:
            raise ConfigError("expected keys that can make another key, got destroyed ones: make them anew")
        fresh, old = os.urandom(KEY_BYTES), list(self._opened())
        try:
            keep(_wrapped(_uses_of(fresh)[0], kept))
            self._write(fresh)  # from here on it is the key
            self._key, self._uses = fresh, _uses_of(fresh)
            self._make_anchor()
        except OSError as error:
            raise disk_error(error, "to write a key file") from None
        finally:
            for file, number in old:
                with suppress(OSError):
                    if not file.exists() or file.stat().st_ino != os.fstat(number).st_ino:
                        _overwrite(number)
                os.close(number)

    def _opened(self) -> Iterator[tuple[Path, int]]:
        """The files that are there, opened to be overwritten once others have their names."""
        for file in (self._key_file, self._anchor_file):
            with suppress(OSError):
                yield file, os.open(file, os.O_WRONLY)

    def destroy(self) -> None:
        self._key, self._uses, self._passphrase, self._destroyed = None, None, b"", True
        self._shred()

    def _shred(self) -> None:
        for file in (self._key_file, self._anchor_file, *self._folder.glob(f"device.*{NEW}")):
            with suppress(OSError):  # what cannot be overwritten can still be removed
                number = os.open(file, os.O_WRONLY)
                try:
                    _overwrite(number)
                finally:
                    os.close(number)
            file.unlink(missing_ok=True)
        with suppress(OSError):
            sync_folder(self._folder)

    # ---- the key file: SHA-256 of the rest, then [magic, version, n, r, p, salt, nonce + sealed key]

    def _create(self) -> None:
        self._key = os.urandom(KEY_BYTES)
        try:
            self._make_anchor()
            self._write(self._key)
        except OSError as error:
            self._key = self._uses = None
            raise disk_error(error, "to write a key file") from None

    def _make_anchor(self) -> None:
        """The anchor's file as it is before anything is spent; OSError."""
        write_durably(self._anchor_file, (self._slot(Anchor()).ljust(_SLOT_STEP, b"\0")) * 2)

    def _write(self, key: bytes) -> None:
        """The key file with this key, at the cost that is asked for; OSError."""
        salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
        head = [_MAGIC, _VERSION, *self._cost, salt]
        stretched = self._cost.stretched(self._passphrase, salt)
        sealed = nonce + AESGCM(stretched).encrypt(nonce, key, cbor.encode(head, _LIMITS))
        body = cbor.encode([*head, sealed], _LIMITS)
        write_durably(self._key_file, hashlib.sha256(body).digest() + body)

    def _unlocked(self) -> tuple[AESGCM, KeyedHash]:
        if self._uses is None:
            self._key = self._key or self._read()
            self._uses = _uses_of(self._key)
        return self._uses

    def _read(self) -> bytes:
        try:
            data = self._key_file.read_bytes()
        except FileNotFoundError:
            raise KeyMissing(f"expected {self.KEY_FILE}: it is missing") from None
        except OSError:
            raise KeyMissing(f"expected {self.KEY_FILE}: it cannot be read") from None
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            raise KeyDamaged(f"expected {self.KEY_FILE} as it was written: it is cut or changed")
        try:
            fields = cbor.decode(data[32:], _LIMITS)
        except WireError:
            fields = None
        if not _is_sound(fields):
            raise KeyDamaged(f"expected {self.KEY_FILE} of version {_VERSION}")
        *head, sealed = fields
        cost, salt = Cost(*head[2:5]), head[5]
        cipher, bound = AESGCM(cost.stretched(self._passphrase, salt)), cbor.encode(head, _LIMITS)
        try:
            key = cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)
        except InvalidTag:
            raise WrongKey("expected the passphrase of this key file, got another") from None
        with suppress(OSError, MemoryError):  # the disk takes no write, or no such memory: the next opening tries again
            if cost.is_below(self._cost):
                self._write(key)
            else:
                self._key_file.with_name(self.KEY_FILE + NEW).unlink(missing_ok=True)  # a killed process left it
        return key

    # ---- the anchor file: two slots, written in turn

    def _slot(self, anchor: Anchor) -> bytes:
        body = _ANCHOR.pack(*anchor)
        return body + self._unlocked()[1](body)

    def _slots(self) -> tuple[Anchor | None, Anchor | None]:
        """The two anchors, None for a slot that does not verify; KeyDamaged if neither does."""
        try:
            data = self._anchor_file.read_bytes()
        except OSError:
            raise KeyDamaged(f"expected {self.ANCHOR_FILE} beside {self.KEY_FILE}") from None
        first, second = (self._anchor_in(data[at : at + _SLOT_BYTES]) for at in (0, _SLOT_STEP))
        if not (first or second):
            raise KeyDamaged(f"expected {self.ANCHOR_FILE} as it was written: it is cut or changed")
        return first, second

    def _anchor_in(self, slot: bytes) -> Anchor | None:
        if len(slot) != _SLOT_BYTES:
            return None
        anchor = Anchor(*_ANCHOR.unpack_from(slot))
        return anchor if self._slot(anchor) == slot else None


def _uses_of(key: bytes) -> tuple[AESGCM, KeyedHash]:
    """What a key is used for: to wrap, and to mark the anchor."""
    wrap, anchor = derived(key, b"ebbtide device key 1", 2)
    return AESGCM(wrap), KeyedHash(anchor)


def _wrapped(cipher: AESGCM, data_key: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, data_key, b"data key")


def _overwrite(number: int) -> None:
    """Put random bytes in place of a file's; OSError."""
    os.pwrite(number, os.urandom(os.fstat(number).st_size), 0)
    os.fsync(number)


def _phrase(passphrase: object) -> bytes:
    """A passphrase as bytes; ConfigError, which does not show it, for what is none."""
    try:
        phrase = passphrase.encode() if isinstance(passphrase, str) else octets(passphrase, "a passphrase")
    except UnicodeEncodeError:
        raise ConfigError("expected a passphrase that is a text, got half a character") from None
    if not phrase:
        raise ConfigError("expected a passphrase, got none")
    return phrase


def _is_sound(fields: Any) -> bool:
    """Whether a key file's fields are such as `FileKeys` writes."""
    if type(fields) is not list or [type(field) for field in fields] != [str, int, int, int, int, bytes, bytes]:
        return False
    magic, version, n, r, p, _, sealed = fields
    return magic == _MAGIC and version == _VERSION and Cost(n, r, p).is_sound and len(sealed) == _SEALED_BYTES
