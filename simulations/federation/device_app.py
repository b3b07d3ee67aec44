"""The ClientApp of `devices` fidelity: one Flower node is one device, running the client as shipped.

The only things added are the world around a phone: its user, who acts as the population says, its clock, which follows
the server's public calendar, rounds that it sleeps through (`silence.py`), and an app on it that writes down what the
device shows to its user, reasons included.
Those notes are the simulation's, for its metrics; they do not leave through the gate.

Each device has a vault and a passphrase from the operating system. The passphrase lies beside the lock, scrypt is set to
its cheapest, and no write waits for the disk (a killed run loses nothing, one that lost power starts again): all three
in simulations only. What it may spend, and what it tells of alerts, its owner decided: see `simulations/scenarios/owners.py`.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context

from client.app import build_app, named
from client.device import Device, Profile
from client.vault.keys import FileKeys
from client.vault.vault import Limits
from shared.clock import ReplayClock
from shared.codec import decode
from shared.envelope import unwrap
from shared.errors import RunError, WireError
from shared.events import BehaviourEvent, EventKind
from shared.files import private_folder
from shared.messages import REQUESTS

from ..people.population import Population
from ..scenarios.owners import Owners
from .metering import Metered
from .observations import DeviceNotes
from .run_folder import AUDIENCE, RunFolder
from .silence import Silent
from .sums.helper_nodes import WithHelpers

PASSPHRASE_FILE = "passphrase"
#: For simulations only: scrypt's least work, which makes a passphrase easy to guess, and no waiting for the disk.
CHEAP: dict[str, Any] = {"n": 2, "r": 1, "p": 1, "waits_for_disk": False}
LIMITS = Limits(waits_for_disk=False)


@lru_cache(maxsize=1)
def world(run: RunFolder) -> tuple[Population, Owners]:
    """The population, and what its users decided as owners of their devices, mapped once per worker."""
    return Population.load(run.population), run.owners()


@lru_cache(maxsize=1)
def server_key(run: RunFolder) -> bytes:
    """The 32 bytes of the run's server that its devices pin."""
    return run.server_key()


@lru_cache(maxsize=1)
def enrolment_key(run: RunFolder) -> bytes:
    """The 32 bytes under which the run's devices believe an epoch of enrolment."""
    return run.enrolment_key()


def calendar_of(data: bytes) -> tuple[int | None, float]:
    """The step of the public calendar in a request, signed or not, None if there is none; and the time that its clock shows:
    the world around a phone goes by them, the phone does not."""
    try:
        envelope = unwrap(data)
        return decode(REQUESTS, envelope.body)[1].get("step"), float(envelope.time_s)
    except WireError:
        return None, 0.0


def simulation_keys(home: Path) -> FileKeys:
    """The key of one simulated device, under a passphrase that was drawn when it was first opened."""
    file = home / PASSPHRASE_FILE
    if not file.exists():
        file.touch(0o600)
        file.write_bytes(os.urandom(16).hex().encode())
    return FileKeys(home, file.read_bytes(), knows_place=False, **CHEAP)


def open_simulated(context: Context, data: bytes) -> Device:
    """The device of this node's user, who has lived up to the close of the step that the request names."""
    step, time_s = calendar_of(data)
    run = RunFolder(Path(str(context.run_config["simulation.folder"])))
    user = int(context.node_config["partition-id"])
    population, owners = world(run)
    home = private_folder(run.device(user))
    profile = Profile(
        step=population.step,
        n_categories=len(population.catalogue),
        catalogue_sha256=population.catalogue.sha256,
        server_key=server_key(run),
        consent=owners.consent_of(user),
        number=user,
        origin_s=0.0,
        audience=AUDIENCE,
        enrolment_key=enrolment_key(run),
    )
    notes = DeviceNotes(home)
    device = Device.open(
        home,
        profile,
        keys=simulation_keys(home),
        on_step=notes.write,
        clock=ReplayClock(time_s if step is None else float((step + 1) * population.step.seconds)),
        caps=owners.caps,
        limits=LIMITS,
    )
    notes.explain = device.explain
    if step is None:
        return device
    events = population.user_events(user)
    begin_s, end_s = device.n_closed_steps * population.step.seconds, (step + 1) * population.step.seconds
    first, last = np.searchsorted(events.time_s, [begin_s, end_s])
    columns = (events.kind, events.category, events.time_s, events.amount)
    rows = zip(*(column[first:last].tolist() for column in columns), strict=True)
    lived = (BehaviourEvent(EventKind(kind), category, time_s, amount) for kind, category, time_s, amount in rows)
    if not device.catch_up(lived, step + 1):
        device.close()
        raise RunError("expected a simulated device to take its user's events")
    return device


class Nodes(WithHelpers):
    """The nodes of a simulated run. Flower hands its workers the app anew with every message: this one goes as a name, not as
    code, which is a tenth of what a message costs."""

    def __reduce__(self) -> tuple[Any, ...]:
        return named, (f"{__name__}:app",)


app = Nodes(Silent(Metered(build_app(open_simulated))))
