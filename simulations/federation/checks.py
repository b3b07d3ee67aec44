"""What a setup has to pass before anything starts: its epsilon, and what the owners of its devices allow."""

from __future__ import annotations

from server.accounting import affordable_rounds, epsilon_to_public
from server.settings import Schedule
from shared.errors import BudgetError
from shared.plan import Plan

from ..scenarios.config import ProtocolSection, Scenario, step_unit_of
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


def check_owners(scenario: Scenario, plan: Plan) -> None:
    """ConfigError if the owners' caps refuse a round of the plan on every device, or the scenario's bits."""
    caps = scenario.caps.caps()
    check_caps(plan, caps)
    if bits := scenario.bits.schedule():
        check_bits(bits, caps, step_unit_of(scenario))


def schedule_of(scenario: Scenario, protocol: ProtocolSection) -> Schedule:
    """When the server asks; nobody waits."""
    every = scenario.simulation.query_every_steps
    return Schedule(
        protocol.train_at,
        protocol.test_steps[0] + every - 1,
        protocol.test_steps[1],
        query_every_steps=every,
        replay_step_s=float(step_unit_of(scenario).seconds),
        bits=scenario.bits.schedule(),
    )
