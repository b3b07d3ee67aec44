"""The devices' p and every baseline, on the same rows: one table with intervals over users, the gap, groups."""

from __future__ import annotations

from collections.abc import Container, Mapping

import numpy as np

from shared.arrays import Bools, Floats, as_declared
from shared.errors import InputError
from shared.features import History
from shared.plan import Plan

from ..baselines import interest_models as baselines
from ..baselines.interest_models import EBBTIDE, GAP_BASELINES
from ..people.labelled_rows import Rows
from ..rivals.scores import YOURS
from .quality import UserBootstrap, auc, groups, interval, metrics_of
from .result_tables import Baseline, BaselineTable, HeldOut, InterestTables


@as_declared
def baseline_table(rows: Rows, scores: Mapping[str, Floats], seed: int, yours: Container[str] = ()) -> BaselineTable:
    """One row per p (n,) of `scores` on the same rows: ours first, then the others from the best AUC to the worst; and the gap.
    `yours`: names of those that the reader of the run brought along.

    `low`, `high`: 95 % interval of the AUC over draws of users; `ahead`: its AUC minus ours, with `ahead_low` and
    `ahead_high` over the same draws. It beats ours where `ahead_low` > 0, and ours beats it where `ahead_high` < 0.
    """
    draws = UserBootstrap(rows.y, rows.user, seed)
    our_draws, our_auc = draws.aucs(scores[EBBTIDE]), auc(rows.y, scores[EBBTIDE])
    out = []
    for name, p in scores.items():
        its_draws = our_draws if name == EBBTIDE else draws.aucs(p)
        quality, ours = metrics_of(rows.y, p), name == EBBTIDE
        low, high = interval(its_draws) or (None, None)
        ahead_low, ahead_high = (None if ours else interval(its_draws - our_draws)) or (None, None)
        out.append(
            Baseline(
                name=name,
                kind=YOURS if name in yours else baselines.KINDS.get(name, baselines.POOLED),
                auc=quality.auc,
                log_loss=quality.log_loss,
                calibration_error=quality.calibration_error,
                low=low,
                high=high,
                ahead=None if ours or quality.auc is None or our_auc is None else quality.auc - our_auc,
                ahead_low=ahead_low,
                ahead_high=ahead_high,
            )
        )
    return with_gap(sorted(out, key=lambda row: (row.name != EBBTIDE, -(row.auc or 0))))


def with_gap(table: list[Baseline]) -> BaselineTable:
    """The table with its gap: the best AUC of GAP_BASELINES minus ours, and which of them it is."""
    known = [row for row in table if row.name in GAP_BASELINES and row.ahead is not None]
    if not known:
        return BaselineTable(baselines=table, gap=None, gap_to=None)
    best = max(known, key=lambda row: row.auc or 0)
    return BaselineTable(baselines=table, gap=best.ahead, gap_to=best.name)


@as_declared
def compare(
    train: Rows,
    test: Rows,
    scored: Floats,
    history: History,
    plan: Plan,
    *,
    until: int,
    pooled: Mapping[str, baselines.Predict],
    held_out: Bools | None = None,
    extra: Mapping[str, Floats],
    yours: Mapping[str, Floats] | None = None,
    seed: int = 0,
) -> InterestTables:
    """The devices' p and every baseline: on users that trained, on those held out, by kind of user and category.

    `scored` (n,): the devices' p on the test rows, NaN where they showed none; those rows are left out everywhere. `pooled`:
    the models that see all data, fitted to `train`.
    `until`: the step up to which users count as light or heavy. `extra`, `yours`: further p on the test rows, the second the
    reader's own; InputError if one is not on these.
    """
    yours = yours or {}
    for name, p in {**extra, **yours}.items():
        if len(p) != len(test.y):
            raise InputError(f"expected p on {len(test.y)} test rows from {name}, got {len(p)}")
    others = {
        **baselines.rules(train, test, plan),
        **{name: predict(test) for name, predict in pooled.items()},
        **extra,
        **yours,
    }
    known = ~np.isnan(scored)
    apart = np.zeros(len(test.y), bool) if held_out is None else held_out[test.user]

    def judged(keep: Bools) -> tuple[Rows, dict[str, Floats]]:
        return test.where(keep), {name: p[keep] for name, p in {EBBTIDE: scored, **others}.items()}

    rows, scores = judged(known & ~apart)
    table = baseline_table(rows, scores, seed, yours)
    in_groups: dict[str, Floats] = {
        name: scores[name] for name in (EBBTIDE, baselines.POOLED_LR, baselines.RECENCY_FREQUENCY) if name in scores
    }
    by_group, held_out_users = groups(rows, in_groups, history, until, seed), None
    if (known & apart).any():
        rows, scores = judged(known & apart)
        users = int(np.unique(rows.user).size)
        held_out_users = HeldOut(**vars(baseline_table(rows, scores, seed, yours)), users=users, rows=len(rows.y))
    return InterestTables(**vars(table), groups=by_group, held_out_users=held_out_users)
