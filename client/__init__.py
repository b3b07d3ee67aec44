"""The device: records behaviour, scores and detects on its own, and lets nothing out but through `gate`.

What an app may use is named here, and nothing else is promised to it:

    from client import BehaviourEvent, Device, EventKind, FileKeys, Profile, Step, origin_of

    profile = Profile.of(catalogue, Step.DAY, server_key, origin_of(date(2026, 1, 1)))
    with Device.open(folder, profile, keys=FileKeys(folder, passphrase)) as device:
        device.record(BehaviourEvent(EventKind.PURCHASE, category=2, time_s=profile.seconds_at(now), amount=9.5))
        print(device.interests(), device.alerts(), device.what_left())

Any thread may call any of it. An app that carries its server's requests itself answers them with the device that it holds:

    reply = answer(device, request)  # bytes to bytes

A name is looked up when it is first used: who imports one part of the device brings in no more than that part.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.errors import (
        ClockError,
        DeviceCopied,
        EbbtideError,
        Forgotten,
        InputError,
        RefusalCode,
        VaultBusy,
        VaultError,
        VaultNewer,
    )
    from shared.events import BehaviourEvent, Catalogue, EventKind, Step

    from .answers import answer
    from .detection.alerts import Alert
    from .detection.explain import Explanation
    from .detection.policy import POLICY, Intervention, Policy, Segment
    from .detection.risk_levels import Direction, RiskLevel
    from .device import Device
    from .privacy.caps import Cap, Caps, LedgerLine
    from .problems import what_to_do
    from .profile import Profile, origin_of
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
    "ClockError",
    "Consent",
    "Device",
    "DeviceCopied",
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
    "VaultBusy",
    "VaultError",
    "VaultNewer",
    "answer",
    "origin_of",
    "what_to_do",
]

#: Where each name is at home.
_HOMES = {
    "shared.errors": (
        "ClockError",
        "DeviceCopied",
        "EbbtideError",
        "Forgotten",
        "InputError",
        "RefusalCode",
        "VaultBusy",
        "VaultError",
        "VaultNewer",
    ),
    "shared.events": ("BehaviourEvent", "Catalogue", "EventKind", "Step"),
    ".answers": ("answer",),
    ".detection.alerts": ("Alert",),
    ".detection.explain": ("Explanation",),
    ".detection.policy": ("Intervention", "POLICY", "Policy", "Segment"),
    ".detection.risk_levels": ("Direction", "RiskLevel"),
    ".device": ("Device",),
    ".privacy.caps": ("Cap", "Caps", "LedgerLine"),
    ".problems": ("what_to_do",),
    ".profile": ("Profile", "origin_of"),
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
