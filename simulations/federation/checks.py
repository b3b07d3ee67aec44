"""What a setup has to pass before anything starts: its epsilon, and what the owners of its devices allow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.privacy.accounting import affordable_rounds, epsilon_to_public
from shared.charges import charges_of
from shared.errors import BudgetError, ConfigError, InputError
from shared.events import Catalogue
from shared.plan import Plan

from ..capacity.estimate import TOLERANCE, Estimate, Work
from ..capacity.words import Room, announced
from ..people.of_scenario import protocol_of
from ..people.setup import Crowd, Setup
from ..scenarios.calendar import check_calendar
from ..scenarios.config import BitsSection, Scenario
from ..scenarios.held_out import expect_hosts, held_out_users
from ..scenarios.owners import check_bits, check_caps
from ..scenarios.sections import CountsSection, EvaluationSection
from .flower_runtime import reserved_port

#: What a search leaves out of a scenario: all that is asked for besides training.
NOTHING_ASKED = {"bits": BitsSection(), "evaluation": EvaluationSection(), "counts": CountsSection()}


def check_machine(folder: Path) -> None:
    """ConfigError if this machine cannot carry any run out: no write into its folder, no free loopback port. The folder must be
    there."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"expected a folder that can be written, got {folder}")
    try:
        with reserved_port():
            pass
    except OSError as error:
        raise ConfigError(f"expected a free loopback port, got none: {error.strerror}") from None


def check_room(setup: Setup, folder: Path) -> str:
    """What a run with these people will take, in a line for people, empty where it is soon over; ConfigError if it surely cannot work:
    its folder's disk has less free than the least that it may come to. Too little memory is said, and no refusal: other programs may
    end, and a disk may stand in for it."""
    estimate, room = Estimate.of(Work.of(setup)), Room.at(folder)
    if room.disk_bytes < (1 - TOLERANCE) * estimate.disk_bytes:
        raise ConfigError(
            f"expected about {estimate.disk_bytes / 1e6:,.0f} MB of free disk for {setup.n_users} users, got "
            f"{room.disk_bytes / 1e6:,.0f} MB in {folder}"
        )
    return announced(estimate, room)


def expected_setup(scenario: Scenario) -> Setup | None:
    """The setup of a scenario whose people are not there yet; None if only its data know how many they are. ConfigError if
    its settings contradict one another."""
    if not scenario.data.users:
        return None
    return Setup.of(scenario, Crowd(scenario.data.users, Catalogue(("any",))))


def check_scenario(scenario: Scenario) -> None:
    """What `check_setup` says of a scenario, before its people are there."""
    expect_hosts(scenario)
    check_calendar(scenario, protocol_of(scenario))
    if (setup := expected_setup(scenario)) is not None:
        check_setup(setup)


def check_settings(scenario: Scenario) -> None:
    """The same for trainings without owners, detectors and budget, as searches make them."""
    check_calendar(scenario, protocol_of(scenario))
    if (setup := expected_setup(scenario)) is not None:
        held_out_users(scenario, setup.n_users)


def check_training_budget(scenario: Scenario) -> None:
    """What `check_budget` says of a scenario's training alone, before its people are there: searches ask for nothing else."""
    if (setup := expected_setup(scenario.model_copy(update=NOTHING_ASKED))) is not None:
        check_budget(setup.plan)


@contextmanager
def named(point: str) -> Iterator[None]:
    """A body whose refusals name the setting that they are about."""
    try:
        yield
    except InputError as error:
        raise ConfigError(f"{point}: {error}") from None


def check_setup(setup: Setup) -> None:
    """ConfigError or BudgetError, before anything is done, if the setup cannot come to its end."""
    check_calendar(setup.scenario, setup.protocol)
    simulation = setup.scenario.simulation
    if simulation.fidelity == "hosts" and simulation.hosts > setup.n_users:
        raise ConfigError(f"expected simulation.hosts <= {setup.n_users}, the number of users, got {simulation.hosts}")
    setup.owners()
    held_out_users(setup.scenario, setup.n_users)
    check_budget(setup.plan)
    check_owners(setup)


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
