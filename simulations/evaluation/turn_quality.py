"""How early one run warns of lapses and take-offs: phi and p on the rows of its test steps, against every rule and
pooled models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from shared.arrays import Floats, as_declared
from shared.features import History
from shared.lapse_risk import phi, readings
from shared.network import forward
from shared.plan import Plan

from ..baselines.bgnbd import BgNbd
from ..baselines.interest_models import OURS
from ..people.setup import Setup
from ..rivals.scores import YOURS, TheirScores
from .quality import tenths
from .replay import Scores
from .result_tables import LapseTable, TakeoffTable
from .turn_rows import TurnRows, TurnScore, judged_lapses, judged_takeoffs, with_features
from .turn_table import Levels, change_rates, lapse_table, takeoff_table

PHI: Final = "Ebbtide's phi, on the devices"
RHO: Final = "Ebbtide's rho, on the devices"
LEVEL: Final = "level of p, Ebbtide"


@as_declared
def risk_of(history: History, plan: Plan, theta: Floats, weights: Floats, rows: TurnRows) -> tuple[Floats, Floats]:
    """p and phi (n,) of turn rows, by the numpy network: what the devices computed at the close of these steps."""
    assert plan.risk is not None, "a plan that learns phi"
    earlier = replace(rows, step=np.maximum(rows.step - plan.risk.rate_steps, 0))
    x, x_before = (with_features(history, plan.features, these).x for these in (rows, earlier))
    p, p_before = (forward(plan.network, theta, some) for some in (x, x_before))
    return p, phi(weights, readings(plan.features, x, p, p_before))


def lapse_quality(
    history: History,
    setup: Setup,
    scores: Scores,
    levels: Levels,
    seed: int,
    models: Sequence[BgNbd | None] | None = None,
    rivals: Sequence[TheirScores] = (),
    others: Mapping[str, TurnScore] | None = None,
) -> LapseTable | None:
    """The lapse table of a run whose devices computed `scores`, against pooled `levels` and the reader's
    `rivals`; where they computed no phi, the
    level of p alone stands for us. None without a lapse row. `others`: what rules and pooled models say, where that is known already."""
    rows = judged_lapses(history, setup.protocol, setup.protocol.lapse_test_steps)
    if not rows.y.any() or rows.y.all():
        return None
    ours: dict[str, TurnScore] = {}
    risk = None if scores.risk is None else rows.of(scores.risk, int(scores.steps[0]))
    if risk is not None:
        ours[PHI] = TurnScore(risk.astype(np.float64), OURS, True)
    ours.update(_of_p(scores, rows, rising=False))
    first = next(iter(ours))
    ours.update(_of_rivals(rivals, rows, rising=False))
    found = lapse_table(
        history, setup, extra=ours, references=[first], levels=levels, seed=seed, models=models, others=others
    )
    return found if risk is None else found.model_copy(update={"calibration": tenths(rows.y, risk)})


def rise_quality(
    history: History,
    setup: Setup,
    scores: Scores,
    levels: Levels,
    seed: int,
    models: Sequence[BgNbd | None] | None = None,
    rivals: Sequence[TheirScores] = (),
    others: Mapping[str, TurnScore] | None = None,
) -> TakeoffTable | None:
    """The table of take-offs of such a run: where its devices computed no chance of one, the level of p stands for us. None without a
    take-off row."""
    rows = judged_takeoffs(history, setup.protocol, setup.protocol.lapse_test_steps)
    if not rows.y.any() or rows.y.all():
        return None
    ours: dict[str, TurnScore] = {}
    if scores.takeoff is not None:
        ours[RHO] = TurnScore(rows.of(scores.takeoff, int(scores.steps[0])).astype(np.float64), OURS, True)
    ours.update(_of_p(scores, rows, rising=True))
    first = next(iter(ours))
    ours.update(_of_rivals(rivals, rows, rising=True))
    return takeoff_table(
        history, setup, extra=ours, references=[first], levels=levels, seed=seed, models=models, others=others
    )


def _of_p(scores: Scores, rows: TurnRows, *, rising: bool) -> dict[str, TurnScore]:
    """The level of the devices' own p, and the article's change rate of it."""
    p = np.concatenate([scores.past, scores.p], axis=1)
    first = int(scores.steps[0]) - scores.past.shape[1]
    level = (1 if rising else -1) * rows.of(p, first).astype(np.float64)
    return {LEVEL: TurnScore(level, OURS), **change_rates(p, first, rows, "Ebbtide", rising=rising)}


def _of_rivals(rivals: Sequence[TheirScores], rows: TurnRows, *, rising: bool) -> dict[str, TurnScore]:
    """The reader's own scores on these rows, turned so that the higher one expects the turn the more."""
    return {
        rival.label: TurnScore(
            (1 if (rival.of == "interest") == rising else -1)
            * rival.at(rows.user, rows.step, rows.category).astype(np.float64),
            YOURS,
        )
        for rival in rivals
    }
