"""Utility against epsilon, for a picture: AUC of trainings that differ in nothing but noise.

One run has one epsilon. What others would have given, its report shows from a sweep that lies in the run's folder
(`ebbtide sweep SCENARIO --over epsilon=0.5,1,2 --out RUN/sweep`), or else, for a data set that docs/figures.json has
been measured on, from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..federation.run_folder import RunFolder
from .figures_json import FIGURES_FILE, read

UTILITY_EPSILONS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
#: What a sweep is over if its points differ in nothing but noise.
OVER = (["epsilon"], ["privacy.noise_multiplier"])


class Quoted(Protocol):
    """A figure with its spread."""

    @property
    def value(self) -> float: ...

    @property
    def spread(self) -> float | None: ...


def utility_points(
    figures: Mapping[str, Quoted], name: str, epsilons: Sequence[float] = UTILITY_EPSILONS
) -> list[dict[str, float | None]]:
    """What the picture shows of one data set, from its figures by key; the last point is without noise."""
    keys = [*((epsilon, f"eps_{epsilon:g}") for epsilon in epsilons), (None, "no_noise")]
    lines = {
        line: figures[f"utility.{name}.{key}"].value
        for line, key in (("pooled_auc", "pooled"), ("start_auc", "planted_only"))
    }
    found = [(epsilon, figures[f"utility.{name}.{key}"]) for epsilon, key in keys]
    return [{"epsilon": epsilon, "auc_mean": f.value, "auc_sd": f.spread, **lines} for epsilon, f in found]


def utility_of(run: RunFolder, data: str) -> dict[str, Any] | None:
    """`points`, and `published`: whether they are docs/figures.json's and not a sweep's in the run's folder. None where
    there are neither."""
    file = run.swept_file
    swept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"over": {}}
    if list(swept["over"]) in OVER:
        kept = ("auc_mean", "auc_sd", "pooled_auc")
        points = [{"epsilon": row["epsilon_to_public"], **{key: row[key] for key in kept}} for row in swept["rows"]]
        return {"points": points, "published": False}
    if FIGURES_FILE.exists() and f"utility.{data}.pooled" in (figures := read()):
        return {"points": utility_points(figures, data), "published": True}
    return None
