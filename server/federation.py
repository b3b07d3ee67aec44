"""Whom the server works with: the enrolled devices, wherever they run. A round does not know whether a node is one
device or hosts many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from shared.arrays import Words
from shared.plan import Plan
from shared.randomised_response import BitSchedule

from .rounds import Channel, Traffic, UpdateKind, collect, poisson_cohort


class Federation(Protocol):
    """The enrolled devices."""

    traffic: Traffic

    def offer(self, fields: Mapping[str, Any]) -> None:
        """Give every device a model_offer."""
        ...

    def sample(self, sampling_rate: float) -> Sequence[int]:
        """A fresh secret Poisson cohort of devices."""
        ...

    def collect(
        self, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], part: UpdateKind
    ) -> tuple[Words, int]:
        """Ask a cohort for updates of one part of the training: their sum modulo 2^32, uint32 (part's length,), and how
        many are in it."""
        ...

    def alerts(self, step: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Ask every device for alerts: (device, what it tells), for those that answered."""
        ...

    def bits(self, asked: BitSchedule, step: int) -> Iterator[tuple[int, int]]:
        """Ask every device for the randomised bit of a due step: (device, bit), for those that agreed and answered."""
        ...


class DeviceNodes:
    """A federation in which one Flower node is one device. A device that is gone is not sampled either."""

    def __init__(self, line: Channel, nodes: Sequence[int]) -> None:
        self._line, self._nodes = line, nodes
        self.traffic = line.traffic

    def offer(self, fields: Mapping[str, Any]) -> None:
        self._line.ask(self._nodes, "query.model", "model_offer", fields, "receipt")

    def sample(self, sampling_rate: float) -> Sequence[int]:
        return poisson_cohort(self._line.enrolled(self._nodes), sampling_rate)

    def collect(
        self, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], part: UpdateKind
    ) -> tuple[Words, int]:
        return collect(self._line, cohort, plan, request, part)

    def alerts(self, step: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        replies = self._line.ask(self._nodes, "query.alerts", "alerts_query", {"step": step}, "alerts")
        for node, fields in replies.items():
            yield node, fields["alerts"]

    def bits(self, asked: BitSchedule, step: int) -> Iterator[tuple[int, int]]:
        fields = {"step": step, **vars(asked)}
        for node, reply in self._line.ask(self._nodes, "query.bits", "bits_query", fields, "alert_bit").items():
            if (reply["step"], reply["epsilon_micro"]) == (step, asked.epsilon_micro):
                yield node, reply["bit"]
            else:
                self.traffic.dropped["other_coin"] += 1
