"""What an app may do about an alert: segment of the user x direction x level -> intervention, chosen on the device.

All devices hold the whole table in advance, and the offers it can name; which row is used depends on behaviour, so the
choice is made here. Showing something on the phone tells nobody anything: it costs no epsilon. Fetching an offer, or
asking which one, because of an alert would tell the server of the alert at that moment: prefetch every offer for
everybody. An offer that is redeemed in the shop tells the shop, as any purchase does, outside epsilon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from shared.arrays import Bools, Ints
from shared.errors import ConfigError, InputError
from shared.features import History, last_active

from .risk_levels import Direction, RiskLevel


class Segment(IntEnum):
    """What a user is worth to the shop by recency, frequency and amount together, as the device alone knows."""

    LOW = 0
    MIDDLE = 1
    HIGH = 2


class Intervention(IntEnum):
    """What an app can do, the cheapest first."""

    NOTHING = 0
    REMIND = 1  #: show the category
    SUGGEST = 2  #: show things that go with it
    SMALL_OFFER = 3
    LARGE_OFFER = 4


#: Points, one for each bound that is reached, the same for everybody, fixed by design. Silence and active steps over all
#: categories as shares of the window; money per active step within it.
SILENCE_SHARES, ACTIVE_SHARES, AMOUNTS = (0.5, 0.15), (0.1, 0.3), (5.0, 25.0)
#: Points (0 to 6) from which on a user is MIDDLE, HIGH.
MIDDLE_FROM, HIGH_FROM = 2, 5


def segments(history: History, window_steps: int) -> Ints:
    """Segment of each user (...) of a history (..., C, T), as of its last step. A user who did nothing within
    `window_steps` is LOW."""
    if window_steps < 1:
        raise InputError(f"expected window_steps >= 1, got {window_steps}")
    if not history.n_steps:
        return np.zeros(history.active.shape[:-2], np.int64)
    active: Bools = np.asarray(history.active.any(axis=-2))
    silence = history.n_steps - 1 - last_active(active)[..., -1]
    n_active = active[..., -window_steps:].sum(axis=-1)
    spent = np.nan_to_num(history.amount[..., -window_steps:]).sum(axis=(-2, -1), dtype=np.float64)
    each = spent / np.maximum(n_active, 1)
    points = sum((silence <= share * window_steps).astype(np.int64) for share in SILENCE_SHARES)
    points += sum((n_active >= share * window_steps).astype(np.int64) for share in ACTIVE_SHARES)
    points += sum((each >= amount).astype(np.int64) for amount in AMOUNTS)
    out: Ints = (points >= MIDDLE_FROM).astype(np.int64) + (points >= HIGH_FROM)
    return np.where(n_active > 0, out, Segment.LOW)


@dataclass(frozen=True)
class Policy:
    """A table of interventions: `table[segment][direction][level]`; ConfigError unless every case has one."""

    table: Sequence[Sequence[Sequence[Intervention]]]

    def __post_init__(self) -> None:
        shape = (len(Segment), len(Direction), len(RiskLevel))
        try:
            found = np.array(self.table)
        except Exception:
            raise ConfigError(f"expected a table of {shape} interventions") from None
        if found.dtype.kind not in "iu" or found.shape != shape or found.min() < 0 or found.max() >= len(Intervention):
            raise ConfigError(f"expected a table of {shape} interventions in 0..{len(Intervention) - 1}")

    def plain(self) -> list[list[list[int]]]:
        """The table as plain numbers, to be kept."""
        return np.array(self.table, np.int64).tolist()  # type: ignore[no-any-return]

    def choose(self, segment: Ints | int, direction: Ints | int, level: Ints | int) -> Ints:
        """The intervention of each case (...); the three broadcast.

        >>> Intervention(int(POLICY.choose(Segment.HIGH, Direction.FALL, RiskLevel.HIGH))).name
        'LARGE_OFFER'
        >>> Intervention(int(POLICY.choose(Segment.LOW, Direction.FALL, RiskLevel.LOW))).name
        'NOTHING'
        """
        out: Ints = np.array(self.table, np.int64)[segment, direction, level]
        return out


_NOTHING, _REMIND, _SUGGEST, _SMALL, _LARGE = Intervention
#: What devices hold unless an app brings its own: money only where a fall is likely and the user is worth it, none for a
#: rise, which happens by itself.
POLICY = Policy(
    (
        ((_NOTHING, _NOTHING, _REMIND), (_NOTHING, _NOTHING, _SUGGEST)),
        ((_NOTHING, _REMIND, _SMALL), (_NOTHING, _SUGGEST, _SUGGEST)),
        ((_REMIND, _SMALL, _LARGE), (_SUGGEST, _SUGGEST, _SUGGEST)),
    )
)
