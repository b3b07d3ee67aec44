"""How often what `ebbtide decide` expects is what comes, and how often the verdict is right: on 40 planted (simulated) shops."""

from __future__ import annotations

from rich.progress import track

from ..decision.expectation import COUNTS
from ..people.planted_shops import KINDS
from ..search.shop_trials import ShopTrial, try_shop
from .measured import Measured

SHOPS_OF_A_KIND = 20


def decide_numbers(shops: int = SHOPS_OF_A_KIND) -> dict[str, Measured]:
    """`decide.coverage` and `verdict.right_of_40`, with what they are made of."""
    jobs = [(kind, seed) for kind in KINDS for seed in range(shops)]
    return figures_of([try_shop(*job) for job in track(jobs, description="planted shops")])


def figures_of(trials: list[ShopTrial]) -> dict[str, Measured]:
    """The numbers of shops that were tried."""
    n = len(trials)
    every = f"{n} planted shops, 90 % intervals"
    out = {
        "decide.coverage": Measured(
            _share([all(one.held.values()) for one in trials]), None, "share of shops", f"all of {every}"
        )
    }
    for name in COUNTS:
        out[f"decide.coverage.{name}"] = Measured(
            _share([one.held[name] for one in trials]), None, "share of shops", every
        )
    right = sum(one.verdict == one.truth for one in trials)
    wrong = sum(one.verdict != one.truth and one.verdict != "neither" for one in trials)
    built = sum(one.truth == one.built for one in trials)
    truth = f"the truth of a crowd of {n} shops"
    out["verdict.right_of_40"] = Measured(float(right), None, "shops", truth)
    out["verdict.wrong_of_40"] = Measured(float(wrong), None, "shops", truth)
    out["verdict.as_built_of_40"] = Measured(float(built), None, "shops", "truth as the shop was built")
    return out


def _share(held: list[bool]) -> float:
    return round(sum(held) / len(held), 4)
