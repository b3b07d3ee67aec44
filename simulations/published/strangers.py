"""Lapses and take-offs of users held out: what ours, the rule that stands beside it and a pooled model say of people that no model has
learned from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from shared.arrays import Bools, Floats, as_declared
from shared.features import History

from ..baselines import counter_rules
from ..baselines.interest_models import KINDS, POOLED_LR, fitted_models
from ..evaluation.quality import auc
from ..evaluation.turn_quality import risk_of
from ..evaluation.turn_rows import TurnRows, judged_lapses, judged_takeoffs, with_features
from ..people.setup import Setup
from ..scenarios.config import ProtocolSection
from .measured import known

#: Rows of a turn, by its name.
TURNS: Final[dict[str, Callable[[History, ProtocolSection, tuple[int, int]], TurnRows]]] = {
    "lapse": judged_lapses,
    "rise": judged_takeoffs,
}
WHO: Final = ("auc", "rule", "pooled_lr")


@as_declared
def turns_of_strangers(
    history: History, setup: Setup, theta: Floats, risk: Floats, held_out: Bools, seed: int
) -> dict[str, float]:
    """`<turn>.<who>` for every one of TURNS and WHO: AUC on the lapse test steps of users in `held_out` (K,). Ours is phi of lapses, the
    level of p of take-offs; the rules are the averages over two windows that these are compared with; the pooled logistic regression
    learned the turns of the others."""
    protocol = setup.protocol
    out: dict[str, float] = {}
    for turn, judged in TURNS.items():
        rows = judged(history, protocol, protocol.lapse_test_steps)
        rows = rows.where(held_out[rows.user])
        taught = judged(history, protocol, protocol.lapse_train_steps)
        train = with_features(history, setup.plan.features, taught.where(~held_out[taught.user]))
        p, phi = risk_of(history, setup.plan, theta, risk, rows)
        steps = np.arange(protocol.lapse_test_steps[0], protocol.lapse_test_steps[1] + 1)
        rule = counter_rules.ewma if turn == "lapse" else counter_rules.level_and_rate
        models = fitted_models(train, setup.plan, seed, every=False, without=set(KINDS) - {POOLED_LR})
        scores = {
            "auc": phi if turn == "lapse" else p,
            "rule": rows.of(rule(history, steps, span=2 * protocol.window_steps), int(steps[0])),
            "pooled_lr": models[POOLED_LR](with_features(history, setup.plan.features, rows)),
        }
        out |= {f"{turn}.{who}": known(auc(rows.y, scores[who])) for who in WHO}
    return out
