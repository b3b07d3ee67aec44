"""What a simulated device saw of its server's log: read from its journal, as its owner can.

    python -m simulations.evidence.witness runs/demo/devices/7 > witness.jsonl

prints it as `verifier.py --witness` takes it: JSON lines of a size and a root.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from client.vault.vault import Limits, Vault
from shared.errors import ConfigError

from ..federation.device_app import PASSPHRASE_FILE, simulation_keys
from ..terminal.ending import end_with
from ..terminal.printing import say
from .verifier import Seen


def seen_by_device(home: Path) -> list[Seen]:
    """(size, root) of every head in the journal of the simulated device that lives in `home`; ConfigError if none does."""
    if not (home / PASSPHRASE_FILE).is_file():
        raise ConfigError(f"expected the folder of a simulated device, or a file of what one saw, got {home}")
    with closing(Vault(home, simulation_keys(home), Limits(waits_for_disk=False))) as vault:
        return [(entry.log.size, entry.log.root) for entry in vault.journal.entries() if entry.log is not None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what one device saw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path, help="the folder of a simulated device, e.g. runs/demo/devices/7")
    for size, root in seen_by_device(parser.parse_args(arguments).home):
        say(json.dumps({"size": size, "root": root.hex()}))


if __name__ == "__main__":
    end_with(main)
