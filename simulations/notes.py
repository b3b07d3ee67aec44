"""What the apps on simulated devices write down of what they are shown: p and alerts. The simulation's, for its metrics;
none of it leaves through a gate.

`devices` fidelity: one folder per device, rows appended. `hosts` fidelity: one folder per host, a file per query.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.device import Alert

from .turns import Alerts

DEVICES = "devices"
HOSTS = "hosts"
INTERESTS_FILE = "interests.f32"
ALERTS_FILE = "alerts.i32"

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class DeviceNotes:
    """One device's notes: a row (step, p...) per closed step, and a row per alert."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, step: int, p: Floats, alerts: list[Alert]) -> None:
        with (self._folder / INTERESTS_FILE).open("ab") as file:
            file.write(np.concatenate([[np.float32(step)], p]).astype("<f4").tobytes())
        if alerts:
            rows = [[a.step, a.direction, a.category, a.level, a.model_round] for a in alerts]
            with (self._folder / ALERTS_FILE).open("ab") as file:
                file.write(np.array(rows, dtype="<i4").tobytes())


class HostNotes:
    """One host's notes of its users first..first + K - 1."""

    def __init__(self, folder: Path, first_user: int) -> None:
        self._folder, self._first_user = folder, first_user

    def write(self, step: int, p: Floats, alerts: Alerts) -> None:
        """p (K, C) of one closed step, and the alerts raised at it (users counted from the host's first)."""
        columns = np.stack([column for column in vars(alerts).values()])
        columns[0] += self._first_user
        fresh = self._folder / "notes.new"
        with fresh.open("wb") as file:
            np.savez(file, first_user=self._first_user, p=p, alerts=columns)
        fresh.replace(self._folder / f"notes-{step}.npz")


def read_notes(folder: Path, n_users: int, n_categories: int, n_steps: int) -> tuple[Floats, Alerts]:
    """Everybody's notes of a run: p (K, T, C), NaN where none, and all alerts."""
    p = np.full((n_users, n_steps, n_categories), np.nan, np.float32)
    found: list[Ints] = []
    for file in (folder / HOSTS).glob("*/notes-*.npz"):
        with np.load(file) as notes:
            first, step = int(notes["first_user"]), int(file.stem.partition("-")[2])
            p[first : first + len(notes["p"]), step] = notes["p"]
            found.append(notes["alerts"].T)
    for home in (folder / DEVICES).glob("*"):
        user = int(home.name)
        if (home / INTERESTS_FILE).exists():
            rows = np.fromfile(home / INTERESTS_FILE, dtype="<f4").reshape(-1, n_categories + 1)
            p[user, rows[:, 0].astype(int)] = rows[:, 1:]
        if (home / ALERTS_FILE).exists():
            alerts = np.fromfile(home / ALERTS_FILE, dtype="<i4").reshape(-1, 5)
            found.append(np.column_stack([np.full(len(alerts), user), alerts[:, :4]]))
    table = np.concatenate(found).astype(np.int64) if found else np.empty((0, 5), np.int64)
    return p, Alerts(*table[np.lexsort((table[:, 1], table[:, 0]))].T)
