"""The device: records behaviour, scores and detects on its own, and lets nothing out but through `gate`.

What an app may use is named here, and nothing else is promised to it:

    from client import BehaviourEvent, Device, EventKind, FileKeys, Profile, Step

    with Device.open(folder, Profile(Step.DAY, 4, catalogue_sha256, server_key), keys=FileKeys(folder, passphrase)) as device:
        device.record(BehaviourEvent(EventKind.PURCHASE, category=2, time_s=86_400.0, amount=9.5))
        print(device.interests(), device.alerts(), device.what_left())

A name is looked up when it is first used: who imports one part of the device brings in no more than that part.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.errors import EbbtideError, Forgotten, InputError, RefusalCode, VaultError, VaultNewer
    from shared.events import BehaviourEvent, Catalogue, EventKind, Step

    from .detection.alerts import Alert
    from .detection.explain import Explanation
    from .detection.policy import POLICY, Intervention, Policy, Segment
    from .detection.risk_levels import Direction, RiskLevel
    from .device import Device
    from .privacy.caps import Cap, Caps, LedgerLine
    from .profile import Profile
    from .vault.anchor import Anchor
    from .vault.consent import Consent
    from .vault.journal import Checkpoint, Entry
    from .vault.keys import FileKeys, KeyProvider
    from .vault.vault import Limits

__all__ = [
    "Alert",
    "Anchor",
    "BehaviourEvent",
    "Cap",
    "Caps",
    "Catalogue",
    "Checkpoint",
    "Consent",
    "Device",
    "Direction",
    "EbbtideError",
    "Entry",
    "EventKind",
    "Explanation",
    "FileKeys",
    "Forgotten",
    "InputError",
    "Intervention",
    "KeyProvider",
    "LedgerLine",
    "Limits",
    "POLICY",
    "Policy",
    "Profile",
    "RefusalCode",
    "RiskLevel",
    "Segment",
    "Step",
    "VaultError",
    "VaultNewer",
]

#: Where each name is at home.
_HOMES = {
    "shared.errors": ("EbbtideError", "Forgotten", "InputError", "RefusalCode", "VaultError", "VaultNewer"),
    "shared.events": ("BehaviourEvent", "Catalogue", "EventKind", "Step"),
    ".detection.alerts": ("Alert",),
    ".detection.explain": ("Explanation",),
    ".detection.policy": ("Intervention", "POLICY", "Policy", "Segment"),
    ".detection.risk_levels": ("Direction", "RiskLevel"),
    ".device": ("Device",),
    ".privacy.caps": ("Cap", "Caps", "LedgerLine"),
    ".profile": ("Profile",),
    ".vault.anchor": ("Anchor",),
    ".vault.consent": ("Consent",),
    ".vault.journal": ("Checkpoint", "Entry"),
    ".vault.keys": ("FileKeys", "KeyProvider"),
    ".vault.vault": ("Limits",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home, __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
