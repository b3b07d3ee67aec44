"""The devices' p beside every baseline, on the same rows: one table with intervals over users, the gap, groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.arrays import Bools, Floats
from shared.errors import InputError
from shared.features import History
from shared.plan import Plan

from ..baselines import interest_models as baselines
from ..baselines.interest_models import EBBTIDE, RIVALS
from ..people.labelled_rows import Rows
from .quality import UserBootstrap, auc, groups, interval, metrics_of


def baseline_table(rows: Rows, scores: Mapping[str, Floats], seed: int) -> list[dict[str, Any]]:
    """One mapping per p (n,) of `scores` on the same rows: ours first, then the others from the best AUC to the worst.

    `low`, `high`: 95 % interval of the AUC over draws of users; `ahead`: its AUC minus ours, with `ahead_low` and
    `ahead_high` over the same draws. It beats ours where `ahead_low` > 0, and ours beats it where `ahead_high` < 0.
    """
    draws = UserBootstrap(rows.y, rows.user, seed)
    our_draws, our_auc = draws.aucs(scores[EBBTIDE]), auc(rows.y, scores[EBBTIDE])
    out = []
    for name, p in scores.items():
        its_draws = our_draws if name == EBBTIDE else draws.aucs(p)
        figures, between = metrics_of(rows.y, p), interval(its_draws)
        row = {
            "name": name,
            "kind": baselines.KINDS.get(name, baselines.POOLED),
            **{key: figures[key] for key in ("auc", "log_loss", "calibration_error")},
            **dict(zip(("low", "high"), between or (None, None), strict=True)),
        }
        if name != EBBTIDE:
            row["ahead"] = None if figures["auc"] is None or our_auc is None else figures["auc"] - our_auc
            ends = interval(its_draws - our_draws) or (None, None)
            row.update(zip(("ahead_low", "ahead_high"), ends, strict=True))
        out.append(row)
    return sorted(out, key=lambda row: (row["name"] != EBBTIDE, -(row["auc"] or 0)))


def gap_of(table: list[dict[str, Any]]) -> dict[str, Any]:
    """`gap`: the better AUC of pooled network and pooled logistic regression minus ours, and `gap_to`, which it is."""
    rivals = [row for row in table if row["name"] in RIVALS and row["ahead"] is not None]
    best = max(rivals, key=lambda row: row["auc"], default=None)
    return {"gap": best and best["ahead"], "gap_to": best and best["name"]}


def compare(
    train: Rows,
    test: Rows,
    scored: Floats,
    history: History,
    plan: Plan,
    *,
    until: int,
    every_model: bool,
    held_out: Bools | None = None,
    extra: Mapping[str, Floats],
    seed: int = 0,
) -> dict[str, Any]:
    """The devices' p beside every baseline: on users that trained, on those held out, by kind of user and category.

    `scored` (n,): the devices' p on the test rows, NaN where they showed none; those rows are left out everywhere. Unless
    `every_model`, the pooled models are RIVALS.
    `until`: the step up to which users count as light or heavy. InputError if an `extra` p is not on the test rows.
    """
    for name, p in extra.items():
        if len(p) != len(test.y):
            raise InputError(f"expected p on {len(test.y)} test rows from {name}, got {len(p)}")
    others = {
        **baselines.rules(train, test, plan),
        **baselines.models(train, test, plan, seed, every=every_model),
        **extra,
    }
    known = ~np.isnan(scored)
    apart = np.zeros(len(test.y), bool) if held_out is None else held_out[test.user]

    def judged(keep: Bools) -> tuple[Rows, dict[str, Floats]]:
        return test.where(keep), {name: p[keep] for name, p in {EBBTIDE: scored, **others}.items()}

    rows, scores = judged(known & ~apart)
    table = baseline_table(rows, scores, seed)
    beside: dict[str, Floats] = {
        name: scores[name] for name in (EBBTIDE, baselines.POOLED_LR, baselines.RECENCY_FREQUENCY) if name in scores
    }
    out: dict[str, Any] = {
        "baselines": table,
        **gap_of(table),
        "groups": groups(rows, beside, history, until),
        "held_out_users": None,
    }
    if (known & apart).any():
        rows, scores = judged(known & apart)
        table = baseline_table(rows, scores, seed)
        users = int(np.unique(rows.user).size)
        out["held_out_users"] = {"users": users, "rows": len(rows.y), "baselines": table, **gap_of(table)}
    return out
