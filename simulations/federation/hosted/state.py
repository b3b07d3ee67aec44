"""What a host's devices are at between two messages, in one file: weights, heads, how far the watch has come."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from client.detection.chances import Weights
from client.detection.watch import Watch
from shared.arrays import Floats, as_declared, hold_declared
from shared.files import replacing
from shared.heads import Heads, HeadsStart
from shared.plan import Plan

_NOTHING = np.empty(0, np.float32)


@dataclass(frozen=True)
class HostState:
    """Weights (P,), phi's (R,; empty: none) and heads (None: none yet) as of a round, and the last step that the watch has `closed`."""

    theta: Floats
    risk: Floats
    heads: Heads | None
    round_number: int
    closed: int
    watch: Watch

    def __post_init__(self) -> None:
        hold_declared(self)

    @property
    def weights(self) -> Weights:
        return Weights(self.theta, self.risk, self.heads)

    @as_declared
    def is_of(self, theta: Floats, risk: Floats, round_number: int) -> bool:
        """Whether this is the state under a model that is offered."""
        same = np.array_equal(self.theta, theta) and np.array_equal(self.risk, risk)
        return same and self.round_number == round_number

    def save(self, file: Path) -> None:
        """Whole or not at all."""
        heads, arrays = self.heads, dict[str, Any](self.watch.arrays())
        arrays |= {"theta": self.theta, "risk": self.risk, "round": self.round_number, "closed": self.closed}
        arrays |= {
            "heads_start": np.frombuffer(heads.start.to_bytes(), np.uint8) if heads else np.empty(0, np.uint8),
            "popularity": heads.popularity if heads else _NOTHING,
            "head_weights": heads.weights if heads else _NOTHING,
        }
        with replacing(file) as out:
            np.savez(out, **arrays)

    @staticmethod
    def theta_in(file: Path) -> Floats:
        """The weights of p (P,) of the state of `save`, and nothing else of it."""
        with np.load(file) as state:
            theta: Floats = state["theta"]
        return theta

    @classmethod
    def load(cls, file: Path, plan: Plan) -> HostState:
        """The state of `save`, under this plan."""
        with np.load(file) as state:
            heads = None
            if (start := state["heads_start"].tobytes()) and plan.heads is not None:
                begun = HeadsStart.from_bytes(start, plan.network)
                heads = Heads(begun, state["popularity"], state["head_weights"])
            numbers = int(state["round"]), int(state["closed"])
            return cls(state["theta"], state["risk"], heads, *numbers, Watch.of(state))
