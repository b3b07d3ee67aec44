"""How often what `ebbtide decide` expects is what comes, and how often the verdict is right: on 40 planted (simulated) shops."""

from __future__ import annotations

from rich.progress import track

from ..decision.expectation import COUNTS
from ..people.planted_shops import KINDS
from ..search.shop_trials import ShopTrial, try_shop
from .measured import Measured

SHOPS_OF_A_KIND = 20
#: Shops that anything was tried out on, or that a number was published of, have other seeds, all below.
FIRST_SEED = 6000


def decide_numbers(shops: int = SHOPS_OF_A_KIND) -> dict[str, Measured]:
    """How often expectations held and verdicts were right, with what these are made of."""
    jobs = [(kind, seed) for kind in KINDS for seed in range(FIRST_SEED, FIRST_SEED + shops)]
    return figures_of([try_shop(*job) for job in track(jobs, description="planted shops")])


def figures_of(trials: list[ShopTrial]) -> dict[str, Measured]:
    """The numbers of shops that were tried. Their spread: the standard error over shops, by the binomial law."""
    n = len(trials)
    held = {"decide.coverage": [(one.held, one.plainly_held) for one in trials]}
    held |= {
        f"decide.coverage.{name}": [({name: one.held[name]}, {name: one.plainly_held[name]}) for one in trials]
        for name in COUNTS
    }
    out = {}
    for key, both in held.items():
        share, plain = (sum(all(one[i].values()) for one in both) / n for i in (0, 1))
        error = (share * (1 - share) / n) ** 0.5
        baseline = f"Poisson intervals, without people, weeks and drift: {plain:.3f}"
        out[key] = Measured(round(share, 4), round(error, 4), f"share of {n} planted shops", baseline)
    truths, built = [one.truth for one in trials], sum(one.truth == one.built for one in trials)
    counts = {
        "right": sum(one.verdict == one.truth for one in trials),
        "wrong": sum(one.verdict != one.truth and one.verdict != "neither" for one in trials),
    }
    always = {"right": truths.count("rule"), "wrong": n - truths.count("rule")}
    for name, number in counts.items():
        baseline = f"“use the rule” for every shop: {always[name]}; built as the crowd found it: {built}"
        out[f"verdict.{name}_of_40"] = Measured(
            float(number), round((number * (1 - number / n)) ** 0.5, 2), f"of {n} planted shops", baseline
        )
    return out
