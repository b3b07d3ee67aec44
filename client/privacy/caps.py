"""What a device may spend: the owner's table, set by the app that holds the device. No message of a server reaches it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.arguments import instance, real, whole
from shared.arrays import Doubles
from shared.errors import ConfigError, VaultNewer
from shared.messages import REGISTER
from shared.register.kinds import Spends
from shared.register.recipes import QUERIES, RECIPES

DAY_S = 86_400
#: No whole number of a table is larger: no cap.
MOST = 2**62


#: With a larger delta an epsilon says nothing: one device in so few may be told outright.
MOST_DELTA = 1e-3


if TYPE_CHECKING:

    class LedgerLine(StrEnum):
        """The lines of the ledger: the kinds of message that the register charges, by name."""

        UPDATE = "update"
        PHI = "risk_update"
        ALERT_BIT = "alert_bit"
        CROWD = "crowd"
        CURVATURE = "curvature"
        HEADS = "head_update"
        EVALUATION = "evaluation"
        ALERT_COUNTS = "alert_counts"

else:  # with a line for every recipe that the table has
    _NAMES = {"UPDATE": "update", "PHI": "risk_update", "ALERT_BIT": "alert_bit"}
    _NAMES |= {"CROWD": "crowd", "CURVATURE": "curvature", "HEADS": "head_update"}
    _NAMES |= {recipe.name.upper(): recipe.name for recipe in QUERIES}
    LedgerLine = StrEnum("LedgerLine", _NAMES, module=__name__)


#: Lines whose releases are rounds of a plan, and count against `participations_per_plan`.
OF_A_PLAN = frozenset(line for line in LedgerLine if REGISTER[line].spends is Spends.PARTICIPATION)


@dataclass(frozen=True)
class Cap:
    """Most epsilon of one period, and of the device's life."""

    period: float
    lifetime: float

    def __post_init__(self) -> None:
        for name in ("period", "lifetime"):
            object.__setattr__(self, name, real(getattr(self, name), name, 0.0, endless=True))
        if not 0 <= self.period <= self.lifetime:
            raise ConfigError(f"expected 0 <= period <= lifetime, got {self.period} and {self.lifetime}")

    def stricter(self, other: Cap) -> Cap:
        """What both allow."""
        return Cap(min(self.period, other.period), min(self.lifetime, other.lifetime))

    def plain(self) -> list[float | None]:
        """Period and lifetime, None where there is no cap."""
        return [_finite(self.period), _finite(self.lifetime)]

    @classmethod
    def of(cls, pair: list[float | None]) -> Cap:
        """The cap that `plain` said."""
        return cls(*(math.inf if value is None else value for value in pair))


#: Shares of the default budget: those of recipes as their table says, and that of coins. 14 participations at noise
#: multiplier 4 cost 4.4 here (by RDP; 4.05 exactly), two coins of epsilon 1 cost 2. Lifetimes are those of about four periods.
DEFAULT_LINES: Mapping[LedgerLine, Cap] = MappingProxyType(
    {line: Cap(*RECIPES[line].cap) if line in RECIPES else Cap(2.0, 8.0) for line in LedgerLine}
)


@dataclass(frozen=True)
class Caps:
    """One table for everything that leaves, identified alerts excepted.

    `total` caps the lines together: their joint epsilon is less than the sum of theirs. A period lasts `period_s`
    seconds. A plan that clips at more than `clip_norm` (p's or phi's updates, model units), or of which one participation in
    training alone costs more than these caps, is not installed; other sums are declined one by one.
    A cap of infinity guards nothing, and says so.

    `survivors` is the most devices whose noise an owner is ready to believe in: a server that counts on more has each of
    them add less, and nobody on a device can see whether they are there.
    """

    lines: Mapping[LedgerLine, Cap] = field(default_factory=lambda: DEFAULT_LINES)
    total: Cap = Cap(7.5, 20.0)
    delta: float = 1e-5
    participations_per_plan: int = 14
    period_s: int = 182 * DAY_S
    clip_norm: float = 1.0
    survivors: int = 10_000

    def __post_init__(self) -> None:
        expected = f"a cap for each of {', '.join(LedgerLine)}"
        if not isinstance(self.lines, Mapping) or set(self.lines) != set(LedgerLine):
            raise ConfigError(f"expected {expected}")
        for cap in (self.total, *self.lines.values()):
            instance(cap, expected, Cap)
        checked = {
            "delta": real(self.delta, "delta", 0.0, 1.0),
            "participations_per_plan": whole(self.participations_per_plan, "participations_per_plan", 0, MOST),
            "period_s": whole(self.period_s, f"period_s >= {DAY_S}", DAY_S, MOST),
            "clip_norm": real(self.clip_norm, "clip_norm > 0", 0.0, endless=True),
            "survivors": whole(self.survivors, "survivors >= 1", 1, MOST),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if not 0 < self.delta <= MOST_DELTA:
            raise ConfigError(f"expected delta in (0, {MOST_DELTA:g}]: a larger one protects nobody; got {self.delta}")
        if not self.clip_norm > 0:
            raise ConfigError(f"expected clip_norm > 0, got {self.clip_norm}")

    @classmethod
    def none(cls) -> Caps:
        """No cap at all: for simulations of a population that has no protection, and says so."""
        open_ended = Cap(math.inf, math.inf)
        return cls(
            dict.fromkeys(LedgerLine, open_ended),
            open_ended,
            participations_per_plan=2**31,
            clip_norm=math.inf,
            survivors=MOST,
        )

    def epsilons(self, line: LedgerLine) -> Doubles:
        """[[period in total, period of the line], [lifetime in total, lifetime of the line]]: (2, 2)."""
        own = self.lines[line]
        return np.array([[self.total.period, own.period], [self.total.lifetime, own.lifetime]])

    def stricter(self, other: Caps) -> Caps:
        """What both allow."""
        return Caps(
            {line: cap.stricter(other.lines[line]) for line, cap in self.lines.items()},
            self.total.stricter(other.total),
            min(self.delta, other.delta),
            min(self.participations_per_plan, other.participations_per_plan),
            max(self.period_s, other.period_s),
            min(self.clip_norm, other.clip_norm),
            min(self.survivors, other.survivors),
        )

    # ---- kept between two openings

    def plain(self) -> dict[str, Any]:
        """What is kept of it, for `of`: None where there is no cap."""
        rest = {name: _finite(value) for name, value in vars(self).items() if name not in ("lines", "total")}
        return {
            **rest,
            "total": self.total.plain(),
            "lines": {str(line): cap.plain() for line, cap in self.lines.items()},
        }

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Caps:
        """The caps that `plain` said. A line that they do not name yet has its default cap, whatever the others are: nobody
        decided on it. VaultNewer for one that this app does not know: it must not write the table anew without it."""
        if unknown := set(fields["lines"]) - set(LedgerLine):
            raise VaultNewer(f"expected caps of no line but {', '.join(LedgerLine)}, got {len(unknown)} more")
        lines = {
            line: Cap.of(fields["lines"][line]) if line in fields["lines"] else DEFAULT_LINES[line]
            for line in LedgerLine
        }
        norm = math.inf if fields["clip_norm"] is None else fields["clip_norm"]
        return cls(**{**fields, "lines": lines, "total": Cap.of(fields["total"]), "clip_norm": norm})


def _finite(value: Any) -> Any:
    return None if value == math.inf else value
