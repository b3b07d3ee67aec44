"""What can be said of a run before it has ended: everything that others do with the same behaviour, without us.

Pooled models, rules and BG/NBD learn from the people alone. A run of simulated people works them out while Flower starts, when a core
has nothing to do; everybody else at the end. The numbers are the same: nothing here looks at what a run released.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.arrays import Bools, as_declared
from shared.features import History

from ..baselines.bgnbd import BgNbd
from ..baselines.interest_models import Predict, fitted_models
from ..people.labelled_rows import Rows, cells_of, filled, history_of
from ..people.looked_at import LookedAt
from ..people.population import Population
from ..people.setup import Setup
from .answer import category_models
from .turn_rows import TurnRows, TurnScore, judged_lapses, judged_takeoffs
from .turn_table import Levels, Taught, lapse_scores, level_steps, pooled_levels, takeoff_scores


@dataclass(frozen=True)
class Beforehand:
    """Who is `looked_at`: all the rest is of these. Their `history`; rows to learn from (of who trains) and to judge; `pooled` models
    of p by name, and what they say at the steps of the turns (`levels`); a BG/NBD for each category; `lapses`, `takeoffs`: what each
    rule and pooled model says on the turn rows, None where there is nothing to judge."""

    looked_at: LookedAt
    history: History
    train: Rows
    test: Rows
    pooled: Mapping[str, Predict]
    levels: Levels
    bgnbd: Sequence[BgNbd | None]
    lapses: Mapping[str, TurnScore] | None
    takeoffs: Mapping[str, TurnScore] | None


@as_declared
def beforehand(
    setup: Setup,
    population: Population,
    *,
    every_model: bool | None = None,
    held_out: Bools | None = None,
    seed: int = 0,
) -> Beforehand:
    """What is known of a run without it, of those of its people who are looked at; arguments as those of `evaluate`."""
    protocol, plan = setup.protocol, setup.plan
    every_model = not population.simulated if every_model is None else every_model
    looked_at = LookedAt.of(population, seed)
    history = history_of(looked_at.population, plan.read_features)
    falls, rises = (judged(history, protocol, protocol.lapse_test_steps) for judged in (judged_lapses, judged_takeoffs))
    lapses, takeoffs = (
        judged(history, protocol, protocol.lapse_train_steps) for judged in (judged_lapses, judged_takeoffs)
    )
    asked = (protocol.train_steps, protocol.test_steps, level_steps(protocol))
    cells = [cells_of(history, plan.horizon_steps, steps) for steps in asked]
    train, test, levelled = filled(history, plan.features, cells)
    taught = filled(history, plan.read_features, [lapses, falls, takeoffs, rises])
    if held_out is not None:
        train = train.where(~held_out[looked_at.users][train.user])
    bgnbd = category_models(history, setup)
    pooled = fitted_models(train, plan, seed, every=every_model)
    alike = pooled if held_out is None else None
    levels = pooled_levels(history, setup, seed, every_model=every_model, fitted=alike, cells=levelled)
    return Beforehand(
        looked_at,
        history,
        train,
        test,
        pooled,
        levels,
        bgnbd,
        lapse_scores(history, setup, falls, levels, seed, bgnbd, Taught(*taught[:2])) if _are_judged(falls) else None,
        takeoff_scores(history, setup, rises, levels, seed, bgnbd, Taught(*taught[2:])) if _are_judged(rises) else None,
    )


def _are_judged(rows: TurnRows) -> bool:
    return bool(rows.y.any() and not rows.y.all())
