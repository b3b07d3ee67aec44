"""Utility against epsilon, for a picture: AUC of trainings that differ in nothing but noise.

One run has one epsilon. What others would have given, its report shows from a sweep that lies in the run's folder
(`ebbtide sweep SCENARIO --over epsilon=0.5,1,2 --out RUN/sweep`), or else, for a data set that docs/figures.json has
been measured on, from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from shared.files import text_of

from ..evaluation.results import Utility, UtilityPoint
from ..federation.run_folder import RunFolder
from .figures_json import FIGURES_FILE, read

UTILITY_EPSILONS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
#: What a sweep is over if its points differ in nothing but noise.
OVER = (["epsilon"], ["privacy.noise_multiplier"])


class Quoted(Protocol):
    """A number with its spread."""

    @property
    def value(self) -> float: ...

    @property
    def spread(self) -> float | None: ...


def utility_points(
    published: Mapping[str, Quoted], name: str, epsilons: Sequence[float] = UTILITY_EPSILONS
) -> list[UtilityPoint]:
    """What the picture shows of one data set, from its published numbers by key; the last point is without noise."""
    keys = [*((epsilon, f"eps_{epsilon:g}") for epsilon in epsilons), (None, "no_noise")]
    pooled, start = (published[f"utility.{name}.{key}"].value for key in ("pooled", "planted_only"))
    found = [(epsilon, published[f"utility.{name}.{key}"]) for epsilon, key in keys]
    return [
        UtilityPoint(epsilon=epsilon, auc_mean=auc.value, auc_sd=auc.spread, pooled_auc=pooled, start_auc=start)
        for epsilon, auc in found
    ]


def swept_points(rows: Sequence[Mapping[str, Any]]) -> list[UtilityPoint]:
    """What the picture shows of a sweep over epsilon, from its rows."""
    kept = ("auc_mean", "auc_sd", "pooled_auc")
    return [
        UtilityPoint(epsilon=row["epsilon_to_public"], **{key: row[key] for key in kept}, start_auc=None)
        for row in rows
    ]


def utility_of(run: RunFolder, data: str) -> Utility | None:
    """The points of a sweep in the run's folder, else docs/figures.json's of the data set. None where there are neither."""
    file = run.swept_file
    swept = json.loads(text_of(file)) if file.exists() else {"over": {}}
    if list(swept["over"]) in OVER:
        return Utility(points=swept_points(swept["rows"]), published=False)
    if FIGURES_FILE.exists() and f"utility.{data}.pooled" in (known := read()):
        return Utility(points=utility_points(known, data), published=True)
    return None
