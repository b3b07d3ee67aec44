"""A federation in which one Flower node is one device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from shared.arrays import Words
from shared.errors import RunError
from shared.plan import Plan, UpdateKind

from .channel import Channel
from .federation import MODEL_OFFER
from .rounds import poisson_cohort
from .sums.secure_sum import SecureSum


class DeviceNodes:
    """The devices behind a channel: `nodes` are all that are asked and sampled, but for those that are gone. `sums` gives what adds
    up what they send, in the epoch that runs; None where there is no sum."""

    def __init__(
        self, channel: Channel, nodes: Sequence[int], sums: Callable[[], SecureSum] | SecureSum | None = None
    ) -> None:
        self._channel, self._nodes, self._sums = channel, nodes, sums
        self.traffic = channel.traffic

    def offer(self, fields: Mapping[str, Any], name: str = MODEL_OFFER) -> int:
        return len(self._channel.ask(self._nodes, name, fields))

    def sample(self, sampling_rate: float) -> Sequence[int]:
        return poisson_cohort(self._channel.still_here(self._nodes), sampling_rate)

    def collect(
        self, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], kind: UpdateKind
    ) -> tuple[Words, int]:
        if self._sums is None:
            raise RunError("expected an epoch of enrolment before the first round")
        adding = self._sums() if callable(self._sums) else self._sums
        return adding.collect(cohort, plan, request, kind)

    def ask(self, name: str, fields: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        yield from self._channel.ask(self._nodes, name, fields).items()
