"""What a hostile user can do to their own scores, and devices that cheat to training: the measurements behind published
numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.progress import Progress

from shared.arrays import Floats, Ints

from ..attacks import added_views
from ..attacks.added_views import Moved
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


def views_numbers(seed: int = 0) -> dict[str, Measured]:
    """Of each form of a shop, `views.<form>`: how well p ranks who buys again; how far `k` views a day more move p, phi (of the category
    that is bought from most) and rho (of a quiet one), and the shares of users with a fall and with a rise there; 95 % over users."""
    out: dict[str, Measured] = {}
    for form in added_views.FORMS:
        shop = added_views.Shop.of(form, added_views.USERS, seed)
        usual, window = shop.read(shop.history), shop.plan.features.window_steps
        out |= _over_users(f"views.{form}.auc", added_views.purchases_auc(shop, usual.chances), "AUC", "of purchases")
        for k in (0, *added_views.PER_DAY):
            of = f"views.{form}.{k}"
            out |= _views_of(of, k, added_views.moved(shop, added_views.most_bought(shop.history), k, usual), "falls")
            if shop.plan.heads is not None:
                quiet = added_views.quiet_one(shop.history, window)
                out |= _views_of(of, k, added_views.moved(shop, quiet, k, usual), "rises")
    return out


def _views_of(of: str, k: int, found: Moved, turn: str) -> dict[str, Measured]:
    """What `k` views a day more do: users with such a turn, and moves of what is read for it."""
    raised, about = found.falls if turn == "falls" else found.rises, f"{k} views a day more"

    def share(users: Ints) -> float:
        return float(raised[users].mean())

    everybody = np.arange(len(raised))
    out = _over_users(f"{of}.{turn}", added_views.with_interval(everybody, share), "share of users", about)
    for name in (("p", "phi") if turn == "falls" else ("rho",)) if k else ():
        out |= _moves_of(f"{of}.{name}", found.moves[name], f"of {name}", about)
    return out


def _moves_of(key: str, moves: Floats, unit: str, about: str) -> dict[str, Measured]:
    def most(users: Ints) -> float:
        return float(np.quantile(moves[users], 0.95))

    middle = Measured(round(float(np.median(moves)), 4), None, unit, about)
    return {
        f"{key}.median": middle,
        **_over_users(f"{key}.most", added_views.with_interval(np.arange(len(moves)), most), unit, about),
    }


def _over_users(key: str, found: tuple[float, float, float], unit: str, about: str) -> dict[str, Measured]:
    """A number, and the ends of its interval."""
    ends = zip(("", "_low", "_high"), found, (about, *["95 % bootstrap over users"] * 2), strict=True)
    return {f"{key}{end}": Measured(round(value, 4), None, unit, what) for end, value, what in ends}


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
