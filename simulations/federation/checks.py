"""What a setup has to pass before anything starts: its epsilon, and what the owners of its devices allow."""

from __future__ import annotations

from server.privacy.accounting import affordable_rounds, epsilon_to_public
from shared.charges import charges_of
from shared.errors import BudgetError
from shared.plan import Plan

from ..people.setup import Setup
from ..scenarios.owners import check_bits, check_caps


def check_budget(plan: Plan) -> None:
    """BudgetError unless the plan's whole training fits its max_epsilon; says what would fit."""
    privacy = plan.privacy
    if affordable_rounds(plan) < privacy.rounds:
        table = charges_of(plan)
        what = ", ".join(f"{row.times} of {row.line}" for row in table)
        raise BudgetError(
            f"expected epsilon <= {privacy.max_epsilon:g}, but all that the plan charges ({what}) costs "
            f"{epsilon_to_public(table, privacy.delta):.3g}: raise privacy.noise_multiplier, or lower rounds or coins"
        )


def check_owners(setup: Setup) -> None:
    """ConfigError if the owners' caps refuse a round of the plan on every device, or the scenario's bits."""
    check_caps(setup.plan, setup.caps)
    if bits := setup.schedule.bits:
        check_bits(bits, setup.caps, setup.step)
