"""Fixtures that several rooms' tests share, and how many examples a property gets.

`make test` runs reduced counts; EBBTIDE_SOAK=1 (`make soak`) runs full ones, with fresh random examples.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from client.device import Device
from client.vault.consent import Consent
from shared.plan import Plan
from tests.world.basics import SOAK, SOAK_FACTOR, make_plan, make_profile, open_device

os.environ["COLUMNS"] = "200"  # Rich's console is made once, by whoever prints first: tables are as wide for every test

COMMON: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}

settings.register_profile("test", max_examples=40, derandomize=True, database=None, **COMMON)
settings.register_profile("soak", max_examples=40 * SOAK_FACTOR, print_blob=True, **COMMON)
settings.load_profile("soak" if SOAK else "test")


@pytest.fixture
def plan() -> Plan:
    return make_plan()


@pytest.fixture
def new_device(tmp_path) -> Callable[..., Device]:
    """Opens a device in a folder of its own: `new_device(consent=..., on_step=..., entropy=...)`."""
    n_opened = 0

    def open_one(consent: Consent = Consent.LOCAL, number: int = 7, **arguments: Any) -> Device:
        nonlocal n_opened
        n_opened += 1
        return open_device(tmp_path / f"device-{n_opened}", make_profile(consent, number), **arguments)

    return open_one
