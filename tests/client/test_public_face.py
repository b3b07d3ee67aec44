"""What an app may import from `client`: exactly these names, each the one that the device uses, and none at a price."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import client
from tests.promises.test_rooms import FRESH

ROOT = Path(__file__).parents[2]
FACE = {
    "the device": {"Device", "Profile", "Limits", "Step", "Catalogue", "origin_of", "BehaviourEvent", "EventKind"},
    "its keys": {"KeyProvider", "FileKeys", "Anchor"},
    "what an app is told": {"Alert", "Direction", "RiskLevel", "Segment", "Intervention", "Explanation"},
    "what it chooses": {"Policy", "POLICY", "Consent", "Caps", "Cap", "LedgerLine"},
    "what left": {"Entry", "Checkpoint", "RefusalCode"},
    "what it calls beside the device": {"answer", "what_to_do"},
    "what opening it may raise": {"EbbtideError", "InputError", "ClockError", "VaultError", "VaultBusy", "VaultNewer"}
    | {"DeviceCopied", "Forgotten"},
}


def after(module: str) -> set[str]:
    """Modules that importing one brings into a fresh interpreter, or asks for."""
    done = subprocess.run([sys.executable, "-c", FRESH, module], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_face_is_exactly_this_list():
    assert set(client.__all__) == set().union(*FACE.values()) and len(client.__all__) == sum(map(len, FACE.values()))
    assert set(client.__all__) == {name for names in client._HOMES.values() for name in names}
    assert set(client.__all__) <= set(dir(client))


@pytest.mark.parametrize("name", client.__all__)
def test_each_name_is_the_device_s_own(name):
    found = getattr(client, name)
    home = next(home for home, names in client._HOMES.items() if name in names)
    assert getattr(found, "__module__", "") == (f"client{home}" if home.startswith(".") else home)
    assert (found.__doc__ or name in {"RiskLevel", "LedgerLine"}) and (name == "POLICY" or found.__name__ == name)


def test_a_name_that_is_not_there_says_so():
    with pytest.raises(AttributeError, match="no attribute 'Vault'"):
        _ = client.Vault


def test_the_face_costs_nothing_until_a_name_is_used():
    """Flower runs every package's `__init__` on its own command line."""
    assert not {
        name for name in after("client") if name.startswith(("client.", "shared", "numpy", "flwr", "tensorflow"))
    }
    found = after("client.vault.store")
    assert "client.vault.keys" in found and not found & {"client.device", "client.model", "flwr", "tensorflow"}
    assert not {name.partition(".")[0] for name in after("client.device")} & {
        "flwr",
        "tensorflow",
        "server",
        "simulations",
    }
