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

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from shared import cbor
from shared.cbor import Limits
from shared.errors import Forgotten, KeyMissing, VaultDamaged, VaultError, WrongKey

from .journal import DECISION
from .keys import NEW, KeyProvider, sync_folder, write_durably
from .migrations import ONLY, expect_row
from .store import Store
from .values import value_of

if TYPE_CHECKING:
    from .vault import Vault

MARKER = "forgotten"
PAST_MARKER = "forgotten.before"  #: of a device before this one, while its notice is due
DUE, TOLD = b"due \n", b"told\n"  #: of one length; the server's public key follows, then the proof
SERVER_KEY_BYTES = 32
CARRIED = "carried"  #: what a device hands over to the one that begins anew in its folder, sealed

#: What a carried payload begins with. Longer than a data key: neither is ever taken for the other.
_HANDED_OVER = b"handed over to a device that begins anew/"
_LIMITS = Limits(1 << 26, most_items=8, most_depth=1)


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


def erase_to_begin_anew(folder: Path, keys: KeyProvider, rows: Mapping[str, bytes], time_s: float) -> None:
    """Destroy what is in the folder, with every key, so that another device can begin there, at `time_s`. Nobody is told that
    the user had this one forgotten; where that is what happened, its notice stays due beside the new device (`PAST_MARKER`).

    Guarantees. `rows`, what the old device hands over by table, lie in the file `CARRIED`, sealed under the new key, before the old
    key is gone, and until the new vault has them. A process that is killed in between leaves the old device as it was, or a
    folder in which the next vault finds them.
    """
    marker = folder / MARKER
    was_due = marker.exists() and marker.read_bytes().startswith(DUE)
    payload = _HANDED_OVER + cbor.encode({"time_s": int(time_s), **rows}, _LIMITS)
    keys.renew(payload, lambda wrapped: write_durably(folder / CARRIED, wrapped))
    _remove_database(folder)
    if was_due:
        os.replace(marker, folder / PAST_MARKER)
    else:
        marker.unlink(missing_ok=True)
    sync_folder(folder)


def handed_over(folder: Path, keys: KeyProvider) -> tuple[dict[str, bytes], int] | None:
    """What the folder's last device hands over, by table, and when; None if it does not, or it is not for whoever has these
    keys."""
    try:
        payload = keys.unwrap((folder / CARRIED).read_bytes())
    except (OSError, VaultError):
        return None
    if not payload.startswith(_HANDED_OVER):
        return None
    found = value_of(payload[len(_HANDED_OVER) :], _LIMITS, f"the file {CARRIED}")
    return {table: row for table, row in found.items() if table != "time_s"}, found["time_s"]


def take_over(vault: Vault) -> None:
    """Write what the folder's last device hands over into a vault in which nothing happened yet, once; its file goes."""
    files = vault.folder / CARRIED, vault.folder / f"{CARRIED}{NEW}"
    if not any(file.exists() for file in files):
        return
    found = handed_over(vault.folder, vault.keys)
    if found is not None and not vault.store.count("journal"):
        rows, time_s = found
        budget = "what was spent before stays spent" if "ledger" in rows else "nothing is known to be spent"
        with vault.writing("ledger", "caps", "journal"):
            for table, row in rows.items():
                expect_row(table, row)
                vault.store.put(table, ONLY, row)
            vault.journal.add(time_s, DECISION, b"", 0.0, "the app started anew", {"budget": budget})
    for file in files:
        with suppress(OSError):
            file.unlink()


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
    """Delete the database's files, half a marker, and what was to be handed over. Its key goes first, elsewhere."""
    for file in (folder / CARRIED, folder / f"{CARRIED}{NEW}"):
        file.unlink(missing_ok=True)
    _remove_database(folder)


def _remove_database(folder: Path) -> None:
    for file in (folder / Store.FILE, folder / f"{MARKER}{NEW}", *folder.glob(f"{Store.FILE}-*")):
        with suppress(FileNotFoundError):
            file.unlink()
    with suppress(OSError):
        sync_folder(folder)
