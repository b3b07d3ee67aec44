"""The ClientApp of `devices` fidelity: one Flower node is one device, running the client as shipped.

The only things added are the world around a phone: its user, who acts as the population says, its clock, which follows
the server's public calendar, and an app on it that writes down what the device shows to its user, reasons included. Those notes are the
simulation's, for its metrics; they do not leave through the gate.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
from flwr.app import Context

from client.app import build_app
from client.consent import Consent
from client.device import Device, Profile
from shared.events import BehaviourEvent, EventKind

from .notes import DEVICES, DeviceNotes
from .population import Population

POPULATION = "population"
CONSENTS_FILE = "consents.json"


@lru_cache(maxsize=1)
def world(folder: Path) -> tuple[Population, frozenset[int]]:
    """The population and the users who consented to identified alerts, mapped once per worker."""
    consented = json.loads((folder / CONSENTS_FILE).read_text(encoding="utf-8"))
    return Population.load(folder / POPULATION), frozenset(consented)


def open_simulated(context: Context, step: int) -> Device:
    """The device of this node's user, who has lived up to the close of `step`."""
    folder = Path(str(context.run_config["simulation.folder"]))
    user = int(context.node_config["partition-id"])
    population, consented = world(folder)
    home = folder / DEVICES / str(user)
    home.mkdir(parents=True, exist_ok=True)
    profile = Profile(
        step=population.step,
        n_categories=len(population.catalogue),
        catalogue_sha256=population.catalogue.sha256,
        consent=Consent.IDENTIFIED if user in consented else Consent.LOCAL,
        number=user,
    )
    notes = DeviceNotes(home)
    device = Device.open(home, profile, on_step=notes.write)
    notes.explain = device.explain
    events = population.user_events(user)
    begin_s, end_s = device.n_closed_steps * population.step.seconds, (step + 1) * population.step.seconds
    first, last = np.searchsorted(events.time_s, [begin_s, end_s])
    columns = (events.kind, events.category, events.time_s, events.amount)
    for kind, category, time_s, amount in zip(*(column[first:last].tolist() for column in columns), strict=True):
        device.record(BehaviourEvent(EventKind(kind), category, time_s, amount))
    device.close_until(step + 1)
    return device


app = build_app(open_simulated)
