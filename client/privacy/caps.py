"""What a device may spend: the owner's table, set by the app that holds the device. No message of a server reaches it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from shared.arrays import Doubles
from shared.errors import ConfigError
from shared.messages import REGISTER, Spends

DAY_S = 86_400


class LedgerLine(StrEnum):
    """The lines of the ledger: the kinds of message that the register charges, by name."""

    UPDATE = "update"
    PHI = "risk_update"
    ALERT_BIT = "alert_bit"


#: Lines whose releases are rounds of a plan, and count against `participations_per_plan`.
OF_A_PLAN = frozenset(line for line in LedgerLine if REGISTER[line].spends is Spends.PARTICIPATION)


@dataclass(frozen=True)
class Cap:
    """Most epsilon of one period, and of the device's life."""

    period: float
    lifetime: float

    def __post_init__(self) -> None:
        if not 0 <= self.period <= self.lifetime:
            raise ConfigError(f"expected 0 <= period <= lifetime, got {self.period} and {self.lifetime}")


#: Shares of the default budget. 14 participations at noise multiplier 4 cost 4.4 here (by RDP; 4.05 exactly), two coins
#: of epsilon 1 cost 2. Lifetimes are those of about four periods.
DEFAULT_LINES: Mapping[LedgerLine, Cap] = MappingProxyType(
    {
        LedgerLine.UPDATE: Cap(4.5, 10.0),
        LedgerLine.PHI: Cap(1.0, 2.0),
        LedgerLine.ALERT_BIT: Cap(2.0, 8.0),
    }
)


@dataclass(frozen=True)
class Caps:
    """One table for everything that leaves, identified alerts excepted.

    `total` caps the lines together: their joint epsilon is less than the sum of theirs. A period lasts `period_s`
    seconds. A plan that clips at more than `clip_norm` (p's or phi's updates, model units), or of which one participation
    alone costs more than these caps, is not installed. A cap of infinity guards nothing, and says so.
    """

    lines: Mapping[LedgerLine, Cap] = field(default_factory=lambda: DEFAULT_LINES)
    total: Cap = Cap(7.5, 20.0)
    delta: float = 1e-5
    participations_per_plan: int = 14
    period_s: int = 182 * DAY_S
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        if set(self.lines) != set(LedgerLine):
            raise ConfigError(f"expected a cap for each of {', '.join(LedgerLine)}")
        if not 0 < self.delta < 1:
            raise ConfigError(f"expected delta in (0, 1), got {self.delta}")
        if self.participations_per_plan < 0:
            raise ConfigError(f"expected participations_per_plan >= 0, got {self.participations_per_plan}")
        if self.period_s < DAY_S:
            raise ConfigError(f"expected period_s >= {DAY_S}, got {self.period_s}")
        if not self.clip_norm > 0:
            raise ConfigError(f"expected clip_norm > 0, got {self.clip_norm}")

    @classmethod
    def none(cls) -> Caps:
        """No cap at all: for simulations of a population that has no protection, and says so."""
        open_ended = Cap(math.inf, math.inf)
        return cls(dict.fromkeys(LedgerLine, open_ended), open_ended, participations_per_plan=2**31, clip_norm=math.inf)

    def epsilons(self, line: LedgerLine) -> Doubles:
        """[[period in total, period of the line], [lifetime in total, lifetime of the line]]: (2, 2)."""
        own = self.lines[line]
        return np.array([[self.total.period, own.period], [self.total.lifetime, own.lifetime]])
