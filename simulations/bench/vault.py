"""What the vault costs: one sealed event, one release, beside a bare SQLite insert and Glean. One call at a time, timed one by one."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from client.device import Device, Profile
from client.privacy.caps import Caps
from client.vault.keys import FileKeys
from shared.clock import ReplayClock
from shared.events import BehaviourEvent, Catalogue, EventKind, Step
from shared.rdp import update_cost

from ..people.setup import Crowd, Setup
from .baselines import glean
from .federation import bench_scenario
from .measurements import Measurement

BODY_BYTES = 6_400
CATALOGUE = Catalogue(tuple(f"category {i}" for i in range(12)))


def vault_numbers(events: int, releases: int, repeats: int, folder: Path, glean_python: Path) -> list[Measurement]:
    """Every figure of the vault: percentiles over `events` or `releases` calls, `repeats` times, each time on a fresh
    device under `folder`, whose disk counts."""
    folder.mkdir(parents=True, exist_ok=True)
    inserted, released, bare = [], [], []
    for _ in range(repeats):
        with TemporaryDirectory(dir=folder) as home:
            bare.append(percentiles(bare_insert(Path(home)), events))
        with TemporaryDirectory(dir=folder) as home, new_device(Path(home)) as device:
            inserted.append(percentiles(lambda device=device: device.record(EVENT), events))  # type: ignore[misc]
            released.append(percentiles(releaser(device), releases))
    insert_p50, insert_p99 = ([s * 1e6 for s in column] for column in zip(*inserted, strict=True))
    release_p50, release_p99 = ([s * 1e3 for s in column] for column in zip(*released, strict=True))
    bare_p50 = [p50 * 1e6 for p50, _ in bare]
    figures = [
        Measurement.of(
            "vault.insert_p50_us", "Device.record, sealed and durable, median", insert_p50, "us", at_most=100.0
        ),
        Measurement.of("vault.insert_p99_us", "  99th percentile", insert_p99, "us", at_most=2_000.0),
        Measurement.of(
            "vault.bare_sqlite_insert_p50_us", "  a bare SQLite insert, the same durability", bare_p50, "us"
        ),
        Measurement.of(
            "vault.release_p50_ms", "a release of 6.4 KB, safe from power loss, median", release_p50, "ms", at_most=3.0
        ),
        Measurement.of("vault.release_p99_ms", "  99th percentile", release_p99, "ms"),
    ]
    if not glean_python.exists():
        missing = f"no {glean_python}: make .venv-glean/.ready"
        return [*figures, Measurement("vault.glean_record_p50_us", "glean-sdk, record", (), "", skipped=missing)]
    theirs = glean(glean_python, events, repeats)
    return [
        *figures,
        Measurement.of(
            "vault.glean_record_p50_us", "glean-sdk, record of an event, handed to a thread", theirs["p50_us"], "us"
        ),
        Measurement.of("vault.glean_record_p99_us", "  99th percentile", theirs["p99_us"], "us"),
        Measurement.of("vault.glean_stored_us", "  until it is stored, mean, not sealed", theirs["stored_us"], "us"),
    ]


EVENT = BehaviourEvent(EventKind.PURCHASE, 3, 10.0, 12.5)


def new_device(home: Path) -> Device:
    """A device as an app opens it, with scrypt at its full cost; no cap, so that releases can be repeated."""
    profile = Profile(Step.DAY, len(CATALOGUE), CATALOGUE.sha256, bytes(32), number=1, origin_s=0.0)
    keys, clock = FileKeys(home, os.urandom(16)), ReplayClock(20.0)
    return Device.open(home, profile, keys=keys, caps=Caps.none(), clock=clock)


def releaser(device: Device) -> Callable[[], bytes]:
    """Releases one more update: register, consent, ledger, journal, outbox, anchor, bytes."""
    plan = Setup.of(bench_scenario(10_000, 1), Crowd(10_000, CATALOGUE)).plan
    cost = update_cost(plan.privacy, plan.network.n_parameters)
    fields, rounds = {"plan_sha256": plan.sha256, "values": os.urandom(BODY_BYTES)}, count()
    return lambda: device.gate.release(os.urandom(32), "update", {"round": next(rounds), **fields}, cost, plan.sha256)


def bare_insert(home: Path) -> Callable[[], object]:
    """Inserts a row of an event's size into a plain table, one transaction each, as anybody would."""
    database = sqlite3.connect(home / "bare.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute(
        "CREATE TABLE events (id INTEGER PRIMARY KEY, kind INTEGER, category INTEGER, time REAL, amount REAL)"
    )
    row = (int(EVENT.kind), EVENT.category, EVENT.time_s, EVENT.amount)
    return lambda: database.execute("INSERT INTO events (kind, category, time, amount) VALUES (?, ?, ?, ?)", row)


def percentiles(action: Callable[[], object], calls: int) -> tuple[float, float]:
    """Seconds of one call: the median and the 99th percentile."""
    action()
    seconds = np.empty(calls)
    for i in range(calls):
        began_s = time.perf_counter()
        action()
        seconds[i] = time.perf_counter() - began_s
    return float(np.median(seconds)), float(np.quantile(seconds, 0.99))
