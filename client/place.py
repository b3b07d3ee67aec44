"""Where a vault lives: a copy of its folder, or one that a backup brought to another phone, is noticed when it opens.

The key provider names the place where it keeps its files; the name lies in the vault, sealed. A copy of both lies
somewhere else, and is refused: else two devices would answer one round, each on its own account, for one user.

Edge cases. A provider that does not know its place is not asked. What cannot be told: a folder that was moved between two
disks from one that was copied; a copy that was put back over the same files, file by file, byte by byte.
"""

from __future__ import annotations

from shared.errors import DeviceCopied

from .vault.vault import Vault

TABLE = "place"


def expect_in_place(vault: Vault) -> None:
    """DeviceCopied unless the vault lies where it lay when it was made, or when an app first looked."""
    here = getattr(vault.keys, "place", lambda: b"")()
    if not here:
        return
    found = vault.get(TABLE)
    if found is None:
        with vault.writing(TABLE):
            vault.put(TABLE, {"sha256": here})
    elif found["sha256"] != here:
        raise DeviceCopied(
            "expected the device's folder in the place where it was set up, got a copy: start anew there"
        )
