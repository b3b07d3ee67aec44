"""Whom the server works with: the enrolled devices, wherever they run. A round does not know whether a node is one
device or hosts many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from shared.arrays import Words
from shared.plan import Plan, UpdateKind

from .channel import Traffic


class Federation(Protocol):
    """The enrolled devices."""

    traffic: Traffic

    def offer(self, fields: Mapping[str, Any]) -> int:
        """Give every device a model_offer; how many took it."""
        ...

    def sample(self, sampling_rate: float) -> Sequence[int]:
        """A fresh secret Poisson cohort of devices."""
        ...

    def collect(
        self, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], kind: UpdateKind
    ) -> tuple[Words, int]:
        """Ask a cohort for updates of one part of the training: their sum modulo 2^32, uint32 (kind's n_values,), and
        how many are in it."""
        ...

    def ask(self, name: str, fields: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Ask every device a query of the register: (device, fields of its reply), for those that answered with
        anything to tell."""
        ...
