"""What somebody tells of one device, as a lower bound on epsilon: `python -m simulations.attacks.distinguishing`.

Two worlds that differ in one device, whose contribution is as large as the clip allows or null; in both it takes part, and
adds its share of the noise. Vectors are clipped, put on the grid, noised and summed by the code that devices run. Who watches knows all
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
from scipy import stats

from server.privacy.accounting import epsilon_if_broken, epsilon_unamplified
from shared.arrays import Doubles, as_declared
from shared.charges import Charge, charges_of
from shared.events import Catalogue
from shared.mechanisms import from_grid, protect
from shared.plan import BitsPlan, Plan, UpdateKind
from shared.randomised_response import randomised_response

from ..people.setup import Crowd, Setup
from ..scenarios.config import load_scenario
from ..terminal.ending import end_with
from ..terminal.printing import say_table

CONFIDENCE = 0.999
#: So many thresholds are tried on half of the trials; the other half measures the best of them.
THRESHOLDS = 400
#: How much of the planned noise devices add: all of it; a quarter, as after a wrong sign or unit; none.
NOISES = {"": 1.0, "quarter": 0.25, "none": 0.0}


@as_declared
def epsilon_at_least(with_it: Doubles, without_it: Doubles, delta: float, confidence: float = CONFIDENCE) -> float:
    """The epsilon that a mechanism has at least, with this confidence, if it gives scores (n,) in one world and (m,) in
    the other, of a test that says "it was there" above a threshold.

    Guarantees. The threshold is chosen on the first halves, and both rates are measured on the others alone; each is off by
    its interval with a chance of (1 - confidence) / 2. Edge cases. 0 where nothing can be told; with n trials it never
    exceeds log(n / 15) or so, whatever can be told.
    """
    half_with, half_without = len(with_it) // 2, len(without_it) // 2
    tried = np.quantile(np.concatenate([with_it[:half_with], without_it[:half_without]]), np.linspace(0, 1, THRESHOLDS))
    found = _at_least(with_it[:half_with], without_it[:half_without], tried, delta, confidence)
    best = tried[[int(np.argmax(found))]]
    return float(_at_least(with_it[half_with:], without_it[half_without:], best, delta, confidence)[0])


def _at_least(with_it: Doubles, without_it: Doubles, thresholds: Doubles, delta: float, confidence: float) -> Doubles:
    """The bound at each threshold (T,)."""
    tail = (1 - confidence) / 2
    right, wrong = (len(s) - np.searchsorted(np.sort(s), thresholds, side="right") for s in (with_it, without_it))
    least_right = np.where(right > 0, stats.beta.ppf(tail, right, len(with_it) - right + 1), 0.0)
    most_wrong = np.where(
        wrong < len(without_it), stats.beta.ppf(1 - tail, wrong + 1, np.maximum(len(without_it) - wrong, 1)), 1.0
    )
    ratio = np.maximum(least_right - delta, 0) / most_wrong
    return np.asarray(np.log(np.maximum(ratio, 1.0)))


# ---- what is released of the one device, in n independent trials


def released(kind: UpdateKind, n: int, *, there: bool, shares: int, noise: float = 1.0) -> Doubles:
    """What a round of one part opens, in clips, in the one value that the device's whole clip goes into: (n,). Behind
    `shares` devices' noise, its own among them, of `noise` times as much as planned."""
    privacy = kind.privacy
    how = {
        "clip_norm": privacy.clip_norm,
        "steps_per_clip": privacy.steps_per_clip,
        "share_sigma": noise * privacy.share_sigma,
    }
    total = protect(np.full((n, 1), 10 * privacy.clip_norm if there else 0.0), **how)[:, 0]  # type: ignore[arg-type]
    for _ in range(shares - 1):  # a null vector of n values: a share of noise for each trial
        total += protect(np.zeros(n), **how)  # type: ignore[arg-type]
    in_clips: Doubles = from_grid(total, 1 / privacy.steps_per_clip)
    return in_clips


def thrown(bits: BitsPlan, n: int, *, there: bool, noise: float = 1.0) -> Doubles:
    """How many of a device's coins say "alerted", where it always or never was: (n,). Without noise they say what is true."""
    truth = np.full((n, bits.coins), there)
    said = randomised_response(truth, bits.epsilon_micro) if noise else truth
    return np.asarray(said.sum(axis=1), np.float64)


def evidence_of(row: Charge, n: int, *, there: bool, noise: float = 1.0) -> Doubles:
    """The log of the likelihood ratio of all releases of one row of a plan's table, as planned: (n,)."""
    kind = row.mechanism
    if isinstance(kind, BitsPlan):
        return (2 * thrown(kind, n, there=there, noise=noise) - kind.coins) * kind.epsilon
    out = np.zeros(n)
    for _ in range(row.times):
        seen = released(kind, n, there=there, shares=kind.privacy.honest, noise=noise)
        out += (seen - 0.5) / kind.privacy.noise_multiplier**2
    return out


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
