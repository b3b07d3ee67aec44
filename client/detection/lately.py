"""The rows that p and phi of a step are read from, one step after the other: a step that closes costs the same after ten years.

A device begins with its history, and from then on looks at the longest window alone. What changes a closed step (a late event,
a clock that comes back, another plan) begins again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Floats, as_declared, hold_declared
from shared.features import History, extract
from shared.features.running import Running
from shared.plan import Plan


@dataclass(frozen=True)
class Lately:
    """What features are made of, as of the last closed step, and the rows x (n, C, F) of the last steps that a plan reads, the
    newest last. Raw behaviour: its repr shows nothing."""

    running: Running
    x: Floats

    def __post_init__(self) -> None:
        hold_declared(self)

    def __repr__(self) -> str:
        return "Lately(<raw>)"

    @classmethod
    def of(cls, history: History, plan: Plan) -> Lately:
        """As of the last step of a history (C, T), T > 0."""
        first = max(history.n_steps - 1 - (plan.risk.rate_steps if plan.risk else 0), 0)
        x = extract(history, plan.read_features, np.arange(first, history.n_steps))
        return cls(Running.of(history, plan.read_features), x)

    @as_declared
    def then(self, count: Floats, amount: Floats, kinds: NDArray[np.uint8], plan: Plan) -> Lately:
        """With one more closed step; see `Running.then`."""
        running = self.running.then(count, amount, kinds)
        kept = plan.risk.rate_steps if plan.risk else 0
        before = self.x[max(len(self.x) - kept, 0) :]
        return Lately(running, np.concatenate([before, running.rows()[None]]))

    def rows(self, plan: Plan) -> Floats:
        """What `recent_rows` reads for the last closed step: x (S, C, F)."""
        return self.x[[0, -1]] if plan.risk else self.x[-1:]
