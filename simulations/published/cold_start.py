"""What one private sum of everybody says of categories that a user has never touched, on all users of the real data sets.

Five sums under fresh noise, each with the models that are fitted with it; what the user's own features say is fitted on the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rich.progress import track

from shared.rdp import gaussian_epsilon

from ..evaluation.cold.result import ColdScores, ColdTable
from ..evaluation.cold.table import (
    CLEAR,
    NOISE_MULTIPLIER,
    OWN,
    OWN_KNOWN,
    POPULARITY,
    POPULARITY_RULE,
    WITH_ALL_EVER,
    WITH_EVERYTHING,
    WITH_NEIGHBOURS,
    WITH_POPULARITY,
    ColdPeople,
    cold_scores,
    cold_table,
)
from ..evaluation.result_tables import Range
from .learning import SEEDS, learning
from .measured import Measured

#: The rows of the table by the key that each has.
ROWS: Final = {
    "own": OWN,
    "own_known": OWN_KNOWN,
    "popularity": POPULARITY,
    "rule": POPULARITY_RULE,
    "with_popularity": WITH_POPULARITY,
    "with_neighbours": WITH_NEIGHBOURS,
    "everything": WITH_EVERYTHING,
    "all_ever": WITH_ALL_EVER,
    "clear": CLEAR,
}


def cold_numbers(name: str, overrides: Sequence[str] = (), seeds: int = SEEDS) -> dict[str, Measured]:
    """Every row of the table, and what the sum adds to the user's own features."""
    with learning(name, overrides) as of:
        features = replace(of.setup.plan.features, more=None)
        people = ColdPeople(of.trials.history, features, of.setup.protocol)
        shown = track(range(seeds), description=f"{name}, never bought")
        tables = [cold_table(people, cold_scores(people, seed=seed), seed) for seed in shown]
        delta = of.setup.plan.privacy.delta
    return numbers_of_cold(name, tables, gaussian_epsilon(1 / NOISE_MULTIPLIER, delta), delta)


def numbers_of_cold(name: str, tables: Sequence[ColdTable], epsilon: float, delta: float) -> dict[str, Measured]:
    """The published numbers of one table a seed."""
    rows = {key: [_row(table, row) for table in tables] for key, row in ROWS.items()}
    reference = [_known(row.auc).value for row in rows["own"]]
    beside = f"{OWN}, AUC {sum(reference) / len(reference):.4f}"
    recalls = [_known(row.recall).value for row in rows["own"]]
    recalled = f"{OWN}, {sum(recalls) / len(recalls):.4f}"
    lowest = f"lowest lower end of {len(tables)} seeds, 95 % bootstrap over users"
    about = tables[0]
    out: dict[str, Measured] = {}
    ahead, found = ([_known(getattr(row, part)) for row in rows["all_ever"]] for part in ("ahead", "recall"))
    out |= {
        f"cold.gain.{name}": Measured.over([each.value for each in ahead], "AUC", beside),
        f"cold.gain_low.{name}": Measured(round(min(each.low for each in ahead), 5), None, "AUC", lowest),
        f"cold.recall3.{name}": Measured.over([each.value for each in found], "share", recalled),
        f"cold.users.{name}": Measured(about.users, None, "users", f"{about.rows} rows, {about.lists} lists"),
        f"cold.base_rate.{name}": Measured(round(about.base_rate or 0, 4), None, "share"),
        f"cold.epsilon.{name}": Measured(round(epsilon, 4), None, f"epsilon at delta {delta:g}", "the sum alone"),
    }
    for key, scores in rows.items():
        values = {"": [row.auc for row in scores], "_recall3": [row.recall for row in scores]}
        for end, ranges in values.items():
            over = [_known(each).value for each in ranges]
            changes = len(set(over)) > 1
            unit, kind = ("share", scores[0].kind) if end else ("AUC", scores[0].kind)
            out[f"cold.row{end}.{name}.{key}"] = Measured.over(over if changes else over[:1], unit, kind)
        for end in ("low", "high"):
            ends = [getattr(_known(row.auc), end) for row in scores]
            out[f"cold.row_{end}.{name}.{key}"] = Measured.over(ends, "AUC", "95 % over users, mean of the seeds")
    return out


def _row(table: ColdTable, name: str) -> ColdScores:
    return next(row for row in table.table if row.name == name)


def _known(value: Range | None) -> Range:
    assert value is not None, "a value that can be computed"
    return value
