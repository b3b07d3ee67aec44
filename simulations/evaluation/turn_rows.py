"""The rows that early warnings are judged on, and how a score of them did (docs/protocol.md: lapses and take-offs).

A lapse row is a monitored (user, category, step); it is positive if the user does nothing in the category for the next
`lapse_steps`. A take-off row is a category the user knows and hardly uses; it is positive if the user takes it up in the
next `lapse_steps` (`ground_truth` has both definitions). A score of either: the higher, the more the turn is to be expected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Bools, Doubles, Ints, as_declared, hold_declared
from shared.errors import InputError
from shared.features import FeatureSpec, History, last_active

from ..people.labelled_rows import Rows, filled
from ..scenarios.config import ProtocolSection
from .ground_truth import lapse_mask, quiet_mask, takeoff_mask, watched
from .quality import UserBootstrap, auc, average_precision, calibration_error, interval
from .result_tables import Difference, ScoreMetrics, TurnScores, Warned

Scores = NDArray[np.floating[Any]]

#: Active steps in the window that make an interest worth monitoring; steps since the last active one that are no silence
#: yet.
MIN_ACTIVE: Final = 4
EARLY_STEPS: Final = 1
#: Who counts as a top-value user, and which rows as the top of a score.
TOP_USERS: Final = 0.1
TOP_ROWS: Final = 0.1
#: An alert line is set where one alert in so many is true, on this many candidate lines.
ONE_TRUE_IN: Final = 4
ALERT_LINES: Final = 200


@dataclass(frozen=True)
class TurnRows:
    """Rows (n,), in order of user, step, category.

    y: a turn follows. `silent`: steps since the last active one. `early`: before any silence (0 or 1 of them). `valued`:
    the user is among the tenth of all users that had spent most when training ended.
    """

    user: Ints
    step: Ints
    category: Ints
    y: Bools
    silent: Ints
    early: Bools
    valued: Bools

    def __post_init__(self) -> None:
        hold_declared(self)

    def __len__(self) -> int:
        return len(self.y)

    @as_declared
    def where(self, keep: Bools) -> TurnRows:
        """The rows that `keep` (n,) names."""
        return TurnRows(*(column[keep] for column in vars(self).values()))

    @as_declared
    def of(self, cube: NDArray[Any], first_step: int) -> NDArray[Any]:
        """What `cube` (K, S, C) of consecutive steps from `first_step` says on these rows: (n,)."""
        return cube[self.user, self.step - first_step, self.category]


def judged_lapses(history: History, protocol: ProtocolSection, steps: tuple[int, int]) -> TurnRows:
    """Monitored (user, category, step) of steps first..last of a history (K, C, T), and whether a lapse follows.

    InputError unless last + `lapse_steps` is closed.
    """
    at = _known(history, protocol, steps)
    turn = lapse_mask(history, at, protocol, MIN_ACTIVE)
    return _rows(history, protocol, at, watched(history, at, protocol, MIN_ACTIVE), turn)


def judged_takeoffs(history: History, protocol: ProtocolSection, steps: tuple[int, int]) -> TurnRows:
    """Known but quiet (user, category, step) of steps first..last of a history (K, C, T), and whether a take-off follows.

    InputError unless last + `lapse_steps` is closed.
    """
    at = _known(history, protocol, steps)
    return _rows(history, protocol, at, quiet_mask(history, at, protocol), takeoff_mask(history, at, protocol))


def _known(history: History, protocol: ProtocolSection, steps: tuple[int, int]) -> Ints:
    """The steps as an array; the future that decides about each must be known."""
    if not 0 <= steps[0] <= steps[1] < history.n_steps - protocol.lapse_steps:
        raise InputError(
            f"expected steps within 0..{history.n_steps - protocol.lapse_steps - 1}, so that the "
            f"{protocol.lapse_steps} steps after each are known, got {steps[0]}..{steps[1]}"
        )
    return np.arange(steps[0], steps[1] + 1)


def _rows(history: History, protocol: ProtocolSection, at: Ints, chosen: Bools, turn: Bools) -> TurnRows:
    user, position, category = np.nonzero(chosen)
    silent = at[position] - last_active(history.active)[user, category, at[position]]
    spent = history.amount[..., : protocol.train_at + 1].sum(axis=(1, 2), dtype=np.float64)
    valued = np.zeros(len(spent), bool)
    valued[np.argsort(-spent, kind="stable")[: int(np.ceil(TOP_USERS * len(spent)))]] = True
    return TurnRows(
        user,
        at[position],
        category,
        turn[chosen],
        silent,
        silent <= EARLY_STEPS,
        valued[user],
    )


def with_features(history: History, features: FeatureSpec, rows: TurnRows) -> Rows:
    """The rows with their features x (n, F), as of the close of each row's step."""
    return filled(history, features, [rows])[0]


@dataclass(frozen=True)
class TurnScore:
    """A score (n,) of turn rows, of which kind (`interest_models.OURS`, POOLED, RULE, ALONE), and whether it claims to be the
    probability of the turn."""

    value: Scores
    kind: str
    probability: bool = False


def score_table(
    rows: TurnRows,
    scores: Mapping[str, TurnScore],
    references: Sequence[str],
    seed: int,
) -> list[TurnScores]:
    """One row per score of the same rows: `references` first, then the others from the best AUC to the worst.

    `low`, `high`: 95 % interval of the AUC over draws of users. `ahead`: per reference the AUC minus the reference's,
    with `low` and `high` over the same draws; a row beats the reference where `low` > 0 and is beaten where `high` < 0.
    Numbers that cannot be computed are None. InputError for a score that is not finite or not on these rows, or for an
    unknown reference.
    """
    for name in references:
        if name not in scores:
            raise InputError(f"expected a reference among {', '.join(scores)}, got {name!r}")
    for name, score in scores.items():
        if score.value.shape != (len(rows),) or not np.isfinite(score.value).all():
            raise InputError(f"expected a finite score of {len(rows)} rows from {name}, got {score.value.shape}")
    draws = UserBootstrap(rows.y, rows.user, seed)
    drawn = {name: draws.aucs(score.value) for name, score in scores.items()}
    exact = {name: auc(rows.y, score.value) for name, score in scores.items()}
    out = []
    for name, score in scores.items():
        low, high = interval(drawn[name]) or (None, None)
        ahead = {
            other: _difference(exact[name], exact[other], drawn[name] - drawn[other])
            for other in references
            if other != name
        }
        metrics = vars(score_metrics(rows, score))
        out.append(TurnScores(**metrics, name=name, kind=score.kind, auc=exact[name], low=low, high=high, ahead=ahead))
    return sorted(out, key=lambda row: (row.name not in references, -(row.auc or 0)))


def _difference(a: float | None, b: float | None, draws: Doubles) -> Difference:
    """AUC a minus AUC b, whose difference in each draw is `draws`."""
    low, high = interval(draws) or (None, None)
    return Difference(auc=None if a is None or b is None else a - b, low=low, high=high)


def score_metrics(rows: TurnRows, score: TurnScore) -> ScoreMetrics:
    """Average precision, precision at the top, and for a probability Brier score, its skill against the base rate of
    these rows (1 - Brier / Brier of the base rate) and calibration error."""
    out: dict[str, float | None] = dict.fromkeys(ScoreMetrics.model_fields)
    y, value = rows.y, score.value
    if y.any():
        out["average_precision"] = average_precision(y, value)
        out["top_precision"] = top_precision(y, value)
        out["top_value_precision"] = top_precision(y[rows.valued], value[rows.valued])
    if y.any() and score.probability:
        brier, of_base_rate = float(np.mean((value - y) ** 2)), float(y.mean() * (1 - y.mean()))
        out["brier"], out["brier_skill"] = brier, 1 - brier / of_base_rate if of_base_rate else None
        out["calibration_error"] = calibration_error(y, value)
    return ScoreMetrics(**out)


@as_declared
def top_precision(y: Bools, score: Scores, share: float = TOP_ROWS) -> float | None:
    """Share of positives among the `share` of rows with the highest scores, the expected one where equals are cut
    through; None without rows."""
    if not len(y):
        return None
    n = int(np.ceil(share * len(y)))
    line = np.partition(score, len(y) - n)[len(y) - n]
    above, equal = score > line, score == line
    return float((y[above].sum() + (n - above.sum()) * y[equal].mean()) / n)


class Silences:
    """The silences of lapse rows that alerts are judged by, and what a score warns of (`warned`).

    A silence is the steps after one last active step; it gets one alert, at the first row that reaches the line. The
    alert is true if a lapse follows its row. Its lead is how long before the lapse is a fact: last active step +
    `lapse_steps` - step of the alert, 1..`lapse_steps`. Only silences count that could be watched from their first step
    to their last: those that began with an active step in the rows' steps, `lapse_steps` or more before their end.
    Recall: share of these silences that became lapses and were warned of in time by a true alert.
    """

    def __init__(self, rows: TurnRows, lapse_steps: int) -> None:
        began = rows.step - rows.silent
        ends = (rows.step.min(), rows.step.max()) if len(rows) else (0, 0)
        whole = np.flatnonzero((began >= ends[0]) & (began + lapse_steps - 1 <= ends[1]))
        self._rows = whole[np.lexsort([column[whole] for column in (rows.step, began, rows.category, rows.user)])]
        same = [column[self._rows] for column in (rows.user, rows.category, began)]
        new = np.ones(len(self._rows), bool)
        new[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in same])
        self._y, self._lead = rows.y[self._rows], lapse_steps - rows.silent[self._rows]
        self._silence, self._starts = np.cumsum(new), np.flatnonzero(new)

    @as_declared
    def warned(self, score: Scores, one_true_in: int = ONE_TRUE_IN) -> Warned | None:
        """How early a score (n,) of all rows warns of a lapse, at the lowest line at which one alert in `one_true_in` is true;
        None if there is no such line, or no silence to be judged."""
        if not len(self._rows):
            return None
        rising = np.sort(value := score[self._rows])
        lines = np.unique(
            rising[np.ceil(np.linspace(0, 1, ALERT_LINES, endpoint=False) * (len(rising) - 1)).astype(int)]
        )
        reached = np.searchsorted(lines, value, side="right")  # the row is at or above so many lines, the lowest ones
        best = np.maximum.accumulate(self._silence * (len(lines) + 1) + reached) - self._silence * (len(lines) + 1)
        before = np.concatenate([[0], best[:-1]])
        before[self._starts] = 0
        first = np.flatnonzero(best > before)  # the alert of its silence at lines before..best
        alerts, true = (self._at_lines(before[rows], best[rows], len(lines)) for rows in (first, first[self._y[first]]))
        good = np.flatnonzero(true / alerts * one_true_in >= 1)
        if not good.size:
            return None
        line, lapses = int(good[0]), int(self._y[self._starts].sum())
        at = first[(before[first] <= line) & (line < best[first]) & self._y[first]]
        return Warned(
            silences=len(self._starts),
            lapses=lapses,
            alerts=int(alerts[line]),
            precision=float(true[line] / alerts[line]),
            recall=float(true[line] / lapses) if lapses else None,
            median_lead_steps=float(np.median(self._lead[at])) if at.size else None,
        )

    @staticmethod
    def _at_lines(low: Ints, high: Ints, n_lines: int) -> Ints:
        """How many of the ranges low..high - 1 (n,) hold each line: (n_lines,)."""
        begun, ended = (np.bincount(ends, minlength=n_lines + 1) for ends in (low, high))
        return np.cumsum(begun - ended)[:n_lines]
