"""What an opened sum says, by recipe: numbers for people, each with the error that the noise makes.

All of it is computed from the noisy sum, so it costs no epsilon. The noise is known: its standard deviation is that of the
shares of all who are in the sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.arrays import Doubles, as_declared
from shared.register.queries import QueryPlan
from shared.register.recipes import DIRECTIONS, LEVELS, N_BINS, SCORE_EDGES_MILLI, SCORE_WEIGHTS_CENTI

Z_95 = 1.959963984540054
WEIGHTS: Doubles = np.array(SCORE_WEIGHTS_CENTI) / 100


@dataclass(frozen=True)
class Auc:
    """An AUC of counts, and the interval that holds the one without noise, of the same devices, in 95 of 100 sums."""

    estimate: float
    low: float
    high: float


@as_declared
def auc_of(values: Doubles, noise_sd: float) -> Auc | None:
    """The AUC of a sum (2 * N_BINS,) of the recipe `evaluation`, whose values carry noise of this standard deviation; None where noise
    outweighs the rows of a label.

    Rows that share a bin count half: what is lost by bins is not in the interval, nor is what differs between these devices and
    others. To first order in the noise: the AUC's slope in each cell, times that cell's noise.

    >>> clear = np.zeros((2, N_BINS)); clear[0, 2] = clear[1, 12] = 100
    >>> auc_of((clear * WEIGHTS).ravel(), 0.0)
    Auc(estimate=1.0, low=1.0, high=1.0)
    """
    negative, positive = counts_of(values)
    n_negative, n_positive = negative.sum(), positive.sum()
    if min(n_negative, n_positive) <= noise_sd:
        return None
    below = np.cumsum(negative) - negative / 2
    above = n_positive - np.cumsum(positive) + positive / 2
    auc = float((positive * below).sum() / (n_negative * n_positive))
    slope = np.stack([above / n_positive - auc, below / n_negative - auc]) / np.array([[n_negative], [n_positive]])
    half = Z_95 * noise_sd * math.sqrt(float(((slope / WEIGHTS) ** 2).sum()))
    return Auc(auc, auc - half, auc + half)


@as_declared
def counts_of(values: Doubles) -> Doubles:
    """Rows by label and bin, with noise, (2, N_BINS), of a sum of weighted ones."""
    counts: Doubles = values.reshape(2, N_BINS) / WEIGHTS
    return counts


def _evaluation(query: QueryPlan, values: Doubles, noise_sd: float) -> dict[str, Any]:
    """AUC; rows and their share of label 1 in each bin of p, with its standard error (None: fewer rows than noise)."""
    auc, counts = auc_of(values, noise_sd), counts_of(values)
    edges = [0.0, *(edge / 1000 for edge in SCORE_EDGES_MILLI), 1.0]
    bins = []
    for at in range(N_BINS):
        negative, positive = counts[:, at].tolist()
        rows, sd = negative + positive, noise_sd / WEIGHTS[:, at]
        known = rows > 2 * math.hypot(*sd)
        share = positive / rows if known else None
        error = math.hypot(negative * sd[1], positive * sd[0]) / rows**2 if known else None
        bins.append({"from": edges[at], "to": edges[at + 1], "rows": rows, "share": share, "error": error})
    return {"auc": vars(auc) if auc else None, "rows": float(counts.sum()), "bins": bins}


def _alert_counts(query: QueryPlan, values: Doubles, noise_sd: float) -> dict[str, Any]:
    """Alerts by direction and level, and by category, direction and level, each count with the same error."""
    table = values.reshape(-1, DIRECTIONS, LEVELS)
    return {
        "counts": table.tolist(),
        "by_direction_and_level": table.sum(axis=0).tolist(),
        "error": noise_sd,
        "error_over_categories": noise_sd * math.sqrt(len(table)),
    }


#: How a sum is read, by recipe; one that has nothing here is told as it is.
READINGS: Mapping[str, Callable[[QueryPlan, Doubles, float], dict[str, Any]]] = {
    "evaluation": _evaluation,
    "alert_counts": _alert_counts,
}


@as_declared
def reading_of(query: QueryPlan, values: Doubles, noise_sd: float) -> dict[str, Any]:
    """What a sum says: see `READINGS`."""
    if (read := READINGS.get(query.recipe)) is not None:
        return read(query, values, noise_sd)
    return {"values": values.tolist()}
