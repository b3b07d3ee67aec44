"""Phones whose users live different lives, in one epoch: saved once, copied for each test, opened for each request as by a node."""

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from client.answers import open_and_answer
from client.device import Device
from client.vault.consent import Consent
from shared.events import BehaviourEvent, EventKind, Step
from tests.world.basics import event_stream, make_profile, open_device, ready, replayed_entropy
from tests.world.client_requests import MEMBERS, PLAN
from tests.world.enrolled import keep
from tests.world.fake_grid import context_of

N_STEPS = 20

#: Amounts and moments that no reply may hold, in any of the ways that a program would write a number.
CANARY_AMOUNTS, CANARY_TIME_S = (31337.171875, 271828.1875), 5.123456789 * Step.DAY.seconds
CANARIES = [
    spelled
    for value in (*CANARY_AMOUNTS, sum(CANARY_AMOUNTS), CANARY_TIME_S)
    for spelled in (struct.pack("<d", value), struct.pack(">d", value), repr(value).encode(), f"{value:.2f}".encode())
] + [b"canary"]


def live(device: Device, life: str) -> None:
    """`empty`: nothing ever; `light`: one event; `busy`: a stream that raised alerts."""
    if life == "light":
        device.record(BehaviourEvent(EventKind.PURCHASE, 2, CANARY_TIME_S, CANARY_AMOUNTS[0]))
    if life == "busy":
        for event in event_stream(np.random.default_rng(3), N_STEPS, 0.25):
            device.record(event)
        for amount in CANARY_AMOUNTS:
            device.record(BehaviourEvent(EventKind.PURCHASE, 2, CANARY_TIME_S, amount))
    device.close_until(N_STEPS)


LIVES = {
    "empty": (Consent.LOCAL, "empty", PLAN),
    "light": (Consent.LOCAL, "light", PLAN),
    "busy": (Consent.LOCAL, "busy", PLAN),
    "busy and telling": (Consent.IDENTIFIED, "busy", PLAN),
    "busy and tossing coins": (Consent.RANDOMISED, "busy", PLAN),
    "busy without a model": (Consent.LOCAL, "busy", None),
    "empty without a model": (Consent.LOCAL, "empty", None),
}


@pytest.fixture(scope="module")
def homes(tmp_path_factory) -> Path:
    """A saved device for each life; tests work on copies."""
    root = tmp_path_factory.mktemp("canary-folder")
    for name, (consent, life, plan) in LIVES.items():
        device = keep(open_device(root / name, make_profile(consent)), MEMBERS)
        if plan is not None:
            ready(device, plan)
        live(device, life)
        device.close()
    return root


class Phone:
    """A device that answers, as the node would run it: opened for each request, closed by `answer`."""

    def __init__(self, homes: Path, life: str) -> None:
        self.folder = homes / "copies" / life
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(homes / life, self.folder)
        self.life, self.draws = life, 0

    def open(self, context=None, data: bytes = b"") -> Device:
        self.draws += 1
        return open_device(self.folder, entropy=replayed_entropy((self.life, self.draws)))

    def answer(self, data: bytes, endpoint: str) -> bytes:
        return open_and_answer(data, endpoint, lambda: self.open(context_of(1), data))

    def at_rest(self) -> bytes:
        """Every byte of every file of this device, while it is closed, with the files' names."""
        return b"\0".join(file.name.encode() + b"\0" + file.read_bytes() for file in sorted(self.folder.rglob("*")))
