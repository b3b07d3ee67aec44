"""Fixtures that several rooms' tests share, and how many examples a property gets.

`make test` runs reduced counts; EBBTIDE_SOAK=1 (`make soak`) runs full ones, with fresh random examples. A test that is
not marked `slow` starts neither Flower nor another environment: it fails if it tries.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
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


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Gives a folder that many tests read and none changes: `made_once(name, make)`. The first that asks for a name lets
    `make` fill it, in whatever process of the session; the others wait."""
    temporary = tmp_path_factory.getbasetemp()
    shared = temporary.parent if "PYTEST_XDIST_WORKER" in os.environ else temporary

    def folder_of(name: str, make: Callable[[Path], object]) -> Path:
        folder = shared / name
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (whole := shared / f"{name}.whole").exists():
                folder.mkdir()
                make(folder)
                whole.touch()
        return folder

    return folder_of


#: The test that is going on.
NOW: list[pytest.Item] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    NOW[:] = [item]
    return (yield)


def expect_slow(event: str, arguments: tuple[Any, ...]) -> None:
    """Fails the test that starts Flower, Ray or another Python than this one, unless it is marked `slow`."""
    if event != "subprocess.Popen" or not NOW or NOW[0].get_closest_marker("slow"):
        return
    program, words = arguments[:2]
    command = [os.fsdecode(word) for word in (program, *([words] if isinstance(words, str) else words))]
    another_python = Path(command[0]).name.startswith("python") and command[0] != sys.executable
    if another_python or any(re.search(r"flwr|flower|\bray\b", word) for word in command):
        pytest.fail(f"expected a test that starts {command[1]} to be marked slow")


sys.addaudithook(expect_slow)
