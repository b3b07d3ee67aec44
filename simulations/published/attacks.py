"""What a hostile user can do to their own scores: the measurements behind published numbers."""

from __future__ import annotations

from ..attacks.hostile_behaviour import DETECTORS, PUBLISHED, PUBLISHED_SEEDS, PUBLISHED_USERS, PUSHES, World, effects
from .measured import Measured


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
