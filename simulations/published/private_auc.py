"""How near a private evaluation comes to the clear one: the same devices' rows, planted people, the mechanism as devices run it.

2,000 devices of at most 64 rows each, 10 % of them silent, 5 % of them not counted on for noise, epsilon .5 at delta 1e-5. The
people are others than those whom bins, weights and clip were chosen on (simulations/search/score_cells.py).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from client.model.recipes import VECTORS, drawn_rows
from server.readings import auc_of
from shared.arrays import Doubles
from shared.mechanisms import from_grid, protect
from shared.register.queries import QueryPlan

from ..search.score_cells import CALENDARS, Crowded, crowd
from .measured import Measured

DRAWS, SEED, SILENT = 100, 8, 0.1
#: Noise is made of so many devices at once.
CHUNK = 250


@dataclass(frozen=True)
class Errors:
    """Of a private AUC against the clear one, over all draws: root of the mean square; what bins alone are off by, and clips after
    them (each without noise); the spread that noise makes; and how often the interval held what has no noise."""

    clear: float
    rms: float
    bins: float
    clip: float
    noise: float
    coverage: float


def errors_of(people: Crowded, *, query: QueryPlan | None = None, draws: int = DRAWS) -> Errors:
    """The errors of so many evaluations of the same people, by other noise each."""
    query = query or people.query
    random = np.random.Generator(np.random.Philox(1))
    n = len(people.history.active)
    numbers = np.flatnonzero(random.random(n) >= SILENT)
    about = people.seen(numbers)
    _, x, y = drawn_rows(about)
    clear = float(roc_auc_score(y, about.score(x)))
    vectors = VECTORS["evaluation"](about)
    binned = _auc(vectors.sum(axis=0), 0.0)
    quiet = _sum(vectors, query, 0.0)
    clipped = _auc(quiet, 0.0)
    sd = query.privacy.grid_step * query.privacy.share_sigma * np.sqrt(len(numbers))
    found, held = [], 0
    for _ in range(draws):
        told = auc_of(_sum(vectors, query, query.privacy.share_sigma), sd)
        assert told is not None, "more rows than noise"
        found.append(told.estimate)
        held += told.low <= clipped <= told.high
    rms = float(np.sqrt(np.mean((np.array(found) - clear) ** 2)))
    return Errors(clear, rms, binned - clear, clipped - binned, float(np.std(found)), held / draws)


def _auc(values: Doubles, noise_sd: float) -> float:
    told = auc_of(values, noise_sd)
    assert told is not None, "rows of both labels"
    return told.estimate


def _sum(vectors: Doubles, query: QueryPlan, share_sigma: float) -> Doubles:
    """The sum of what devices hand out, in weighted rows: each clipped, on the grid, with a share of noise."""
    privacy, total = query.privacy, np.zeros(query.n_values, np.uint32)
    for at in range(0, len(vectors), CHUNK):
        total += protect(
            vectors[at : at + CHUNK],
            clip_norm=privacy.clip_norm,
            steps_per_clip=privacy.steps_per_clip,
            share_sigma=share_sigma,
            entropy=os.urandom,
        ).sum(axis=0, dtype=np.uint32)
    return from_grid(total, privacy.grid_step)


def private_auc_numbers() -> dict[str, Measured]:
    """`sum.private_auc_rms`, of days, and of weeks; with the parts that it is made of."""
    out: dict[str, Measured] = {}
    for calendar in CALENDARS:
        found = errors_of(crowd(calendar, SEED))
        where = "sum.private_auc_rms" + ("" if calendar == "days" else f".{calendar}")
        beside = f"clear AUC {found.clear:.4f} of the same rows of planted people, {calendar}"
        out[where] = Measured(round(found.rms, 5), None, f"AUC, root mean square of {DRAWS} draws", beside)
        for part, value in (("bins", found.bins), ("clip", found.clip), ("noise", found.noise)):
            out[f"{where}.{part}"] = Measured(round(value, 5), None, "AUC", beside)
        out[f"{where}.coverage"] = Measured(float(found.coverage), None, "share of 95 % intervals", "AUC without noise")
    return out
