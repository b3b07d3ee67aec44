"""What a device is handed: checked before anything is made on the disk, or changed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from shared.arguments import folder, having, instance, real
from shared.clock import Clock, WallClock
from shared.errors import ConfigError, InputError
from shared.events import is_position

from .detection.alerts import Alert
from .detection.policy import Intervention, Policy, Segment
from .detection.risk_levels import Direction, RiskLevel
from .privacy.caps import Caps
from .profile import MOST_S, Profile
from .vault.keys import KeyProvider
from .vault.vault import Limits


def step_number(step: int) -> int:
    """The same number; InputError for anything that is only nearly one."""
    if isinstance(step, bool) or not isinstance(step, int | np.integer):
        raise InputError("expected the number of a step")
    return int(step)


def expect_alert(alert: Alert, n_categories: int) -> None:
    """InputError for what is no alert of a catalogue of so many categories."""
    instance(alert, "an alert", Alert)
    for number in (alert.step, alert.model_round):
        step_number(number)
    for place, size in (
        (alert.category, n_categories),
        (alert.direction, len(Direction)),
        (alert.level, len(RiskLevel)),
    ):
        if not is_position(place, size):
            raise InputError("expected an alert that this device raised")
    for chosen, kind in ((alert.segment, Segment), (alert.intervention, Intervention)):
        if chosen is not None and not isinstance(chosen, kind):
            raise InputError("expected an alert with a segment and an intervention, or none")
    if alert.began is not None and not 0 <= step_number(alert.began) <= alert.step:
        raise InputError("expected an alert whose change began at its step at the latest, or that does not say when")


def several(events: object) -> Iterable[Any]:
    """The same, something to go through; InputError otherwise."""
    try:
        return iter(events)  # type: ignore[call-overload, no-any-return]
    except Exception:
        raise InputError("expected events, one after the other") from None


def expect_arguments(
    place: object,
    profile: object,
    keys: KeyProvider,
    on_step: object,
    entropy: object,
    clock: Clock | None,
    caps: object,
    limits: object,
    policy: object,
    wait_s: object,
) -> tuple[Path, Clock]:
    """The folder and the clock; ConfigError, by name, for an argument that is not what it has to be."""
    having(keys, "keys", "exists", "wrap", "unwrap", "anchor", "advance", "destroy")
    for name, value, kind in (
        ("profile", profile, Profile),
        ("caps", caps, Caps),
        ("limits", limits, Limits),
        ("policy", policy, Policy),
    ):
        if value is not None:
            instance(value, name, kind)
    for name, value in (("on_step", on_step), ("entropy", entropy)):
        if value is not None and not callable(value):
            raise ConfigError(f"expected {name}, something to call")
    real(wait_s, "wait_s", 0.0, 1e6)
    clock = clock if clock is not None else WallClock()
    having(clock, "clock", "now_s")
    try:
        now_s = clock.now_s()
    except Exception:
        raise ConfigError("expected a clock that tells the time, got one that raises") from None
    real(now_s, "a clock that tells seconds since 1970", -MOST_S, MOST_S)
    return folder(place, "folder"), clock
