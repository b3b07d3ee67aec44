"""The table of never-bought categories: the user's own features, then what one private sum of everybody adds to them.

Popularity and neighbours come from the same release, at the close of the train step. Train rows' labels lie within it, so models
that were fitted to these rest on it a little more than they should; test rows lie behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from shared.arrays import Doubles, Floats, as_declared
from shared.features import Crowd, FeatureSpec, History
from shared.heads import crowd_of

from ...baselines.interest_models import POOLED, RULE, SAMPLE
from ...scenarios.config import ProtocolSection
from ..quality import UserBootstrap, auc, interval
from ..result_tables import Range
from .pairs import sum_of_pairs
from .result import ColdScores, ColdTable
from .rows import ColdRows, cold_rows, found_in_lists

#: The noise of a twentieth of the epsilon of .999 at delta 1e-5, as shares of Gaussian noise add up (their squares).
NOISE_MULTIPLIER: Final = 16.7

OWN: Final = "pooled LR, the user's own features"
OWN_KNOWN: Final = "pooled LR, and how many categories the user knows"
POPULARITY: Final = "popularity alone"
POPULARITY_RULE: Final = "popularity, how many the user knows, the rate: no model"
WITH_POPULARITY: Final = "pooled LR, the user's own features and popularity"
WITH_NEIGHBOURS: Final = "pooled LR, the user's own features, popularity and neighbours"
WITH_EVERYTHING: Final = "pooled LR, all of these"
WITH_ALL_EVER: Final = "pooled LR, the user's own features, popularity, neighbours of all that they ever did"
CLEAR: Final = "pooled LR, popularity and neighbours without noise"


class ColdPeople:
    """Rows of the train steps and of the test steps, counted once for any number of sums."""

    def __init__(self, history: History, features: FeatureSpec, protocol: ProtocolSection) -> None:
        self.history, self.protocol = history, protocol
        self.train, self.test = (
            cold_rows(history, features, protocol.horizon_steps, steps)
            for steps in (protocol.train_steps, protocol.test_steps)
        )

    def total(self, noise_multiplier: float) -> Doubles:
        """A new sum of everybody's, at the close of the train step."""
        return sum_of_pairs(self.history, self.protocol.train_at, noise_multiplier)


Inputs = Callable[[ColdRows], NDArray[Any]]


def cold_scores(people: ColdPeople, noise_multiplier: float = NOISE_MULTIPLIER, seed: int = 0) -> dict[str, Doubles]:
    """Every score (n,) of the test rows, the higher, the sooner something is expected; all of one private sum but CLEAR. `seed` draws
    the rows that models learn from."""
    total, n = people.total(noise_multiplier), people.history.n_categories
    crowd, clear = crowd_of(total, n, noise_multiplier), crowd_of(people.total(0.0), n, 0.0)
    models: dict[str, tuple[Inputs, ...]] = {
        OWN: (own,),
        OWN_KNOWN: (own, known),
        WITH_POPULARITY: (own, popularity(crowd)),
        WITH_NEIGHBOURS: (own, popularity(crowd), neighbours(crowd)),
        WITH_EVERYTHING: (own, known, popularity(crowd), neighbours_of_all(crowd)),
        WITH_ALL_EVER: (own, popularity(crowd), neighbours_of_all(crowd)),
        CLEAR: (own, popularity(clear), neighbours_of_all(clear)),
    }
    return {
        **{name: _learned(people, inputs, seed) for name, inputs in models.items()},
        POPULARITY: popularity(crowd)(people.test)[:, 0],
        POPULARITY_RULE: rule(crowd, people.test),
    }


@as_declared
def published_scores(people: ColdPeople, log_popularity: Floats, seed: int = 0) -> dict[str, Doubles]:
    """The scores (n,) that rest on the log popularity (C,) of the categories as a run has published it, and on no neighbours, which no
    run publishes."""
    n = len(log_popularity)
    crowd = Crowd(log_popularity.astype(np.float64), np.zeros((n, n)))
    models = {OWN: (own,), OWN_KNOWN: (own, known), WITH_POPULARITY: (own, popularity(crowd))}
    return {
        **{name: _learned(people, inputs, seed) for name, inputs in models.items()},
        POPULARITY: popularity(crowd)(people.test)[:, 0],
        POPULARITY_RULE: rule(crowd, people.test),
    }


def own(rows: ColdRows) -> Floats:
    """The user's features (n, F)."""
    return rows.x[rows.of_list]


def known(rows: ColdRows) -> NDArray[Any]:
    """The log of how many categories the user knows: (n, 1)."""
    return rows.log_known[rows.of_list, None]


def popularity(crowd: Crowd) -> Inputs:
    """The log popularity of the category: (n, 1)."""
    return lambda rows: crowd.popularity[rows.category, None]


def neighbours(crowd: Crowd) -> Inputs:
    """What the user's other categories say of this one: (n, 1)."""
    return lambda rows: (rows.averages @ crowd.neighbours.T)[rows.of_list, rows.category, None]


def neighbours_of_all(crowd: Crowd) -> Inputs:
    """The same of all that the user ever did, as roots of shares: (n, 1)."""
    return lambda rows: (rows.roots @ crowd.neighbours.T)[rows.of_list, rows.category, None]


def rule(crowd: Crowd, rows: ColdRows) -> Doubles:
    """Without any model: the log popularity, twice the log of how many categories the user knows, half the log of the user's rate, (n,).
    The weights were chosen on folds of the train steps (docs/protocol.md)."""
    out: Doubles = crowd.popularity[rows.category] + (2 * rows.log_known + rows.log_rate / 2)[rows.of_list]
    return out


def _learned(people: ColdPeople, inputs: tuple[Inputs, ...], seed: int) -> Doubles:
    """The logit (n,) of the test rows by a logistic regression of these inputs, learned on at most SAMPLE train rows."""
    train = people.train
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(train))[:SAMPLE]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    with threadpool_limits(1):
        model.fit(np.hstack([each(train) for each in inputs])[order], train.y[order])
        out: Doubles = model.decision_function(np.hstack([each(people.test) for each in inputs])).astype(np.float64)
    return out


@as_declared
def cold_table(people: ColdPeople, scores: dict[str, Doubles], seed: int = 0) -> ColdTable:
    """One row per score: OWN, with which every other is compared, then the others from the best AUC to the worst."""
    rows = people.test
    draws = UserBootstrap(rows.y, rows.user_of_row, seed)
    base_draws, base = draws.aucs(scores[OWN]), auc(rows.y, scores[OWN])
    base_found, base_found_draws = _by_user(rows, draws, scores[OWN])
    table = []
    for name, score in scores.items():
        drawn, exact = draws.aucs(score), auc(rows.y, score)
        found, found_drawn = _by_user(rows, draws, score)
        table.append(
            ColdScores(
                name=name,
                kind=RULE if name in (POPULARITY, POPULARITY_RULE) else POOLED,
                auc=_range(exact, drawn),
                recall=_range(found, found_drawn),
                ahead=None if name == OWN else _range(_minus(exact, base), drawn - base_draws),
                recall_ahead=None if name == OWN else _range(_minus(found, base_found), found_drawn - base_found_draws),
            )
        )
    return ColdTable(
        steps=people.protocol.test_steps,
        horizon_steps=people.protocol.horizon_steps,
        rows=len(rows),
        users=int(draws.users.size),
        lists=int(np.isfinite(found_in_lists(rows, scores[OWN])).sum()),
        base_rate=float(rows.y.mean()) if len(rows) else None,
        table=sorted(table, key=lambda row: (row.name != OWN, -row.auc.value if row.auc else 0)),
    )


def _by_user(rows: ColdRows, draws: UserBootstrap, score: Doubles) -> tuple[float | None, Doubles]:
    """The mean of `found_in_lists`, and that of each draw of users."""
    found = found_in_lists(rows, score)
    there = np.isfinite(found)
    user = np.searchsorted(draws.users, rows.user)
    size = len(draws.users)
    hits = np.bincount(user[there], found[there], minlength=size)
    lists = np.bincount(user[there], minlength=size)
    drawn = (draws.times @ hits) / np.where(weight := draws.times @ lists.astype(np.float64), weight, np.nan)
    return (float(found[there].mean()) if there.any() else None), drawn.astype(np.float64)


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _range(value: float | None, draws: Doubles) -> Range | None:
    ends = interval(draws)
    return None if value is None or ends is None else Range(value=value, low=ends[0], high=ends[1])
