"""A scenario resolved against its people, once: what every later step reads instead of asking the scenario again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

from client.model.runtime import pinned_sha256
from client.privacy.caps import Caps
from server.privacy.accounting import Charged
from server.settings import Schedule
from shared.charges import charges_of
from shared.errors import ConfigError
from shared.events import Catalogue, Step
from shared.heads import HeadsStart
from shared.plan import Plan
from shared.randomised_response import BitSchedule

from ..scenarios.config import ProtocolSection, Scenario, step_unit_of
from ..scenarios.owners import Owners
from .heads_start import heads_start
from .of_scenario import protocol_of
from .private_choice import choices_of
from .rule_start import rule_lesson, rule_start
from .teaching import Lesson


class People(Protocol):
    """Whom a scenario is resolved against: how many, and the categories that they know. A population is such people."""

    @property
    def n_users(self) -> int: ...

    @property
    def catalogue(self) -> Catalogue: ...


@dataclass(frozen=True)
class Crowd:
    """People of whom no more is known than how many they are."""

    n_users: int
    catalogue: Catalogue


@dataclass(frozen=True)
class Setup:
    """A scenario and what follows from it and its people. `n_users` of `catalogue`; their events lie elsewhere, so that a
    setup is small and can go to another process.

    `protocol`: the scenario's, its data set's, or that of a fold in time. `schedule`: when the server asks; nobody waits.
    `caps`: every owner's. `heads_start`: where heads start, if the plan learns any; of a `Crowd`, with whom nothing is run, there is
    none, and the plan names none.
    """

    scenario: Scenario
    protocol: ProtocolSection
    catalogue: Catalogue
    n_users: int
    plan: Plan
    schedule: Schedule
    caps: Caps
    heads_start: HeadsStart | None = field(default=None, compare=False)

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        people: People,
        protocol: ProtocolSection | None = None,
        start: bytes | None = None,
    ) -> Setup:
        """The scenario with these people, in another `protocol` than its own if one is given. ConfigError, in the words of
        plan, caps or bits, if a number is out of range. `start`: the bytes of where heads start, if it is known; else it is
        taught, once in a process."""
        protocol = protocol or protocol_of(scenario)
        model = pinned_sha256(scenario.features.version)
        plan = scenario.plan(protocol, people.catalogue, people.n_users, model)
        begun = None
        if plan.heads is not None and not isinstance(people, Crowd):
            lesson = Lesson.of(scenario, protocol, len(people.catalogue), plan, plan.heads.features)
            begun = HeadsStart.from_bytes(start, plan.network) if start else heads_start(lesson)
            plan = replace(plan, heads=replace(plan.heads, start_sha256=begun.sha256))
        if plan.rule is not None and not isinstance(people, Crowd):
            plan = replace(plan, rule=rule_start(rule_lesson(scenario, protocol, len(people.catalogue), plan)))
        schedule = _schedule_of(scenario, protocol, plan)
        caps = scenario.caps.caps()
        return cls(scenario, protocol, people.catalogue, people.n_users, plan, schedule, caps, begun)

    @property
    def lesson(self) -> Lesson:
        """What planted people teach the heads. ConfigError of a plan that learns none."""
        if self.plan.heads is None:
            raise ConfigError("expected a plan that learns heads, got one without")
        return Lesson.of(self.scenario, self.protocol, self.n_categories, self.plan, self.plan.heads.features)

    @property
    def calibrates_lapses(self) -> bool:
        """Whether planted people say slope and intercept of the head of lapses."""
        return self.heads_start is not None and self.scenario.heads.calibrate_lapses

    @property
    def charged(self) -> Charged:
        """All that these people pay: the plan's table, then what was chosen by their votes before it."""
        return (*charges_of(self.plan), *choices_of(self.scenario))

    @property
    def step(self) -> Step:
        """The unit of the steps."""
        return step_unit_of(self.scenario)

    @property
    def train_s(self) -> float:
        """When training runs, on the public calendar: at the close of its step."""
        return (self.schedule.train_step + 1) * self.schedule.replay_step_s

    @property
    def n_categories(self) -> int:
        return len(self.catalogue)

    def owners(self) -> Owners:
        """What the owners of the devices decide. ConfigError if the scenario's shares are more than everybody."""
        simulation = self.scenario.simulation
        shares = simulation.identified_share, simulation.randomised_share
        seed, summed = self.scenario.data.seed, simulation.summed_share
        return Owners.draw(self.n_users, *shares, self.caps, seed, summed)


def _schedule_of(scenario: Scenario, protocol: ProtocolSection, plan: Plan) -> Schedule:
    every = scenario.simulation.query_every_steps
    return Schedule(
        protocol.train_at,
        protocol.test_steps[0] + every - 1,
        protocol.test_steps[1],
        query_every_steps=every,
        replay_step_s=float(step_unit_of(scenario).seconds),
        bits=BitSchedule.of(plan.bits),
    )
