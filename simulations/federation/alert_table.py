"""Alerts of all devices as arrays: those of a rule, and those that apps were shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from client.detection.risk_levels import Direction
from shared.arrays import Bools, Ints, as_declared, hold_declared


@dataclass(frozen=True)
class Alerts:
    """Alerts of all devices as arrays (n,)."""

    user: Ints
    step: Ints
    direction: Ints
    category: Ints
    level: Ints

    def __post_init__(self) -> None:
        hold_declared(self)

    def __len__(self) -> int:
        return int(self.user.size)

    def of(self, direction: Direction, steps: tuple[int, int]) -> Self:
        """Those of one direction within steps first..last."""
        return self.where((self.direction == direction) & (self.step >= steps[0]) & (self.step <= steps[1]))

    @as_declared
    def where(self, keep: Bools) -> Self:
        """Those that `keep` (n,) names."""
        return type(self)(*(column[keep] for column in vars(self).values()))

    @as_declared
    def of_users(self, users: Ints) -> Self:
        """Those of some users (n,), in ascending order, who are numbered from 0 then."""
        at = np.minimum(np.searchsorted(users, self.user), len(users) - 1)
        mine = self.where(users[at] == self.user)
        return replace(mine, user=np.searchsorted(users, mine.user))

    @classmethod
    @as_declared
    def of_mask(cls, fired: Bools, steps: Ints, direction: Direction, quiet_steps: int) -> Alerts:
        """Alerts of a rule that fires where `fired` (K, S, C) is true, at most one per `quiet_steps` + 1 and stream."""
        quiet_until = np.zeros((fired.shape[0], fired.shape[2]), np.int64)
        found: list[Ints] = []
        for i, step in enumerate(steps):
            now = fired[:, i] & (quiet_until <= step)
            quiet_until[now] = step + 1 + quiet_steps
            user, category = np.nonzero(now)
            found.append(np.stack([user, np.full_like(user, step), category]))
        user, step_of, category = np.concatenate(found, axis=1) if found else np.empty((3, 0), np.int64)
        return cls(user, step_of, np.full_like(user, direction), category, np.zeros_like(user))


@dataclass(frozen=True)
class ShownAlerts(Alerts):
    """Alerts as the apps on the devices saw them: with the segment of the user at that moment, what the policy table
    chose to do, and the step at which the change began (-1: not known)."""

    segment: Ints
    intervention: Ints
    began: Ints

    def __post_init__(self) -> None:
        hold_declared(self)
