"""What a device is and keeps: profile, model, alerts, detectors; and each as plain values for a row of its vault."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.codec import pack_floats, unpack_floats
from shared.errors import InputError
from shared.events import MAX_CATEGORIES, Step
from shared.plan import Plan

from .alerts import Alert, Taken
from .consent import Consent, Decision
from .installed import Installed
from .policy import Intervention, Segment
from .risk import Direction, RiskLevel
from .vault import Vault
from .watch import Watch

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Profile:
    """What a device is, from its first day on.

    `number` is its own, random; it seeds the draw of rows. Step 0 begins at `origin_s`, seconds on the device's clock.
    `consent` is what the user agreed to when the device was set up; `Device.consent` says what holds now. `server_key`
    is the Ed25519 public key (32 bytes) of the one server that it answers; no message can change it.
    """

    step: Step
    n_categories: int
    catalogue_sha256: bytes
    server_key: bytes
    consent: Consent = Consent.LOCAL
    number: int = -1
    origin_s: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.n_categories <= MAX_CATEGORIES:
            raise InputError(f"expected 1 to {MAX_CATEGORIES} categories, got {self.n_categories}")
        if type(self.server_key) is not bytes or len(self.server_key) != 32:
            raise InputError("expected server_key, the 32 bytes of the server's Ed25519 public key")


def pack(array: NDArray[Any]) -> list[Any]:
    """An array as (dtype, shape, bytes)."""
    return [array.dtype.str, list(array.shape), array.tobytes()]


def unpack(parts: list[Any]) -> NDArray[Any]:
    """The array of `pack`, writable."""
    dtype, shape, data = parts
    return np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape).copy()


def plain_profile(profile: Profile) -> dict[str, Any]:
    return {**vars(profile), "step": profile.step.value, "consent": str(profile.consent)}


def profile(fields: dict[str, Any]) -> Profile:
    return Profile(**{**fields, "step": Step(fields["step"]), "consent": Consent(fields["consent"])})


def profile_of(vault: Vault, given: Profile | None, now_s: float) -> Profile:
    """The profile in a vault; in a new one it is `given`, with a number of its own, and dates the first consent."""
    if (found := vault.get("profile")) is not None:
        return profile(found)
    if given is None:
        raise InputError("expected a profile for a new device")
    fresh = replace(given, number=secrets.randbits(63)) if given.number < 0 else given
    with vault.writing("profile", "consent"):
        vault.put("profile", plain_profile(fresh))
        vault.decisions.add(Decision(now_s, fresh.consent))
    return fresh


def plain_model(installed: Installed) -> list[Any]:
    weights = pack_floats(installed.theta), pack_floats(installed.risk)
    return [installed.plan.canonical, installed.model, *weights, installed.round_number]


def model(fields: list[Any]) -> Installed:
    plan, file, theta, risk, round_number = fields
    return Installed(Plan.from_bytes(plan), file, unpack_floats(theta), unpack_floats(risk), round_number)


def plain_watch(n_closed_steps: int, watch: Watch | None, p: Floats) -> list[Any]:
    arrays = watch and {name: pack(array) for name, array in watch.arrays().items()}
    return [n_closed_steps, arrays, pack(p)]


def watch(fields: list[Any]) -> tuple[int, Watch | None, Floats]:
    n_closed_steps, arrays, p = fields
    found = Watch.of({name: unpack(parts) for name, parts in arrays.items()}) if arrays else None
    return n_closed_steps, found, unpack(p)


def plain_alerts(alerts: Taken) -> list[list[int]]:
    return [[*vars(alert).values(), taken] for alert, taken in alerts]


def alerts(rows: list[list[int]]) -> Taken:
    return [
        (Alert(Direction(direction), category, RiskLevel(level), step, at, Segment(segment), Intervention(act)), taken)
        for direction, category, level, step, at, segment, act, taken in rows
    ]
