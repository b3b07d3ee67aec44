"""The folder of a device as format 1 left it (tests/vectors), and what a device of today holds, to compare."""

import json
import shutil
from pathlib import Path
from typing import Any

from client.device import Device
from tests.vectors.make_vault_format_1 import content
from tests.world.basics import open_device

VECTORS = Path(__file__).parents[1] / "vectors"
SAID = json.loads((VECTORS / "vault_format_1.json").read_text())
#: A line of format 1 that no message could spend is not carried over.
assert [SAID["epsilon"].pop("metrics"), SAID["releases"].pop("metrics")] == [[0.0, 0.0], 0]


def old_vault(place: Path) -> Path:
    """A copy of the folder, at `place`."""
    return Path(shutil.copytree(VECTORS / "vault_format_1", place))


def opened(folder: Path, **arguments: Any) -> Device:
    """The device in such a folder, under the caps that it was made with."""
    return open_device(folder, caps=None, **arguments)


def held(device: Device, **instead: Any) -> dict[str, Any]:
    """All that a device holds, in the form of `SAID`; a device without a model needs another one `installed` instead.
    Lines of the ledger that came later than `SAID` are left out where nothing is spent on them."""
    asked = [bytes.fromhex(request) for request in SAID["asked"]]
    state = {**vars(device._state), "left_before": device.what_left_before().totals, **instead}
    found = json.loads(json.dumps({**content(device, state, asked), "asked": SAID["asked"]}))
    for name, nothing in (("epsilon", [0.0, 0.0]), ("releases", 0)):
        found[name] = {line: at for line, at in found[name].items() if line in SAID[name] or at != nothing}
    return found
