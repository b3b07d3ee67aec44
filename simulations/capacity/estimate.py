"""What a run takes before it is begun: time, memory, disk and traffic, each linear in its devices and in those that figures look at.

docs/capacity.md has the measured table that the constants are drawn from, by one machine of two cores; a test holds the two to
within a quarter of each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from shared.plan import Plan
from shared.secure_sum.field import Field as PrimeField

from ..people.looked_at import LOOKED_AT
from ..people.setup import Setup

Fidelity = Literal["devices", "hosts"]
#: How far from what comes an estimate may be: who has less than the rest surely has too little.
TOLERANCE: Final = 0.25
#: A run that takes longer is announced.
LONG_S: Final = 120.0


@dataclass(frozen=True)
class Cost:
    """Of one thing: what any run takes; what a device takes for each of its cells, which are a step of a category each, for each
    round, and for each cell once more if figures look at it."""

    fixed: float
    per_cell: float
    per_round: float = 0.0
    per_cell_looked_at: float = 0.0

    def of(self, work: Work) -> float:
        each = work.cells * self.per_cell + work.rounds * self.per_round
        return self.fixed + work.devices * each + min(work.devices, LOOKED_AT) * work.cells * self.per_cell_looked_at


@dataclass(frozen=True)
class Work:
    """What a run's cost depends on. `rounds`: of everything that is learned in rounds. `down_bytes` and `up_bytes`: what one device is
    sent, and sends, in the whole run. `hosts`: how many processes hold devices, in `hosts` fidelity."""

    fidelity: Fidelity
    devices: int
    categories: int
    steps: int
    rounds: int
    down_bytes: float = 0.0
    up_bytes: float = 0.0
    hosts: int = 1

    @property
    def cells(self) -> int:
        """Of one device."""
        return self.categories * self.steps

    @classmethod
    def of(cls, setup: Setup) -> Work:
        """Of a run with these people."""
        rounds = sum(kind.privacy.rounds for kind in setup.plan.updates)
        traffic = _down_bytes(setup.plan), _up_bytes(setup.plan)
        return cls(
            setup.scenario.simulation.fidelity,
            setup.n_users,
            len(setup.catalogue),
            setup.protocol.n_steps,
            rounds,
            *traffic,
            setup.scenario.simulation.hosts,
        )


@dataclass(frozen=True)
class Estimate:
    """Of a whole run, people and report included, on two cores: seconds; the highest sum of memory over its processes; the most that
    lies in its folder; and what its devices are sent and send, all together."""

    seconds: float
    memory_bytes: float
    disk_bytes: float
    traffic_bytes: float

    @classmethod
    def of(cls, work: Work) -> Estimate:
        time, memory, disk = COSTS[work.fidelity]
        traffic = work.devices * (work.down_bytes + work.up_bytes)
        rows = work.devices * work.cells * ROWS_BYTES if work.fidelity == "hosts" else 0.0
        written = min(rows, work.hosts * HOST_ROWS_BYTES)
        return cls(time.of(work), memory.of(work), disk.of(work) + written, traffic)


#: What the rows that teach take of each cell while they are written out, and what a host writes of a kind of them at most: of more
#: devices they are made again at every draw.
ROWS_BYTES, HOST_ROWS_BYTES = 53.0, 1 << 30
#: Seconds, bytes of memory, bytes of disk. Of hosts: from what docs/capacity.md has, by `python -m simulations.published.capacity`. Of
#: devices: from a few runs of the demo beside other work, which are not published; nothing holds these yet.
COSTS: Final[dict[Fidelity, tuple[Cost, Cost, Cost]]] = {
    "hosts": (Cost(22.0, 5.2e-7, 7e-5, 2.1e-6), Cost(1.7e9, 1.0, 0.0, 240.0), Cost(4e6, 4.6, 0.0, 1.4)),
    "devices": (Cost(35.0, 7e-5, 3e-3), Cost(1.75e9, 0.0), Cost(20e6, 113.0)),
}
#: Bytes of a model offer beside its weights, and how many offers there are: before training, and after it.
OFFER_BYTES, OFFERS = 19_100, 2
#: Of a request for a round beside its weights, of an answer beside its words, and of all that is asked for besides, down and up.
REQUEST_BYTES, ANSWER_BYTES, ASKED_BYTES, ANSWERED_BYTES = 350, 200, 1_100, 700


def _down_bytes(plan: Plan) -> float:
    weights = 4 * plan.network.n_parameters
    rounds = sum(kind.privacy.rounds * kind.privacy.sampling_rate for kind in plan.updates)
    return OFFERS * (weights + OFFER_BYTES) + rounds * (weights + REQUEST_BYTES) + ASKED_BYTES


def _up_bytes(plan: Plan) -> float:
    answers = 0.0
    for kind in plan.updates:
        word_bytes = PrimeField.holding(kind.privacy.largest_sum).word_bytes
        answers += kind.privacy.rounds * kind.privacy.sampling_rate * (ANSWER_BYTES + word_bytes * kind.n_values)
    return answers + ANSWERED_BYTES
