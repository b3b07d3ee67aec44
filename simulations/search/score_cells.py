"""Where the bins of a private evaluation lie, how much a row in each weighs, and the clip: chosen on planted people, who are public.

    python -m simulations.search.score_cells

The numbers stand in `shared/register/recipes.py`, and are never changed there: another choice is another recipe. Two calendars count
alike, days (`demo`) and weeks (`complete-journey-eps1`): edges are quantiles of both together. The noise of an AUC is the sum over
cells of (slope of the AUC in the cell x noise of the cell)^2; with a weight w for each cell, so that its noise is 1 / w, and the
norm that clips fixed, it is least at w^2 = |slope| / (root mean square of a device's rows in the cell). To a power below 1 this
gives up a little there for people who are not as planted.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shared.arrays import Doubles, as_declared
from shared.register.queries import QueryPlan
from shared.register.recipes import N_BINS, SCORE_EDGES_MILLI, SCORE_WEIGHTS_CENTI

from .private_auc import CALENDARS, Crowded, crowd, errors_of

#: Scores of each calendar that edges are quantiles of; the power of weights; the least slope and mean square, as shares of the largest.
SCORES, POWER, LEAST = 50_000, 0.75, 0.02
CLIPS = (7.0, 8.0, 9.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0)


def edges_of(crowds: list[Crowded]) -> list[int]:
    """Quantiles of scores, in thousandths: as many from each calendar."""
    random = np.random.Generator(np.random.Philox(0))
    scores = np.concatenate([random.permutation(one.scores)[:SCORES] for one in crowds])
    edges: list[int] = np.rint(1000 * np.quantile(scores, np.linspace(0, 1, N_BINS + 1)[1:-1])).astype(int).tolist()
    return edges


def weights_of(crowds: list[Crowded]) -> list[list[int]]:
    """Of each label and bin, in hundredths, for the edges that the recipe has; of mean square 1."""
    slopes, sizes = np.zeros((2, N_BINS)), np.zeros((2, N_BINS))
    for one in crowds:
        rows = one.rows(np.arange(len(one.history.active)))
        slope, size = np.abs(auc_slope(rows.sum(axis=0))), np.sqrt((rows**2).mean(axis=0))
        slopes, sizes = slopes + slope / slope.max(), sizes + size / size.max()
    ratio = np.maximum(slopes, LEAST * slopes.max()) / np.maximum(sizes, LEAST * sizes.max())
    weights = np.sqrt(ratio) ** POWER
    told: list[list[int]] = np.rint(100 * weights / np.sqrt((weights**2).mean())).astype(int).tolist()
    return told


@as_declared
def auc_slope(rows: Doubles) -> Doubles:
    """What one more row in each cell changes of the AUC of rows by label and bin: (2, N_BINS)."""
    negative, positive = rows
    below = (np.cumsum(negative) - negative / 2) / negative.sum()
    above = (positive.sum() - np.cumsum(positive) + positive / 2) / positive.sum()
    auc = float((positive * below).sum() / positive.sum())
    return np.stack([(above - auc) / negative.sum(), (below - auc) / positive.sum()])


def clipped_at(one: Crowded, clip_norm: float) -> QueryPlan:
    """The query of a calendar with another clip."""
    return replace(one.query, privacy=replace(one.query.privacy, clip_norm=clip_norm))


def main() -> None:
    """Print what is chosen, beside what the recipe has."""
    crowds = [crowd(calendar, seed=7) for calendar in CALENDARS]
    print("edges, thousandths:", edges_of(crowds), "recipe:", list(SCORE_EDGES_MILLI))
    print("weights, hundredths:", weights_of(crowds), "recipe:", [list(row) for row in SCORE_WEIGHTS_CENTI])
    for calendar, one in zip(CALENDARS, crowds, strict=True):
        for clip_norm in CLIPS:
            found = errors_of(one, query=clipped_at(one, clip_norm))
            print(
                f"{calendar}, clip {clip_norm:g}: RMS {found.rms:.4f}, clip {found.clip:.4f}, noise {found.noise:.4f}"
            )


if __name__ == "__main__":
    main()
