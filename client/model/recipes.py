"""What a device computes for a sum that trains nothing: one function for each recipe, over any number of devices at once.

A `Seen` of what devices know goes in, a vector for each comes out, (K, n_values), to be clipped, noised and summed. A device
calls it with itself alone, a simulated host with the K that it holds. Raw counts do not leave who calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Bools, Doubles, Floats, Ints
from shared.features import History, extract, labels, seen
from shared.plan import Plan
from shared.register.queries import QueryPlan
from shared.register.recipes import DIRECTIONS, LEVELS, N_BINS, SCORE_EDGES_MILLI, SCORE_WEIGHTS_CENTI

from .training_rows import draw, generator

#: Columns of a table of alerts: whose (the place among K), which turn, of what, how strong, when.
USER, DIRECTION, CATEGORY, LEVEL, STEP = range(5)


@dataclass(frozen=True)
class Seen:
    """What K devices know at the close of a step that was asked for: `history` (K, C, T) until then; `score`, which makes p of
    rows (n, F); `alerts` (n, 5), those that are still there; and, of the query, the `round` that names it. `numbers` (K,):
    the devices' own, which the draw of rows depends on. Raw behaviour: the repr shows nothing."""

    plan: Plan
    query: QueryPlan
    history: History
    score: Callable[[Floats], Floats]
    alerts: Ints
    numbers: Ints
    round: int
    step: int

    def __repr__(self) -> str:
        return "Seen(<raw>)"


def score_histograms(about: Seen) -> Doubles:
    """`evaluation`: the rows of the last `history_steps` steps whose labels are known, at most `rows` of them by chance, counted
    by label and by the bin that p falls into, each by its cell's weight: (K, 2 * N_BINS), label 0 first."""
    out = np.zeros((len(about.numbers), 2, N_BINS))
    user, x, y = drawn_rows(about)
    at = (user, y.astype(np.intp), bins_of(about.score(x)))
    np.add.at(out, at, np.array(SCORE_WEIGHTS_CENTI)[at[1], at[2]] / 100)
    return out.reshape(len(out), -1)


def bins_of(p: Floats) -> NDArray[np.intp]:
    """The bin of each score, (n,): how many of the edges it reaches."""
    return np.searchsorted(np.array(SCORE_EDGES_MILLI) / 1000, p, side="right")


def drawn_rows(about: Seen) -> tuple[Ints, Floats, Bools]:
    """The rows that a query is about: whose (n,), x (n, F) and label (n,). Drawn as rounds of training draw theirs, by a seed that
    is known: it buys no privacy. None where no label is known yet."""
    history, last = about.history, about.history.n_steps - 1 - about.plan.horizon_steps
    if last < 0:
        return np.empty(0, np.int64), np.empty((0, about.plan.features.n_features), np.float32), np.empty(0, bool)
    steps = np.arange(max(0, last - about.query.number("history_steps") + 1), last + 1)
    chosen = seen(history, steps)
    flat = chosen.reshape(len(chosen), -1)
    kept = np.zeros_like(flat)
    for k, (row, number) in enumerate(zip(flat, about.numbers.tolist(), strict=True)):
        places = np.flatnonzero(row)
        random = generator(about.plan.training.seed, about.round, number)
        picks = draw(len(places), 1, about.query.number("rows"), random)[0]
        kept[k, places[picks[picks >= 0]]] = True
    mask = kept.reshape(chosen.shape)
    x = extract(history, about.plan.features, steps)[mask]
    y = labels(history, steps, about.plan.horizon_steps)[mask]
    return np.nonzero(mask)[0], x, y


def alert_counts(about: Seen) -> Doubles:
    """`alert_counts`: the alerts of the last `every_steps` steps, by category, direction and level: (K, C * 6). Those of categories
    beyond the plan's are not counted."""
    categories = about.query.number("categories")
    out = np.zeros((len(about.numbers), categories, DIRECTIONS, LEVELS))
    alerts = about.alerts.reshape(-1, 5)
    due = (alerts[:, STEP] > about.step - about.query.every_steps) & (alerts[:, STEP] <= about.step)
    mine = alerts[due & (alerts[:, CATEGORY] < categories)]
    np.add.at(out, (mine[:, USER], mine[:, CATEGORY], mine[:, DIRECTION], mine[:, LEVEL]), 1.0)
    return out.reshape(len(out), -1)


#: By the recipe's name: what each of K devices adds, (K, n_values), before clip and noise.
VECTORS: Mapping[str, Callable[[Seen], Doubles]] = {
    "evaluation": score_histograms,
    "alert_counts": alert_counts,
}
