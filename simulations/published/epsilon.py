"""What the published trainings cost: one of them, and all that are published of a data set together. No data are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from server.privacy.accounting import epsilon_bound, epsilon_to_public
from shared.charges import charges_of
from shared.events import Catalogue

from ..people.setup import Crowd, Setup
from ..scenarios.config import load_scenario
from .learning import SEEDS
from .measured import Measured

#: With everybody in every round what a device spends does not depend on how many there are; as many as this are a crowd.
DEVICES = 2000
KEYS = ("eps1", "eps7")


def epsilon_figures(data: Mapping[str, object]) -> dict[str, Measured]:
    """`epsilon.<name>.<key>` for the scenarios of each data set, `.bound` by Renyi DP, and `.five`: who looks at all of the
    trainings that are published of one scenario has seen as many as there are seeds, each with rounds of its own."""
    out: dict[str, Measured] = {}
    for name in data:
        for key in KEYS:
            plan = Setup.of(load_scenario(f"{name}-{key}"), Crowd(DEVICES, Catalogue(("any",)))).plan
            delta, table = plan.privacy.delta, charges_of(plan)
            together = tuple(replace(row, times=SEEDS * row.times) for row in table)
            unit, what = f"epsilon at delta {delta:g}", ", ".join(f"{row.times} of {row.line}" for row in table)
            where = f"epsilon.{name}.{key}"
            out[where] = Measured(round(epsilon_to_public(table, delta), 4), None, unit, what)
            out[f"{where}.bound"] = Measured(round(epsilon_bound(table, delta), 4), None, unit, "by Renyi DP")
            seen = f"all {SEEDS} published trainings together"
            out[f"{where}.five"] = Measured(round(epsilon_to_public(together, delta), 4), None, unit, seen)
    return out
