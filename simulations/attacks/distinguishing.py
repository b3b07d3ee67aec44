"""What somebody tells of one device, as a lower bound on epsilon: `python -m simulations.attacks.distinguishing`.

Two worlds that differ in one device, whose contribution is as large as the clip allows or null; in both it takes part, and
adds its share of the noise. Vectors are clipped, put on the grid, noised and summed by the code that devices run
(`simulations/audit/mechanism.py`). Who watches knows all
other contributions, and which of two things to tell apart: nobody real knows as much. How often they are right bounds epsilon from
below (Kairouz, Oh and Viswanath 2015, theorem 2.1), with the bounds of Clopper and Pearson 1934 on both rates. A measured bound
above the stated epsilon would prove the account wrong; one below it proves nothing but that this attack is no better.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from server.privacy.accounting import epsilon_if_broken, epsilon_unamplified
from shared.arrays import Doubles
from shared.charges import Charge, charges_of
from shared.events import Catalogue
from shared.plan import Plan

from ..audit.bounds import CONFIDENCE, epsilon_at_least
from ..audit.mechanism import evidence_of, released
from ..people.setup import Crowd, Setup
from ..scenarios.config import load_scenario
from ..terminal.ending import end_with
from ..terminal.printing import say_table

#: How much of the planned noise devices add: all of it; a quarter, as after a wrong sign or unit; none.
NOISES = {"": 1.0, "quarter": 0.25, "none": 0.0}


# ---- attacks


@dataclass(frozen=True)
class Told:
    """One attack: who sees what, the epsilon that is stated against them, and the one that was measured at least."""

    name: str
    stated: float
    measured: float


@dataclass(frozen=True)
class Watched:
    """What somebody sees: in words, the epsilon that is stated for it, and `scores(there, noise)` of one trial each, (n,)."""

    name: str
    stated: float
    scores: Callable[[bool, float], Doubles]


def watched(plan: Plan, n: int, n_plan: int) -> dict[str, Watched]:
    """By key, what can be seen of a device under a plan; of single releases in `n` trials, of all of them in `n_plan`."""
    table, delta = charges_of(plan), plan.privacy.delta
    p = plan.updates[0]
    once = Charge(p, 1)

    def of_rows(rows: Sequence[Charge], trials: int) -> Callable[[bool, float], Doubles]:
        return lambda there, noise: np.sum([evidence_of(row, trials, there=there, noise=noise) for row in rows], axis=0)

    out = {
        "share": Watched(
            "one vector with its own share of noise",
            epsilon_if_broken(once),
            lambda there, noise: released(p, n, there=there, shares=1, noise=noise),
        ),
        "sum": Watched("the opened sum of one round", epsilon_unamplified((once,), delta), of_rows((once,), n)),
        "all": Watched("every sum and every coin", epsilon_unamplified(table, delta), of_rows(table, n_plan)),
    }
    if plan.bits is not None:
        coins = tuple(row for row in table if row.mechanism is plan.bits)
        out["coins"] = Watched("the coins of one device", epsilon_unamplified(coins, delta), of_rows(coins, n))
    return out


def told(plan: Plan, n: int = 100_000, n_plan: int = 20_000) -> dict[str, Told]:
    """Every attack on a plan as it is, by key; and on sums whose noise is a quarter of what was promised, or none."""
    delta, out = plan.privacy.delta, {}
    for key, seen in watched(plan, n, n_plan).items():
        for less, noise in NOISES.items():
            if less and key not in ("sum", "all"):
                continue
            measured = epsilon_at_least(seen.scores(True, noise), seen.scores(False, noise), delta)
            name = f"{seen.name}, {'no noise' if not noise else 'a quarter of the noise'}" if less else seen.name
            out[f"{key}.{less}".rstrip(".")] = Told(name, seen.stated, measured)
    return out


def plan_of(name: str, n_devices: int) -> Plan:
    """The plan of a scenario that comes along, for so many devices."""
    return Setup.of(load_scenario(name), Crowd(n_devices, Catalogue(("any",)))).plan


def table_of(name: str, found: dict[str, Told]) -> Table:
    """One row an attack."""
    table = Table(title=f"{name}: what can be told of one device, epsilon at {CONFIDENCE:.1%} confidence")
    for column in ("who sees", "stated", "measured at least"):
        table.add_column(column, justify="left" if column == "who sees" else "right")
    for one in found.values():
        table.add_row(one.name, f"{one.stated:.3g}", f"{one.measured:.3g}")
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of one scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="?", default="demo", help="a scenario by name or .toml file (demo)")
    parser.add_argument("--devices", type=int, default=300, help="how many devices (300)")
    parser.add_argument("--trials", type=int, default=20_000, help="trials of each attack (20000)")
    chosen = parser.parse_args(arguments)
    say_table(
        table_of(chosen.scenario, told(plan_of(chosen.scenario, chosen.devices), chosen.trials, chosen.trials // 4))
    )


if __name__ == "__main__":
    end_with(main)
