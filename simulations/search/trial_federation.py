"""Whom a trial trains with, and where the server of one writes to.

Devices are drawn, clipped, noised and counted by the code of `hosts` fidelity. Left out is what a trial has no use for:
Flower's start-up, charges that survive power loss (nothing is published), and devices that watch for turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from server.channel import Traffic
from server.federation import MODEL_OFFER
from server.optimizer import ServerOptimizer
from server.rounds import poisson_cohort
from server.state import INTEREST as INTEREST_FILE
from server.state import Charges, ServerFolder
from shared.arrays import Floats, Words, as_declared
from shared.plan import Plan, UpdateKind

from ..federation.host_training import SUMS, fresh_entropy
from ..federation.hosted.training_rows import TrainingRows
from ..federation.silence import answering


class TrainingHost:
    """Hosts that train only: the devices of one population, every one of them clipped and noised on its own. No device keeps
    a ledger: a trial leaves nothing behind, and owners' caps do not bind it."""

    def __init__(self, rows: Mapping[str, TrainingRows], n_devices: int, folder: Path, dropout: float = 0.0) -> None:
        """`rows`: by the request that works on them. Of each cohort a share of `dropout` stays silent."""
        self._rows, self._n_devices, self._folder, self._dropout = rows, n_devices, folder, dropout
        self.traffic = Traffic()

    def offer(self, fields: Mapping[str, Any], name: str = MODEL_OFFER) -> int:
        """Nothing to do: rows are there, and nobody watches."""
        return self._n_devices

    def sample(self, sampling_rate: float) -> Sequence[int]:
        return poisson_cohort(range(self._n_devices), sampling_rate)

    def collect(
        self, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], kind: UpdateKind
    ) -> tuple[Words, int]:
        devices = np.array(answering(cohort, self._dropout), np.int64)
        entropy = fresh_entropy(self._folder, request["round"])
        return SUMS[kind.request](self._rows[kind.request], devices, devices, plan, request, entropy), len(devices)

    def ask(self, name: str, fields: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        yield from ()


class _Uncharged(Charges):
    """No ledger: a trial always begins at its first round, and publishes nothing."""

    def __init__(self) -> None:
        pass

    def add(self, round_number: int) -> None:
        pass

    def count(self, after: int = 0, until: int = 2**31) -> int:
        return 0


class Scratch(ServerFolder):
    """The server's folder of a trial: in memory, gone with it."""

    def __init__(self) -> None:
        self._models: dict[str, list[Floats]] = {}

    def charges(self, plan_sha256: bytes) -> Charges:
        return _Uncharged()

    def report(self, phase: str, done: int, total: int, **numbers: float | None) -> None:
        pass

    def keep_traffic(self, traffic: Mapping[str, Mapping[str, int]]) -> None:
        pass

    @as_declared
    def save_checkpoint(self, optimizer: ServerOptimizer, models: list[Floats], name: str = INTEREST_FILE) -> None:
        self._models[name] = models[-1:]

    def load_checkpoint(self, optimizer: ServerOptimizer, name: str = INTEREST_FILE) -> list[Floats]:
        return []

    def has_models(self, name: str = INTEREST_FILE) -> bool:
        return name in self._models

    def models(self, name: str = INTEREST_FILE) -> Floats:
        return np.stack(self._models[name])
