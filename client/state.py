"""What a device is and keeps: profile, model, alerts, detectors; and each as plain values for a row of its vault."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Floats
from shared.codec import pack_floats, unpack_floats
from shared.errors import InputError
from shared.events import Step
from shared.plan import Plan

from .detection.alerts import Alert, AlertLog
from .detection.policy import Intervention, Segment
from .detection.risk_levels import Direction, RiskLevel
from .detection.watch import Watch
from .model.installed import Installed
from .profile import Profile
from .vault.consent import Consent, Decision
from .vault.vault import Vault


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


def plain_alerts(alerts: AlertLog) -> list[list[int]]:
    return [[*vars(alert).values(), taken] for alert, taken in alerts]


def alerts(rows: list[list[int]]) -> AlertLog:
    return [
        (Alert(Direction(direction), category, RiskLevel(level), step, at, Segment(segment), Intervention(act)), taken)
        for direction, category, level, step, at, segment, act, taken in rows
    ]
