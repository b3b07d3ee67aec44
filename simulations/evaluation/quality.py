"""How good a set of p is: AUC, calibration, and what a bootstrap over users says about chance.

Rows of one user are alike (the same habit, week after week), so an interval that resamples rows would be far too
narrow. Here whole users are drawn with replacement, a user drawn twice counts twice, and two models are compared on
the same draws (docs/protocol.md: "A is ahead of B").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from shared.arrays import Bools, Doubles, Ints, as_declared
from shared.features import History

from ..people.labelled_rows import Rows
from .result_tables import Group, Quality, Tenth

#: Draws of users in a bootstrap, and the share of them inside an interval.
DRAWS = 200
INTERVAL = 0.95
#: Levels that scores are cut into for a bootstrap.
BINS = 2000
#: Whole numbers below this are exact in single precision.
EXACT_COUNTS = 2**24


@as_declared
def auc(y: Bools, score: NDArray[Any]) -> float | None:
    """Area under the ROC curve of finite scores: the share of pairs of a row that came true and one that did not in which the first
    has the higher score, equals counted half. None where only one class is there, or none."""
    if not y.any() or y.all():
        return None
    positive, negative = np.sort(score[y]), np.sort(score[~y])
    low, high = (int(np.searchsorted(negative, positive, side).sum()) for side in ("left", "right"))
    return (low + high) / (2 * len(positive) * len(negative))


@as_declared
def average_precision(y: Bools, score: NDArray[Any]) -> float | None:
    """The mean, over rows that came true, of the precision of the line that just lets each in; None where none came true."""
    if not y.any():
        return None
    positive, negative = np.sort(score[y]), np.sort(score[~y])
    lines, times = np.unique(positive, return_counts=True)
    found = len(positive) - np.searchsorted(positive, lines)
    called = found + len(negative) - np.searchsorted(negative, lines)
    return float((times * found / called).sum() / len(positive))


@as_declared
def log_loss(y: Bools, p: NDArray[Any]) -> float | None:
    """Mean -log of the probability that p gave to what happened, p kept within 1e-6 of 0 and 1; None without rows."""
    if not len(y):
        return None
    given = np.clip(p.astype(np.float64), 1e-6, 1 - 1e-6)
    return float(-np.log(np.where(y, given, 1 - given)).mean())


@as_declared
def calibration_error(y: Bools, p: NDArray[Any], bins: int = 15) -> float:
    """Expected calibration error: mean |share of positives - mean p| over equal-width bins, weighted by rows."""
    bin_of = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    gap = np.abs(np.bincount(bin_of, weights=y, minlength=bins) - np.bincount(bin_of, weights=p, minlength=bins))
    return float(gap.sum() / max(count.sum(), 1))


class UserBootstrap:
    """The same draws of users for every score of the same rows, y (n,) of user (n,).

    `users` (U,) are those who have rows, `times` (draws, U) how often each draw takes them. Scores are cut into at most
    BINS levels of equally many rows; a draw's AUC then differs from the exact one by less than 1e-5.
    """

    @as_declared
    def __init__(self, y: Bools, user: Ints, seed: int, n: int = DRAWS) -> None:
        self._y = np.asarray(y, dtype=bool)
        self.users, self._user = np.unique(user, return_inverse=True)
        random = np.random.Generator(np.random.Philox(seed))
        size = self.users.size
        drawn = (np.bincount(random.integers(0, max(size, 1), size), minlength=size) for _ in range(n))
        self.times = np.array([*drawn], dtype=np.float64).reshape(n, size)
        most_rows = (self.times @ np.bincount(self._user, minlength=size)).max(initial=0)
        counts = np.float32 if most_rows < EXACT_COUNTS else np.float64
        self._by_user = np.ascontiguousarray(self.times.T, counts)

    @as_declared
    def aucs(self, score: NDArray[Any]) -> Doubles:
        """AUC of `score` (n,) in every draw, equals counted half; NaN in a draw that holds one class only."""
        order, ends = in_levels(score)
        user, true = self._user[order].astype(np.int32), self._y[order]
        quiet, returning = (self._counted(user, of_class, ends) for of_class in (~true, true))
        pairs = quiet.sum(axis=0) * returning.sum(axis=0)
        won = (returning * (np.cumsum(quiet, axis=0) - quiet / 2)).sum(axis=0)
        return np.where(pairs > 0, won / np.maximum(pairs, 1), np.nan)

    def _counted(self, user: NDArray[np.int32], chosen: Bools, ends: Ints) -> Doubles:
        """How many chosen rows each level has in each draw: (levels, draws), of rows in their order."""
        upto = np.concatenate([[0], np.cumsum(chosen)])[np.concatenate([[0], ends])]
        mine = user[chosen]
        rows = csr_array((np.ones(len(mine), self._by_user.dtype), mine, upto), (len(ends), self.users.size))
        return np.asarray(rows @ self._by_user, np.float64)


@as_declared
def in_levels(score: NDArray[Any]) -> tuple[Ints, Ints]:
    """Scores (n,) in levels, at most BINS of them, the same for the same score: an order of theirs (n,), and behind which place in it
    each level ends (L,)."""
    order = np.argsort(score)
    rising = score[order]
    values = rising[np.append(True, rising[1:] != rising[:-1])[: len(rising)]]
    if values.size > BINS:
        values = np.unique(np.quantile(rising, np.linspace(0, 1, BINS + 1)[1:-1]))
    return order, np.append(np.searchsorted(rising, values), len(rising))


@as_declared
def interval(draws: Doubles) -> tuple[float, float] | None:
    """The middle 95 % of the draws that could be computed; None if none could."""
    known = draws[np.isfinite(draws)]
    if not known.size:
        return None
    low, high = np.quantile(known, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return float(low), float(high)


@as_declared
def metrics_of(y: Bools, p: NDArray[Any]) -> Quality:
    """Rows, base rate, AUC, log loss and calibration error of p on labelled rows; None where there is nothing."""
    return Quality(
        rows=len(y),
        base_rate=float(y.mean()) if len(y) else None,
        auc=auc(y, p),
        log_loss=log_loss(y, p),
        calibration_error=calibration_error(y, p) if len(y) else None,
    )


@as_declared
def thirds(size: NDArray[Any]) -> Ints:
    """0, 1 or 2 for each of n things: the smallest third, the middle one, the largest; equals by their order."""
    rank = np.empty(len(size), np.int64)
    rank[np.argsort(size, kind="stable")] = np.arange(len(size))
    return rank * 3 // max(len(size), 1)


@as_declared
def groups(rows: Rows, scores: Mapping[str, NDArray[Any]], history: History, step: int, seed: int = 0) -> list[Group]:
    """Quality by kind of user and of category; `scores` names each p (n,) to judge, the devices' own first, with an interval over
    draws of users.

    Users fall into thirds by the steps up to `step` in which they did anything, categories by their number of rows.
    """
    active = history.active[..., : step + 1].any(axis=1).sum(axis=-1)
    per_category = np.bincount(rows.category, minlength=history.n_categories)
    out = []
    for names, size, whose, unit in (
        (("light users", "middle users", "heavy users"), active, rows.user, "active steps"),
        (("small categories", "middle categories", "large categories"), per_category, rows.category, "rows"),
    ):
        third = thirds(size)
        for i, name in enumerate(names):
            members, mine = third == i, third[whose] == i
            first, *others = scores.items()
            draws = UserBootstrap(rows.y[mine], rows.user[mine], seed)
            low, high = interval(draws.aucs(first[1][mine])) or (None, None)
            out.append(
                Group(
                    group=name,
                    members=int(members.sum()),
                    users=draws.users.size,
                    low=low,
                    high=high,
                    unit=unit,
                    smallest=int(size[members].min()) if members.any() else None,
                    largest=int(size[members].max()) if members.any() else None,
                    **vars(metrics_of(rows.y[mine], first[1][mine])),
                    beside={other: auc(rows.y[mine], score[mine]) for other, score in others},
                )
            )
    return out


@as_declared
def tenths(y: Bools, p: NDArray[Any]) -> list[Tenth]:
    """Rows in order of p, cut into tenths: how many, their mean p and the share of them that came true."""
    edges = np.quantile(p, np.linspace(0, 1, 11)) if len(p) else np.linspace(0, 1, 11)
    tenth = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, 9)
    return [
        Tenth(rows=int(mine.sum()), mean_p=float(p[mine].mean()), share=float(y[mine].mean()))
        for mine in (tenth == d for d in range(10))
        if mine.any()
    ]
