"""A device that its user had forgotten: the key first, then the file; one deletion notice; then refusals for good.

A marker without any content about the user outlives the vault in its folder: `due` until the notice went out, `told`
afterwards, and the public key of the server that it is for. It is written before anything is destroyed, so that a
process killed half-way is finished by the next one. On a disk too full for it the key goes all the same, and the marker
is written into the room that the database left.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from shared.errors import Forgotten

from .keys import KeyProvider, sync_folder, write_durably
from .store import Store

MARKER = "forgotten"
DUE, TOLD = b"due \n", b"told\n"  #: of one length; the key follows


def begin_to_forget(folder: Path, keys: KeyProvider, server_key: bytes) -> None:
    """Destroy the key: from here on nothing decrypts. Can be repeated; nothing brings the device back."""
    with suppress(OSError):
        _mark(folder, server_key)
    keys.destroy()


def finish_forgetting(folder: Path, server_key: bytes) -> None:
    """Remove the database, which nobody holds any more. OSError if there is no room for the marker even now: then no
    notice goes out."""
    remove(folder)
    _mark(folder, server_key)


def _mark(folder: Path, server_key: bytes) -> None:
    if not (folder / MARKER).exists():
        write_durably(folder / MARKER, DUE + server_key)


def expect_not_forgotten(folder: Path, keys: KeyProvider) -> None:
    """Forgotten if this folder's device was; finishes what an interrupted `forget` began."""
    if (folder / MARKER).exists():
        keys.destroy()
        remove(folder)
        raise Forgotten(folder)


def remove(folder: Path) -> None:
    """Delete the database's files. Its key goes first, elsewhere."""
    for file in (folder / Store.FILE, *folder.glob(f"{Store.FILE}-*")):
        with suppress(FileNotFoundError):
            file.unlink()
    with suppress(OSError):
        sync_folder(folder)
