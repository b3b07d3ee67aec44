"""What an early warning should have warned of, and how a set of alerts did.

A turn is a (user, category, direction) and the steps in which an alert for it is in time. Two sources:
- planted: a drop, rise or drift that the generator made; in time from its first step to 31 steps after it has settled;
- lapses and take-offs (docs/protocol.md), from what really happened next: a lapse is a run of watched steps after
  which the user does nothing in the category for `lapse_steps`; a take-off is a run of steps at which a known interest
  is quiet (`shared/features/windows.py`), at most two active ones in the window, with at least three in the `lapse_steps` after.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from client.detection.risk_levels import Direction
from shared.arrays import Bools, Doubles, Ints, as_declared, hold_declared
from shared.features import History, established, quiet, taken_up

from ..federation.alert_table import Alerts
from ..people.truth import ChangeKind, Truth
from ..scenarios.config import ProtocolSection
from .result_tables import Judged

PLANTED_TOLERANCE_STEPS = 31


@dataclass(frozen=True)
class Turns:
    """Turns as arrays (n,): user, category, and the first and last step of an alert in time."""

    user: Ints
    category: Ints
    first: Ints
    last: Ints

    def __post_init__(self) -> None:
        hold_declared(self)

    def __len__(self) -> int:
        return int(self.user.size)

    @as_declared
    def of_users(self, users: Ints) -> Turns:
        """The turns of some users (n,), in ascending order, who are numbered from 0 then."""
        at = np.minimum(np.searchsorted(users, self.user), len(users) - 1)
        mine = users[at] == self.user
        return Turns(at[mine], self.category[mine], self.first[mine], self.last[mine])

    @classmethod
    @as_declared
    def of_runs(cls, mask: Bools, steps: Ints) -> Turns:
        """One turn per maximal run of true in `mask` (K, S, C), whose columns are consecutive `steps` (S,)."""
        padded = np.zeros((mask.shape[0], mask.shape[2], mask.shape[1] + 2), np.int8)
        padded[..., 1:-1] = np.moveaxis(mask, 1, 2)
        change = np.diff(padded, axis=-1)
        user, category, begin = np.nonzero(change == 1)
        _, _, end = np.nonzero(change == -1)
        return cls(user, category, steps[begin], steps[end - 1])


def planted_turns(truth: Truth, direction: Direction, steps: tuple[int, int]) -> Turns:
    """The planted changes of one direction that begin in steps first..last and could still be seen within them."""
    lasting = truth.of_kind(ChangeKind.DROP, ChangeKind.RISE, ChangeKind.GRADUAL)
    sign = -1 if direction is Direction.FALL else 1
    fits = (np.sign(lasting.size) == sign) & (lasting.step >= steps[0])
    fits &= lasting.end_step + PLANTED_TOLERANCE_STEPS <= steps[1]
    chosen = lasting.where(fits)
    return Turns(
        chosen.user.astype(np.int64),
        chosen.category.astype(np.int64),
        chosen.step.astype(np.int64),
        chosen.end_step.astype(np.int64) + PLANTED_TOLERANCE_STEPS,
    )


@as_declared
def active_within(history: History, steps: Ints, width: int) -> Doubles:
    """Active steps in (t, t + width], or for a negative width in (t + width, t]: (K, S, C)."""
    sums = np.zeros((*history.active.shape[:-1], history.n_steps + 1))
    np.cumsum(history.active, axis=-1, out=sums[..., 1:])
    low, high = sorted((0, width))
    span = sums[..., steps + 1 + high] - sums[..., np.maximum(steps + 1 + low, 0)]
    return np.moveaxis(span, -1, -2)


@as_declared
def watched(history: History, steps: Ints, protocol: ProtocolSection, min_active: int) -> Bools:
    """The (user, step, category) that a lapse is predicted for: (K, S, C)."""
    return established(
        history,
        steps,
        window_steps=protocol.window_steps,
        min_active=min_active,
        lapse_steps=protocol.lapse_steps,
    )


@as_declared
def lapse_mask(history: History, steps: Ints, protocol: ProtocolSection, min_active: int) -> Bools:
    """Watched, and nothing in the category for the next `lapse_steps`: (K, S, C)."""
    silent = active_within(history, steps, protocol.lapse_steps) == 0
    out: Bools = watched(history, steps, protocol, min_active) & silent
    return out


@as_declared
def quiet_mask(history: History, steps: Ints, protocol: ProtocolSection) -> Bools:
    """The (user, step, category) that a take-off is predicted for: known by then, and quiet: (K, S, C)."""
    return quiet(history, steps, protocol.window_steps)


@as_declared
def takeoff_mask(history: History, steps: Ints, protocol: ProtocolSection) -> Bools:
    """Quiet, and three active steps or more in the next `lapse_steps`: (K, S, C)."""
    return quiet_mask(history, steps, protocol) & taken_up(history, steps, protocol.lapse_steps)


def judge(alerts: Alerts, turns: Turns, n_users: int, *, truths: Turns | None = None) -> Judged:
    """How alerts of one direction did: counts, precision, recall, median delay in steps, false alerts per user.

    An alert is true if it falls into a turn of its user and category. `truths` are the turns that make an alert true,
    where they are more than those that count for recall (a planted change before the period, say). Numbers that cannot
    be computed (no alert, no turn) are None.
    """
    wider = turns if truths is None else truths
    is_true = in_time(alerts, wider)
    waits = delays(alerts, turns)
    found = np.isfinite(waits)
    n_false = int((~is_true).sum())
    return Judged(
        alerts=len(alerts),
        turns=len(turns),
        precision=float(is_true.mean()) if len(alerts) else None,
        recall=float(found.mean()) if len(turns) else None,
        median_delay_steps=float(np.median(waits[found])) if found.any() else None,
        false_per_user=n_false / n_users,
    )


def in_time(alerts: Alerts, turns: Turns) -> Bools:
    """Which alerts fall into a turn of their user and category: (n_alerts,)."""
    return np.asarray(_hits(alerts, turns).any(axis=1), bool) if len(alerts) else np.zeros(0, bool)


def first_in_time(alerts: Alerts, turns: Turns) -> Bools:
    """Which alerts are the first that falls into some turn of their user and category: (n_alerts,). A turn is told of once."""
    if not len(alerts):
        return np.zeros(0, bool)
    order = np.lexsort((alerts.step, alerts.category, alerts.user))
    hits = _hits(alerts, turns)[order]
    stream = (alerts.user * (1 + int(alerts.category.max())) + alerts.category)[order]
    before = np.cumsum(hits, axis=0)
    starts = np.searchsorted(stream, stream)
    told = before - hits - np.where(starts[:, None] > 0, before[starts - 1], 0)
    out = np.zeros(len(alerts), bool)
    out[order] = (hits & (told == 0)).any(axis=1)
    return out


def _hits(alerts: Alerts, turns: Turns) -> Bools:
    """Which alert is in time for which turn: (n_alerts, n_candidates), turns of the same stream in columns."""
    stride = 1 + max(int(c.max(initial=0)) for c in (alerts.category, turns.category))
    key, of_turn = alerts.user * stride + alerts.category, turns.user * stride + turns.category
    order = np.argsort(of_turn, kind="stable")
    low, high = np.searchsorted(of_turn[order], key, "left"), np.searchsorted(of_turn[order], key, "right")
    width = int((high - low).max(initial=0))
    out = np.zeros((len(alerts), width), bool)
    for i in range(width):
        inside = low + i < high
        turn = order[np.where(inside, low + i, 0)] if len(turns) else np.zeros(len(alerts), np.int64)
        out[:, i] = inside & (turns.first[turn] <= alerts.step) & (alerts.step <= turns.last[turn])
    return out


def delays(alerts: Alerts, turns: Turns) -> Doubles:
    """Steps from a turn's first step to its first alert, inf where there is none: (n_turns,)."""
    stride = 1 + max(int(c.max(initial=0)) for c in (alerts.category, turns.category))
    order = np.lexsort((alerts.step, alerts.user * stride + alerts.category))
    span = 1 + max(int(c.max(initial=0)) for c in (alerts.step, turns.last))
    position = (alerts.user * stride + alerts.category)[order] * span + alerts.step[order]
    stream = (turns.user * stride + turns.category) * span
    at = np.searchsorted(position, stream + turns.first)
    out = np.full(len(turns), np.inf)
    inside = at < len(position)
    reached = position[np.where(inside, at, 0)] if len(position) else np.zeros(len(turns), np.int64)
    hit = inside & (reached <= stream + turns.last)
    out[hit] = (reached - stream - turns.first)[hit]
    return out
