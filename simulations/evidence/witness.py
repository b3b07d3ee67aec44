"""What a simulated device saw of its server's log: read from its journal, as its owner can."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from client.vault.vault import Limits, Vault
from shared.errors import ConfigError

from ..federation.device_app import PASSPHRASE_FILE, simulation_keys
from .verifier import Seen


def seen_by_device(home: Path) -> list[Seen]:
    """(size, root) of every head in the journal of the simulated device that lives in `home`; ConfigError if none does."""
    if not (home / PASSPHRASE_FILE).is_file():
        raise ConfigError(f"expected the folder of a simulated device, or a file of what one saw, got {home}")
    with closing(Vault(home, simulation_keys(home), Limits(waits_for_disk=False))) as vault:
        return [(entry.log.size, entry.log.root) for entry in vault.journal.entries() if entry.log is not None]
