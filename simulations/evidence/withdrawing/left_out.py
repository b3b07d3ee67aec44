"""How far p moves when one person's data is left out, beside how far another draw of the noise alone moves it.

A run's training is done again, in this process, by the server's own code (`simulations/search/trials.py`): without noise, once with
everybody and then without one person after the other. All draw the same rows, nobody is silent, and where a plan samples, the
cohorts are drawn alike: two such trainings differ in that person alone. Then with the plan's noise and everybody, several times.
What is compared is p of the same rows of the test steps; those of the person who is left out do not count.

The person's device stays in the cohort that a sum is divided by: neighbours as in docs/privacy.md, where a device's contribution is
null. This is of p alone; phi is two coefficients on top of it.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from server.rounds import poisson_cohort
from shared.arrays import Bools, Doubles, Floats, Ints, Words, as_declared
from shared.network import forward
from shared.plan import Plan, UpdateKind

from ...federation.hosted.training_rows import TrainingRows
from ...people.labelled_rows import Rows
from ...people.population import Population
from ...scenarios.config import Scenario
from ...scenarios.held_out import held_out_users
from ...search.trial_federation import TrainingHost
from ...search.trials import Trials

#: People who are left out, one at a time: so many, or as many as keep the trainings within `MOST_UPDATES` updates of one device,
#: one or two minutes' work; where that is fewer than `FEWEST_PEOPLE`, nothing is measured.
MOST_PEOPLE: Final = 50
FEWEST_PEOPLE: Final = 8
MOST_UPDATES: Final = 1_500_000
#: Pairs of trainings that differ in their noise alone.
NOISE_PAIRS: Final = 6
#: Rows that p is compared on, drawn alike each time.
MOST_ROWS: Final = 20_000
#: Words of Philox keys, which keep these draws apart from others under the same seed.
_PEOPLE, _ROWS, _COHORTS = 0x1EF7, 0x1EF8, 0x1EF9
_TOLD = (50, 95)


@dataclass(frozen=True)
class Moved:
    """|change of p|: the median, and what 95 % stay below."""

    median: float
    p95: float

    @classmethod
    @as_declared
    def of(cls, changes: Doubles) -> Moved:
        return cls(*(float(value) for value in np.percentile(changes, _TOLD)))


@dataclass(frozen=True)
class Influence:
    """What came of it: how many `people` were left out, of how many `rows` of others p was compared, after how many `rounds`;
    `noise`: of all pairs together, and of each pair alone."""

    people: int
    rows: int
    rounds: int
    without_one: Moved
    noise: Moved
    pairs: tuple[Moved, ...]


class EverybodyBut(TrainingHost):
    """The devices of one population, of which none is silent. What device `without` would add to a sum is not there; cohorts follow
    from a seed, for this publishes nothing."""

    def __init__(
        self,
        rows: Mapping[str, TrainingRows],
        n_devices: int,
        folder: Path,
        dropout: float = 0.0,
        *,
        seed: int,
        without: int | None = None,
    ) -> None:
        super().__init__(rows, n_devices, folder)
        self._without, self._chance = without, _generator(seed, _COHORTS)

    def sample(self, sampling_rate: float) -> Sequence[int]:
        return poisson_cohort(range(self._n_devices), sampling_rate, self._chance.bytes)

    def collect(
        self, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], kind: UpdateKind
    ) -> tuple[Words, int]:
        return super().collect([device for device in cohort if device != self._without], plan, request, kind)


def influence(
    people: Population, scenario: Scenario, rounds: int, seed: int, done: Callable[[int, int], None] = lambda *_: None
) -> Influence | None:
    """What leaving out and noise do to p after `rounds` rounds of a scenario; None where there are too few people, or so many that it
    would take too long. The same seed leaves out the same people; noise comes from the operating system."""
    drawn = drawn_people(scenario, people.n_users, rounds, seed)
    if len(drawn) < FEWEST_PEOPLE:
        return None
    n_trainings = 1 + len(drawn) + 2 * NOISE_PAIRS
    with tempfile.TemporaryDirectory(prefix="ebbtide-withdrawal-") as folder:
        trials = Trials(people, Path(folder))
        quiet, noisy = (_trained_as(scenario, rounds, quiet=quiet) for quiet in (True, False))
        setup = trials.setup(quiet)
        rows = _compared(trials.rows(setup.plan.features, setup.plan.horizon_steps, setup.protocol.test_steps), seed)

        def p_of(asked: Scenario, without: int | None = None) -> Floats:
            trained = trials.train(trials.setup(asked), host=partial(EverybodyBut, seed=seed, without=without))
            return forward(setup.plan.network, trained.theta, rows.x)

        def counted() -> Iterator[Floats]:
            yield p_of(quiet)
            for person in drawn.tolist():
                yield p_of(quiet, person)
            for _ in range(2 * NOISE_PAIRS):
                yield p_of(noisy)

        scores = []
        for number, p in enumerate(counted(), 1):
            scores.append(p)
            done(number, n_trainings)
    whole, without, drawings = scores[0], scores[1 : 1 + len(drawn)], scores[1 + len(drawn) :]
    moved = [_moved(p, whole)[rows.user != person] for p, person in zip(without, drawn.tolist(), strict=True)]
    by_noise = [_moved(one, other) for one, other in zip(drawings[::2], drawings[1::2], strict=True)]
    return Influence(
        len(drawn),
        len(rows.y),
        rounds,
        Moved.of(np.concatenate(moved)),
        Moved.of(np.concatenate(by_noise)),
        tuple(Moved.of(one) for one in by_noise),
    )


def drawn_people(scenario: Scenario, n_users: int, rounds: int, seed: int) -> Ints:
    """Who is left out, or looked at, one after the other: of all who train, by chance; the same ones for the same seed."""
    affordable = MOST_UPDATES // max(1, rounds * n_users)
    held_out: Bools | None = held_out_users(scenario, n_users)
    training = np.arange(n_users) if held_out is None else np.flatnonzero(~held_out)
    drawn: Ints = _generator(seed, _PEOPLE).permutation(training)[: min(MOST_PEOPLE, affordable, n_users // 2)]
    return drawn


def _trained_as(scenario: Scenario, rounds: int, *, quiet: bool) -> Scenario:
    """The scenario's training of p alone, of so many rounds, whatever they cost."""
    changed: dict[str, Any] = {"rounds": rounds, "max_epsilon": math.inf}
    if quiet:
        changed["noise_multiplier"] = 0.0
    privacy = scenario.privacy.model_copy(update=changed)
    return scenario.model_copy(update={"privacy": privacy, "risk": scenario.risk.model_copy(update={"rounds": 0})})


def _compared(rows: Rows, seed: int) -> Rows:
    keep = np.zeros(len(rows.y), bool)
    keep[_generator(seed, _ROWS).permutation(len(rows.y))[:MOST_ROWS]] = True
    return rows.where(keep)


def _moved(p: Floats, other: Floats) -> Doubles:
    return np.abs(p.astype(np.float64) - other)


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, stream]))
