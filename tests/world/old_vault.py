"""The folders of a device as earlier formats left it (tests/vectors), and what a device of today holds, to compare."""

import json
import shutil
from pathlib import Path
from typing import Any

from client.device import Device
from shared.messages import REGISTER
from tests.vectors.make_vault_format_1 import content
from tests.world.basics import open_device

VECTORS = Path(__file__).parents[1] / "vectors"
#: What the code of each format read in its folder.
SAID_BY = {number: json.loads((VECTORS / f"vault_format_{number}.json").read_text()) for number in range(1, 9)}
SAID = SAID_BY[1]
for _said in SAID_BY.values():
    _said["profile"].pop("names", None)  # is not kept
#: A line of format 1 that no message could spend is not carried over.
assert [SAID["epsilon"].pop("metrics"), SAID["releases"].pop("metrics")] == [[0.0, 0.0], 0]


def old_vault(place: Path, number: int = 1) -> Path:
    """A copy of the folder that format `number` left, at `place`."""
    return Path(shutil.copytree(VECTORS / f"vault_format_{number}", place))


def opened(folder: Path, **arguments: Any) -> Device:
    """The device in such a folder, under the caps that it was made with."""
    return open_device(folder, caps=None, **arguments)


def held(device: Device, said: dict[str, Any] = SAID, **instead: Any) -> dict[str, Any]:
    """All that a device holds, in the form of what was `said`; a device without a model needs another one `installed`
    instead. What came later is left out where it says nothing: lines of the ledger, audience and enrolment key of a
    profile, the condition of an entry, which is that of its kind, the log that no request named, and when changes began."""
    asked = [bytes.fromhex(request) for request in said["asked"]]
    state = {**vars(device._state), "left_before": device.what_left_before().totals, **instead}
    found = json.loads(json.dumps({**content(device, state, asked), "asked": said["asked"]}))
    for name, nothing in (("epsilon", [0.0, 0.0]), ("releases", 0)):
        found[name] = {line: at for line, at in found[name].items() if line in said[name] or at != nothing}
    assert found["profile"].pop("names") is None
    for name in ("audience", "enrolment_key"):
        assert name in said["profile"] or found["profile"].pop(name) == ""
    if "began" not in said["watch"]:
        n_categories = len(found["p"])
        assert found["watch"].pop("began") == ["int32", [2, n_categories], "f" * 16 * n_categories]
        assert all(alert.pop(-2) is None for alert in found["alerts"])
    for entry, was in zip(found["left"], said["left"], strict=False):
        assert "condition" in was or entry.pop("condition") == (
            REGISTER[entry["kind"]].condition if entry["kind"] in REGISTER else ""
        )
        assert "log" in was or entry.pop("log") is None
    return found
