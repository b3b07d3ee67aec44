"""What a hostile user can do to their own scores, and devices that cheat to training: the measurements behind published
numbers."""

from __future__ import annotations

from collections.abc import Sequence

from rich.progress import Progress

from ..attacks.hostile_behaviour import DETECTORS, PUBLISHED, PUBLISHED_SEEDS, PUBLISHED_USERS, PUSHES, World, effects
from ..attacks.poisoning import ATTACKS, harms
from ..evaluation.aggregates.bounds_power import cheat_bounds
from ..people.setup import People, Setup
from ..scenarios.config import load_scenario
from .measured import Measured

POISON_SEEDS = 3
#: The parts of a plan, by the message that carries an update of each.
PARTS = {"update": "p", "risk_update": "phi"}


def hostile_numbers() -> dict[str, Measured]:
    """How far the score moves on the 5 % of user-steps where it moves most, and the shares of users with a fall and with
    a rise, for the published attacks on each detector."""
    out: dict[str, Measured] = {}
    worlds = [World.make(PUBLISHED_USERS, seed) for seed in range(PUBLISHED_SEEDS)]
    for detector, score in DETECTORS.items():
        runs = [effects(world.under(detector), PUSHES[-1:]) for world in worlds]
        for key, begins in PUBLISHED.items():
            found = [next(e for e in run if e.attack.startswith(begins)) for run in runs]
            for measure, unit in (
                ("most_move", f"of {score}"),
                ("falls", "share of users"),
                ("rises", "share of users"),
            ):
                values = [getattr(effect, measure) for effect in found]
                out[f"hostile.{detector}.{key}.{measure}"] = Measured.over(values, unit, found[0].attack)
    return out


def poison_numbers(name: str, overrides: Sequence[str] = (), seeds: int = POISON_SEEDS) -> dict[str, Measured]:
    """Test AUC of a scenario under each attack of devices that cheat, and the rounds that were not used: the server sees sums
    alone."""
    out: dict[str, Measured] = {}
    with Progress() as progress:
        task = progress.add_task(f"cheats in {name}", total=len(ATTACKS))
        found_by = harms(name, overrides, seeds, lambda _: progress.advance(task))
    for key, runs in found_by.items():
        of, about = f"poison.{name}.{key}.sum", ATTACKS[key].name
        out[f"{of}.auc"] = Measured.over([harm.auc for harm in runs], "AUC", about)
        out[f"{of}.not_used"] = Measured.over([harm.rounds_not_used for harm in runs], "rounds", about)
    return out


def bound_numbers(name: str, people: People) -> dict[str, Measured]:
    """Of each part of a scenario's plan, in clips: the lone attacker that is found in the sum with a probability of .99."""
    out: dict[str, Measured] = {}
    for bound in cheat_bounds(Setup.of(load_scenario(name), people)):
        out[f"cheat.{name}.{PARTS[bound.part]}.found"] = Measured(
            round(bound.found_clips, 1), None, "clips", "in the sum, with probability .99"
        )
    return out
