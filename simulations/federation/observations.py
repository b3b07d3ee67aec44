"""What the apps on simulated devices write down of what they are shown: p and alerts. The simulation's, for its metrics;
none of it leaves through a gate.

`devices` fidelity: rows appended in each device's folder. `hosts` fidelity: a file per step in each host's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from client.detection.alerts import Alert
from client.detection.explain import Explanation
from client.detection.watch import NOT_KNOWN
from shared.arrays import Floats, Ints, as_declared
from shared.files import append_line, append_rows, replacing, whole_lines, whole_rows

from .alert_table import ShownAlerts
from .host_folder import HostFolder
from .run_folder import RunFolder

INTERESTS_FILE = "interests.f32"
ALERTS_FILE = "alerts.i32"
REASONS_FILE = "reasons.jsonl"
#: Seven whole numbers of an alert.
ALERT_BYTES = 28
#: So many alerts of a device are written down with their reasons.
REASONS_KEPT = 10


class DeviceNotes:
    """One device's notes: a row (step, p...) per closed step, a row per alert, and the first alerts' reasons, which
    `explain` gives as soon as it is there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.explain: Callable[[Alert], Explanation | None] | None = None

    @as_declared
    def write(self, step: int, p: Floats, alerts: list[Alert]) -> None:
        row = np.concatenate([[np.float32(step)], p]).astype("<f4").tobytes()
        append_rows(self._folder / INTERESTS_FILE, row, len(row))
        if alerts:
            rows = [
                [
                    a.step,
                    a.direction,
                    a.category,
                    a.level,
                    a.segment,
                    a.intervention,
                    NOT_KNOWN if a.began is None else a.began,
                ]
                for a in alerts
            ]
            append_rows(self._folder / ALERTS_FILE, np.array(rows, dtype="<i4").tobytes(), ALERT_BYTES)
            if self.explain is not None:
                self._write_reasons(alerts, self.explain)

    def _write_reasons(self, alerts: list[Alert], explain: Callable[[Alert], Explanation | None]) -> None:
        file = self._folder / REASONS_FILE
        for alert in alerts[: max(0, REASONS_KEPT - len(whole_lines(file)))]:
            told = explain(alert)
            fields = {"step": alert.step, "direction": alert.direction, "category": alert.category}
            append_line(file, json.dumps({**fields, "texts": told.texts if told else ()}))


class HostNotes:
    """One host's notes of its `users` (K,), who have consecutive numbers: alerts of all, p of those among `looked_at` (n,), of whom
    figures need it; both in ascending order."""

    @as_declared
    def __init__(self, folder: HostFolder, users: Ints, looked_at: Ints) -> None:
        self._folder, self._first_user = folder, int(users[0])
        self._noted = looked_at[slice(*np.searchsorted(looked_at, (users[0], users[-1] + 1)))]
        self._found: dict[int, list[tuple[Floats, Ints]]] = {}

    def add(self, users: slice, closed: Iterable[tuple[int, Floats, ShownAlerts]]) -> None:
        """What the next `users` of the host were shown: closed steps, p (n, C) and the alerts raised then, these users counted from 0."""
        first = self._first_user + users.start
        here = self._noted[slice(*np.searchsorted(self._noted, (first, self._first_user + users.stop)))] - first
        for step, p, alerts in closed:
            columns = np.stack([column for column in vars(alerts).values()])
            columns[0] += users.start
            self._found.setdefault(step, []).append((p[here], columns))

    def write(self) -> list[ShownAlerts]:
        """A file for each closed step, once everybody was added; all alerts of each, users counted from the host's first."""
        out = []
        for step, found in self._found.items():
            p, columns = (
                np.concatenate([part for part, _ in found]),
                np.concatenate([told for _, told in found], axis=1),
            )
            out.append(ShownAlerts(*columns.copy()))
            columns[0] += self._first_user
            with replacing(self._folder.notes_file(step)) as file:
                np.savez(file, users=self._noted, p=p, alerts=columns)
        return out


@as_declared
def read_notes(run: RunFolder, users: Ints, n_categories: int, n_steps: int) -> tuple[Floats, ShownAlerts]:
    """The notes of a run: p (K, T, C) of some `users` (K,), in ascending order, NaN where none was written down; and everybody's
    alerts."""
    p = np.full((len(users), n_steps, n_categories), np.nan, np.float32)
    found: list[Ints] = []
    for step, file in (noted for host in run.every_host() for noted in host.notes()):
        with np.load(file) as notes:
            _, here, there = np.intersect1d(users, notes["users"], assume_unique=True, return_indices=True)
            p[here, step] = notes["p"][there]
            found.append(notes["alerts"].T)
    for home in run.devices.glob("*"):
        user = int(home.name)
        rows = np.frombuffer(whole_rows(home / INTERESTS_FILE, 4 * (n_categories + 1)), "<f4").reshape(
            -1, n_categories + 1
        )
        at = int(np.searchsorted(users, user))
        if at < len(users) and users[at] == user:
            p[at, rows[:, 0].astype(int)] = rows[:, 1:]
        alerts = np.frombuffer(whole_rows(home / ALERTS_FILE, ALERT_BYTES), "<i4").reshape(-1, 7)
        found.append(np.column_stack([np.full(len(alerts), user), alerts]))
    table = np.concatenate(found).astype(np.int64) if found else np.empty((0, 8), np.int64)
    return p, ShownAlerts(*table[np.lexsort((table[:, 1], table[:, 0]))].T)


def read_reasons(run: RunFolder, user: int) -> dict[tuple[int, int, int], list[str]]:
    """The sentences that one simulated user was shown, by (step, direction, category) of the alert; empty if the run
    wrote none, as with hosts."""
    out = {}
    for line in whole_lines(run.device(user) / REASONS_FILE):
        with suppress(ValueError, LookupError, TypeError):  # a killed worker leaves half a line
            row = json.loads(line)
            out[row["step"], row["direction"], row["category"]] = row["texts"]
    return out
