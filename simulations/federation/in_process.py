"""A federation without a network: one host in this process. For tuning, sweeps and tests, where hundreds of trainings
are run and Flower's start-up would cost more than all of them. Devices are clipped, noised and counted as in any host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from server.channel import Traffic
from server.rounds import poisson_cohort
from shared.arrays import Ints, Words
from shared.codec import unpack_floats
from shared.plan import Plan, UpdateKind

from .host_answers import count_refusals
from .host_app import Host


class LocalHost:
    """All devices of a run folder, hosted here."""

    def __init__(self, run_folder: Path) -> None:
        self.host = Host(run_folder, 0, 1)
        self.traffic = Traffic()

    def offer(self, fields: Mapping[str, Any]) -> None:
        plan = Plan.from_bytes(fields["plan"])
        self._meet(fields["step"])
        weights = unpack_floats(fields["theta"]), unpack_floats(fields["risk"])
        self.host.install(plan, *weights, fields["round"], fields["step"])

    def sample(self, sampling_rate: float) -> Sequence[int]:
        return poisson_cohort(range(self.host.n_users), sampling_rate)

    def collect(
        self, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], kind: UpdateKind
    ) -> tuple[Words, int]:
        devices = np.asarray(cohort, np.int64)
        self._meet(request["step"], devices)
        total, refused = self.host.collect(kind.request, dict(request), devices)
        count_refusals(self.traffic, refused)
        return total, len(cohort) - sum(refused.values())

    def ask(self, name: str, fields: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        self._meet(fields["step"])
        yield from self.host.answers(name, dict(fields)).read(self.traffic)

    def _meet(self, step: int, devices: Ints | None = None) -> None:
        """The server's clock shows the close of the step that it asks at, as the devices' do."""
        self.host.meet(step, float((step + 1) * self.host.population.step.seconds), devices)
