"""What a setup has to pass before anything starts: its epsilon, and what the owners of its devices allow."""

from __future__ import annotations

from server.accounting import affordable_rounds, epsilon_to_public
from shared.errors import BudgetError
from shared.plan import Plan

from ..people.setup import Setup
from ..scenarios.owners import check_bits, check_caps


def check_budget(plan: Plan) -> None:
    """BudgetError unless the plan's whole training fits its max_epsilon; says what would fit."""
    privacy = plan.privacy
    if affordable_rounds(*plan.charged) < privacy.rounds:
        raise BudgetError(
            f"expected epsilon <= {privacy.max_epsilon:g}, but {privacy.rounds} rounds{' and phi' if plan.also else ''} cost "
            f"{epsilon_to_public(privacy, privacy.rounds, plan.also):.3g}: raise privacy.noise_multiplier, or lower rounds or "
            "sampling_rate"
        )


def check_owners(setup: Setup) -> None:
    """ConfigError if the owners' caps refuse a round of the plan on every device, or the scenario's bits."""
    check_caps(setup.plan, setup.caps)
    if bits := setup.schedule.bits:
        check_bits(bits, setup.caps, setup.step)
