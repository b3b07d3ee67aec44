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

import hashlib
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared import cbor
from shared.cbor import Limits
from shared.errors import ConfigError, KeyDamaged, KeyMissing, VaultReadOnly, VaultRolledBack, WireError, WrongKey

from .anchor import TIP_BYTES, Anchor
from .key_derivation import KEY_BYTES, KeyedHash, derived
from .stretching import Cost

NONCE_BYTES = 12
SALT_BYTES = 16
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


class FileKeys:
    """A wrapping key in `device.key`, itself sealed under a passphrase, and the anchor in `device.anchor`.

    Scrypt turns the passphrase into a key, at the cost of `client/vault/stretching.py` unless the app asks for another.
    The cost is written into the file: it is needed to open it. AES-256-GCM seals. `waits_for_disk=False` is for
    simulations: power loss may set the anchor back.

    A file that was written at a lower cost than is asked for is stretched anew when it is next opened with the right
    passphrase, in one durable move; key and anchor stay. It is never lowered: an app that asks for less, or for more
    memory and less work, pays what the file says.
    """

    KEY_FILE = "device.key"
    ANCHOR_FILE = "device.anchor"

    def __init__(
        self,
        folder: Path,
        passphrase: bytes,
        *,
        n: int = Cost().n,
        r: int = Cost().r,
        p: int = Cost().p,
        waits_for_disk: bool = True,
    ) -> None:
        self._cost = Cost(n, r, p)
        if not self._cost.is_sound:
            raise ConfigError(
                f"expected scrypt n a power of 2, r and p >= 1, up to 1 GiB and n r p up to 2^24, got n={n} r={r} p={p}"
            )
        if not passphrase:
            raise ConfigError("expected a passphrase, got none")
        self._folder, self._passphrase = folder, passphrase
        self._key_file, self._anchor_file = folder / self.KEY_FILE, folder / self.ANCHOR_FILE
        self._waits = waits_for_disk
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
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._unlocked()[0].encrypt(nonce, data_key, b"data key")

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
        except OSError:
            raise VaultReadOnly("expected to write the anchor") from None
        try:
            os.pwrite(number, self._slot(anchor), older * _SLOT_STEP)
            if self._waits:
                getattr(os, "fdatasync", os.fsync)(number)
        except OSError:
            raise VaultReadOnly("expected to write the anchor") from None
        finally:
            os.close(number)

    def destroy(self) -> None:
        self._key, self._uses, self._passphrase, self._destroyed = None, None, b"", True
        for file in (self._key_file, self._anchor_file, *self._folder.glob(f"device.*{NEW}")):
            with suppress(OSError):  # what cannot be overwritten can still be removed
                number = os.open(file, os.O_WRONLY)
                try:
                    os.write(number, os.urandom(file.stat().st_size))
                    os.fsync(number)
                finally:
                    os.close(number)
            file.unlink(missing_ok=True)
        with suppress(OSError):
            sync_folder(self._folder)

    # ---- the key file: SHA-256 of the rest, then [magic, version, n, r, p, salt, nonce + sealed key]

    def _create(self) -> None:
        self._key = os.urandom(KEY_BYTES)
        try:
            write_durably(self._anchor_file, (self._slot(Anchor()).ljust(_SLOT_STEP, b"\0")) * 2)
            self._write(self._key)
        except OSError:
            self._key = self._uses = None
            raise VaultReadOnly("expected to write a key file") from None

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
            wrap, anchor = derived(self._key, b"ebbtide device key 1", 2)
            self._uses = AESGCM(wrap), KeyedHash(anchor)
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


def _is_sound(fields: Any) -> bool:
    """Whether a key file's fields are such as `FileKeys` writes."""
    if type(fields) is not list or [type(field) for field in fields] != [str, int, int, int, int, bytes, bytes]:
        return False
    magic, version, n, r, p, _, sealed = fields
    return magic == _MAGIC and version == _VERSION and Cost(n, r, p).is_sound and len(sealed) == _SEALED_BYTES
