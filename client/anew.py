"""A new device where one was: after a copy, a backup that was put back, damage, or `forget`; only when an app asks for it.

Guarantees. Everything of the old device is destroyed, the key first. The new one has a number of its own and knows nothing of
its user. What the old one spent stays spent, if its vault opens: ledger, caps, and a last entry in the journal that says so.
Nobody is told that the user had the old one forgotten; if that is what happened, its server still hears it, once.

Edge cases. Of a vault that does not open nobody can know what it spent: the new device begins with nothing spent, as an app
that was installed again does, for the unit of privacy is the device. A process that is killed on the way leaves the old device,
or a folder in which the new one, whenever it begins, finds what was spent (`client/vault/erasure.py`).
The copy's ledger is as of the copying: what the original spends afterwards, it spends on its own account.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from shared.arguments import having
from shared.errors import EbbtideError, InputError, VaultBusy, VaultNewer
from shared.files import private_folder

from .arguments import expect_arguments
from .privacy.caps import Caps
from .privacy.ledger import Ledger
from .profile import Profile
from .vault.erasure import erase_to_begin_anew, handed_over
from .vault.keys import KeyProvider
from .vault.migrations import ONLY, unframed
from .vault.sqlite_file import held_alone
from .vault.store import Store
from .vault.vault import Limits, Vault

Opened = TypeVar("Opened")
ARGUMENTS = ("on_step", "entropy", "clock", "caps", "limits", "policy")
#: What a device hands over to the next one, if it can be read.
CARRIED = ("ledger", "caps")


def begin_anew(
    open_device: Callable[..., Opened],
    folder: Path,
    profile: Profile,
    keys: KeyProvider,
    arguments: Mapping[str, Any],
) -> Opened:
    """The new device. InputError, and nothing is destroyed, for arguments that are none; VaultBusy where a process holds the
    vault, VaultNewer where a later app wrote it: that one can read what was spent."""
    if unknown := set(arguments) - {*ARGUMENTS, "wait_s"}:
        raise InputError(f"expected arguments of Device.open, got {len(unknown)} more")
    having(keys, "keys that can make another key", "renew")
    folder, clock = expect_arguments(
        folder, profile, keys, **{name: arguments.get(name) for name in ARGUMENTS}, wait_s=arguments.get("wait_s", 0.0)
    )
    if not isinstance(profile, Profile):
        raise InputError("expected a profile for a new device")
    profile.expect_current(clock.now_s())
    limits = arguments.get("limits") or Limits()
    handed = _spent(folder, keys, limits)
    private_folder(folder)
    with held_alone(folder / Store.FILE):
        erase_to_begin_anew(folder, keys, handed, clock.now_s())
    return open_device(folder, profile, keys=keys, **arguments)


def _spent(folder: Path, keys: KeyProvider, limits: Limits) -> dict[str, bytes]:
    """What the old device hands over, as rows; if its vault does not open, or is gone already, what lies in the folder; nothing where
    no ledger can be read."""
    if (folder / Store.FILE).exists():
        try:
            with closing(Vault(folder, keys, limits)) as vault:
                found = {table: row for table in CARRIED if (row := vault.store.row(table, ONLY)) is not None}
            _expect_ledger(found)
            return found
        except (VaultBusy, VaultNewer):
            raise
        except EbbtideError:
            pass
    try:
        found, _ = handed_over(folder, keys) or ({}, 0)
        _expect_ledger(found)
        return found
    except VaultNewer:
        raise
    except EbbtideError:
        return {}


def _expect_ledger(rows: Mapping[str, bytes]) -> None:
    """An EbbtideError unless the ledger, if there is one, can be read."""
    Ledger.from_bytes(unframed("ledger", rows["ledger"]) if "ledger" in rows else None, Caps())
