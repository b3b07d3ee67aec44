"""What lies where in the folder of one host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.plan import Plan


@dataclass(frozen=True)
class HostFolder:
    """`path` holds what a host keeps between two messages; its training rows of p lie right in it, or how many there are of each
    device."""

    path: Path

    @property
    def plan_file(self) -> Path:
        """The installed plan; where it is, the training rows that it asks for are there, too."""
        return self.path / "plan.cbor"

    @property
    def lapses(self) -> Path:
        """The folder of the rows that phi is learned from."""
        return self.path / "lapses"

    @property
    def heads(self) -> Path:
        """The folder of the rows that heads are learned from, one in it for each."""
        return self.path / "heads"

    @property
    def trained_at_file(self) -> Path:
        """The step as of whose close the rows are."""
        return self.path / "trained_at"

    def every_rows(self) -> list[Path]:
        """The folders of all training rows."""
        return [self.path, self.lapses, *self.heads.glob("*/")]

    def rows(self, request: str) -> Path:
        """The folder of the training rows that a request for updates works on."""
        return {"train_request": self.path, "risk_request": self.lapses}[request]

    @property
    def ledger_file(self) -> Path:
        return self.path / "ledger.npz"

    @property
    def state_file(self) -> Path:
        """The weights, and how far the watch has come."""
        return self.path / "state.npz"

    @property
    def alerts_file(self) -> Path:
        return self.path / "alerts.npy"

    @property
    def counters(self) -> Path:
        """The folder of the users' counters."""
        return self.path / "counters"

    def bits_file(self, step: int, epsilon_micro: int, every_steps: int) -> Path:
        """What was answered when the server asked for bits."""
        return self.path / f"bits-{step}-{epsilon_micro}-{every_steps}.npz"

    def notes_file(self, step: int) -> Path:
        """What the apps showed at one closed step."""
        return self.path / f"notes-{step}.npz"

    def notes(self) -> list[tuple[int, Path]]:
        """(step, file) of all that the apps showed."""
        return [(int(file.stem.partition("-")[2]), file) for file in self.path.glob("notes-*.npz")]

    def plan(self) -> Plan:
        """The installed plan."""
        return Plan.from_bytes(self.plan_file.read_bytes())
