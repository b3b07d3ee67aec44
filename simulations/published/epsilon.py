"""What the published trainings cost: one of them, and all that are published of a data set together. No data are needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from server.privacy.accounting import account_of, epsilon_bound, epsilon_to_public
from shared.charges import charges_of
from shared.events import Catalogue

from ..people.setup import Crowd, Setup
from ..scenarios.config import load_scenario
from .learning import SEEDS
from .measured import Measured

#: With everybody in every round what a device spends does not depend on how many there are; as many as this are a crowd.
DEVICES = 2000
KEYS = ("eps1", "eps7")


def epsilon_figures(data: Iterable[str]) -> dict[str, Measured]:
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


def stated_epsilons(scenarios: Iterable[tuple[str, int]]) -> dict[str, Measured]:
    """`stated.<scenario>.<line>.<whom>` for scenarios of so many devices: what a plan states of each row of its table, and of all,
    to who sees the models (`public`), to the server and the seats (`server`), and of one message if a sum is broken (`broken`).
    What is infinite has no number."""
    out: dict[str, Measured] = {}
    for name, n_devices in scenarios:
        plan = Setup.of(load_scenario(name), Crowd(n_devices, Catalogue(("any",)))).plan
        account = account_of(plan, charges_of(plan))
        rows = [*account["lines"], {"line": "all", "times": 1, **account}]
        for row in rows:
            for whom, key in (("public", "to_public"), ("server", "to_server"), ("broken", "if_broken")):
                if (value := row.get(f"epsilon_{key}")) is not None:
                    unit = f"epsilon at delta {account['delta']:g}"
                    out[f"stated.{name}.{row['line']}.{whom}"] = Measured(
                        round(value, 4), None, unit, f"{row['times']} of {row['line']}"
                    )
    return out
