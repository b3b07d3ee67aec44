"""Lapses and take-offs of users held out: what the heads, the rule that stands beside each and pooled models say of people that no model
has learned from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Bools, as_declared
from shared.features import History
from shared.heads import Heads

from ..baselines import counter_rules
from ..baselines.interest_models import KINDS, POOLED_DNN, POOLED_LR, fitted_models
from ..evaluation.quality import auc
from ..evaluation.turn_rows import TurnRows, judged_lapses, judged_takeoffs, with_features
from ..people.setup import Setup
from ..scenarios.config import ProtocolSection
from .heads_training import chances_at
from .measured import known

#: Rows of a turn, by its name, the head that says how likely it is, and the rule that the head starts from.
TURNS: Final[
    dict[
        str,
        tuple[
            Callable[[History, ProtocolSection, tuple[int, int]], TurnRows],
            str,
            Callable[..., NDArray[np.floating[Any]]],
        ],
    ]
] = {
    "lapse": (judged_lapses, "lapse", counter_rules.ewma),
    "rise": (judged_takeoffs, "takeoff", counter_rules.level_and_rate),
}
#: The pooled models, by the key that each has: on everybody the better of these is what a gap is to, too.
POOLED_ON_TURNS: Final = {"pooled_lr": POOLED_LR, "pooled_dnn": POOLED_DNN}
WHO: Final = ("auc", "rule", *POOLED_ON_TURNS, "gap")


@as_declared
def turns_of_strangers(history: History, setup: Setup, heads: Heads, held_out: Bools, seed: int) -> dict[str, float]:
    """`<turn>.<who>` for every one of TURNS and WHO: AUC on the lapse test steps of users in `held_out` (K,), and how far the better pooled
    model is ahead of ours there. Ours is each turn's head; the rules are those of the averages over two windows that heads start
    from; the pooled models learned the turns of the others, from the features that heads look at."""
    protocol, features = setup.protocol, setup.plan.read_features
    steps = np.arange(protocol.lapse_test_steps[0], protocol.lapse_test_steps[1] + 1)
    out: dict[str, float] = {}
    for turn, (judged, task, rule) in TURNS.items():
        rows = judged(history, protocol, protocol.lapse_test_steps)
        rows = rows.where(held_out[rows.user])
        taught = judged(history, protocol, protocol.lapse_train_steps)
        train = with_features(history, features, taught.where(~held_out[taught.user]))
        models = fitted_models(train, setup.plan, seed, every=False, without=set(KINDS) - set(POOLED_ON_TURNS.values()))
        x = with_features(history, features, rows)
        scores = {
            "auc": chances_at(history, setup.plan, heads, rows)[task],
            "rule": rows.of(rule(history, steps, span=2 * protocol.window_steps), int(steps[0])),
            **{key: models[name](x) for key, name in POOLED_ON_TURNS.items()},
        }
        found = {who: known(auc(rows.y, score)) for who, score in scores.items()}
        found["gap"] = max(found[key] for key in POOLED_ON_TURNS) - found["auc"]
        out |= {f"{turn}.{who}": found[who] for who in WHO}
    return out
