"""The alerts that hosted devices keep, as each device keeps its own: in one table for the whole host, on disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.detection.alerts import NOT_TAKEN, Alert
from client.detection.risk_levels import Direction, RiskLevel
from shared.arrays import Bools
from shared.files import replacing
from shared.register.bounds import KEEP_ALERTS_STEPS

from .alert_table import Alerts

USER, STEP, DIRECTION, CATEGORY, LEVEL, MODEL_ROUND, TAKEN = range(7)

Table = NDArray[np.int32]


class HostAlerts:
    """A host's alerts: a row each (n, 7), users counted from the host's first; TAKEN is the query that took it."""

    def __init__(self, table: Table) -> None:
        self.table = table

    @classmethod
    def load(cls, file: Path, closed: int) -> HostAlerts:
        """The alerts of steps up to `closed`, the last one that is closed for good; later ones come again."""
        if not file.exists():
            return cls(np.empty((0, 7), np.int32))
        table: Table = np.load(file)
        return cls(table[table[:, STEP] <= closed])

    def save(self, file: Path) -> None:
        """Replace what is in the file, in one move."""
        with replacing(file) as out:
            np.save(out, self.table)

    def with_raised(self, raised: Iterable[Alerts], model_round: int, step: int) -> HostAlerts:
        """These and new ones, without those that are too old at `step`."""
        rows = [self.table[self.table[:, STEP] > step - KEEP_ALERTS_STEPS]]
        for alerts in raised:
            columns = np.stack([alerts.user, alerts.step, alerts.direction, alerts.category, alerts.level], axis=1)
            rows.append(np.pad(columns.astype(np.int32), ((0, 0), (0, 2)), constant_values=NOT_TAKEN))
            rows[-1][:, MODEL_ROUND] = model_round
        return HostAlerts(np.concatenate(rows))

    def take(self, step: int) -> dict[int, list[Alert]]:
        """Alerts of steps up to this one that no earlier query took, by user; asking again for the same step gives the same
        answer."""
        at = self.table[:, STEP]
        due = (self.table[:, TAKEN] == NOT_TAKEN) & (at > step - KEEP_ALERTS_STEPS) & (at <= step)
        self.table[due, TAKEN] = step
        out: dict[int, list[Alert]] = {}
        for row in self.table[self.table[:, TAKEN] == step].tolist():
            alert = Alert(Direction(row[DIRECTION]), row[CATEGORY], RiskLevel(row[LEVEL]), row[STEP], row[MODEL_ROUND])
            out.setdefault(row[USER], []).append(alert)
        return out

    def told(self) -> Table:
        """Whose, which turn, category, level and step of each: (n, 5), as recipes take them."""
        return self.table[:, [USER, DIRECTION, CATEGORY, LEVEL, STEP]]

    def alerted(self, n_users: int, steps: range) -> Bools:
        """Which users (n_users,) have an alert in a range of steps."""
        within = (self.table[:, STEP] >= steps.start) & (self.table[:, STEP] < steps.stop)
        return np.bincount(self.table[within, USER], minlength=n_users) > 0
