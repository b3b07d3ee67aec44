"""A device that its user had forgotten: the key first, then the file; one deletion notice; then refusals for good.

A marker without any content about the user outlives the vault in its folder: `due` until the notice went out, `told`
afterwards, and the public key of the server that it is for. It is written before anything is destroyed, so that a
process killed half-way is finished by the next one. On a disk too full for it the key goes all the same, and the marker
is written into the room that the database left.

While there is a key, a marker counts if it ends in a proof: its own words, wrapped by that very key. Anybody can put a file into
a folder; only who holds the key has it destroyed by one. Another marker opens nothing, and destroys nothing: whoever
takes it away has the device back, and `Device.forget_at` forgets it for good. Once the key is gone there is nothing to
protect any more, and any marker counts.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from shared.errors import Forgotten, KeyMissing, VaultDamaged, VaultError, WrongKey

from .keys import NEW, KeyProvider, sync_folder, write_durably
from .store import Store

MARKER = "forgotten"
DUE, TOLD = b"due \n", b"told\n"  #: of one length; the server's public key follows, then the proof
SERVER_KEY_BYTES = 32


def begin_to_forget(folder: Path, keys: KeyProvider, server_key: bytes) -> None:
    """Destroy the key: from here on nothing decrypts. Can be repeated; nothing brings the device back."""
    with suppress(OSError):
        if keys.exists() or not _is_marked(folder, server_key):
            write_durably(folder / MARKER, DUE + server_key + _proof(keys, server_key))
    keys.destroy()


def finish_forgetting(folder: Path, server_key: bytes) -> None:
    """Remove the database, which nobody holds any more. OSError if there is no room for the marker even now: then no
    notice goes out."""
    remove(folder)
    if not _is_marked(folder, server_key):
        write_durably(folder / MARKER, DUE + server_key)


def server_of(marker: bytes) -> bytes:
    """The public key of the server that a marker's notice is for."""
    return marker[len(DUE) :][:SERVER_KEY_BYTES]


def _is_marked(folder: Path, server_key: bytes) -> bool:
    """Whether there is a marker for this server: its notice goes out once, however often it is forgotten."""
    marker = folder / MARKER
    return marker.exists() and server_of(marker.read_bytes()) == server_key


def _proof(keys: KeyProvider, server_key: bytes) -> bytes:
    """What only a holder of the key can write; nothing, if it cannot be had any more."""
    with suppress(VaultError):
        if keys.exists():
            return keys.wrap(_claim(server_key))
    return b""


def _claim(server_key: bytes) -> bytes:
    """What the proof wraps. Longer than a data key: neither is ever taken for the other (`client/vault/store.py`)."""
    return b"forgotten/" + server_key


def _expect_proof(folder: Path, keys: KeyProvider) -> None:
    """VaultDamaged unless a holder of the key wrote the marker; the key's own errors if it cannot be had."""
    with suppress(OSError, WrongKey):
        marker = (folder / MARKER).read_bytes()
        if keys.unwrap(marker[len(DUE) + SERVER_KEY_BYTES :]) == _claim(server_of(marker)):
            return
    raise VaultDamaged(f"expected no file {MARKER} but one that a holder of this vault's key wrote, got another")


def expect_not_forgotten(folder: Path, keys: KeyProvider) -> None:
    """Forgotten if this folder's device was; finishes what an interrupted `forget` began. VaultDamaged, and nothing is
    destroyed, if somebody else wrote the marker."""
    if (folder / MARKER).exists():
        with suppress(KeyMissing):  # by now
            if keys.exists():
                _expect_proof(folder, keys)
        keys.destroy()
        remove(folder)
        raise Forgotten(folder)


def remove(folder: Path) -> None:
    """Delete the database's files, and half a marker. Its key goes first, elsewhere."""
    for file in (folder / Store.FILE, folder / f"{MARKER}{NEW}", *folder.glob(f"{Store.FILE}-*")):
        with suppress(FileNotFoundError):
            file.unlink()
    with suppress(OSError):
        sync_folder(folder)
