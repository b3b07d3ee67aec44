"""Everything that a plan charges, as one table: devices' caps, the server's account and the report read this one.

A row says on which line of the ledger, by which mechanism, how often at most, and whether it holds against the server
that asks. What costs nothing, and identified alerts, which no epsilon covers, have no row.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import rdp
from .messages import REQUESTS
from .plan import BitsPlan, Plan, PrivacyPlan, UpdateKind
from .rdp import Curve


@dataclass(frozen=True)
class Charge:
    """One row: at most `times` releases of a device, each by one `mechanism`: its part in a round's sum, or a coin."""

    mechanism: UpdateKind | BitsPlan
    times: int

    @property
    def line(self) -> str:
        """The line of the ledger: the name of the message that leaves."""
        return self.mechanism.reply if isinstance(self.mechanism, UpdateKind) else REQUESTS["bits_query"].reply

    @property
    def privacy(self) -> PrivacyPlan | None:
        """What protects a round; None for a coin."""
        return self.mechanism.privacy if isinstance(self.mechanism, UpdateKind) else None

    @property
    def holds_against_server(self) -> bool:
        """Whether who asks learns no more than the public: a coin is thrown on the device, a sum is not made there."""
        return isinstance(self.mechanism, BitsPlan)

    @property
    def noisy(self) -> bool:
        """Whether it promises anything at all."""
        return self.privacy is None or self.privacy.noise_multiplier > 0

    @property
    def cost(self) -> Curve:
        """One release, without amplification, as a device's ledger counts it: (O,)."""
        if isinstance(self.mechanism, UpdateKind):
            return rdp.update_cost(self.mechanism.privacy, self.mechanism.n_values)
        return rdp.coin(self.mechanism.epsilon)


def charges_of(plan: Plan) -> tuple[Charge, ...]:
    """The whole table of a plan: what is learned in rounds, in that order, the queries, then the coins."""
    rounds = tuple(Charge(kind, kind.privacy.rounds) for kind in plan.sums)
    return (*rounds, Charge(plan.bits, plan.bits.coins)) if plan.bits else rounds
