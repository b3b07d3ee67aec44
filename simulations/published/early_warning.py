"""What early warning is worth on all users of the real data sets: the tables of lapses and of take-offs.

Ours are the heads that the data set's scenario with heads learns, five times; of a set without one phi and the level of p, under its
scenario for epsilon <= 1. Every other row is made in the same run on the same rows. Rules see the counters alone, pooled models see
everybody's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
from rich.progress import track

from server.privacy.accounting import epsilon_to_public
from shared.charges import charges_of

from ..baselines.interest_models import OURS, POOLED, RULE
from ..evaluation.result_tables import LapseTable, TakeoffTable, TurnScores
from ..evaluation.turn_quality import risk_of
from ..evaluation.turn_rows import TurnRows, TurnScore, judged_lapses, judged_takeoffs
from ..evaluation.turn_table import EWMA_SPAN, P_ALIVE, P_SILENT, lapse_table, pooled_levels, takeoff_table
from ..scenarios.config import Scenario
from .heads_training import chances_at
from .learning import SEEDS, Learning, learning
from .measured import Measured, known
from .strangers import POOLED_ON_TURNS

Row = TypeVar("Row", bound=TurnScores)

#: Not simple rules: they fit a model of everybody's purchases.
FITTED: Final = (P_ALIVE, P_SILENT)
CONSTANT: Final = ("never", "always")
#: What an end of an interval is compared with: nothing, but it is of this.
OVER_USERS: Final = "an end of 95 %, bootstrap over users"
#: The slow average of the benchmark. Longer ones are rules of ours, and harder to beat.
BENCHMARK_EWMA: Final = f"EWMA of activity, {EWMA_SPAN} steps"


def ours(of: Learning, scenario: Scenario, task: str, rows: TurnRows, seeds: int) -> list[TurnScore]:
    """What one private training for each seed says of the rows of a task."""
    out = []
    for seed in track(range(seeds), description=f"{of.name}, early warning"):
        if scenario.heads.rounds:
            _, heads = of.heads(scenario, seed)
            value = chances_at(of.trials.history, of.trials.setup(scenario).plan, heads, rows)[task]
            out.append(TurnScore(value.astype(np.float64), OURS, True))
            continue
        trained = of.train(scenario, seed)
        p, phi = risk_of(of.trials.history, of.setup.plan, trained.theta, trained.risk, rows)
        out.append(TurnScore((phi if task == "lapse" else p).astype(np.float64), OURS, task == "lapse"))
    return out


def lapse_numbers(name: str, overrides: Sequence[str] = (), seeds: int = SEEDS) -> dict[str, Measured]:
    """Every row of the lapse table, and what ours is worth against the best of each kind."""
    with learning(name, overrides) as of:
        scenario = of.warning_scenario
        setup = of.trials.setup(scenario)
        history = of.trials.history
        rows = judged_lapses(history, setup.protocol, setup.protocol.lapse_test_steps)
        extra = {_ours(i): score for i, score in enumerate(ours(of, scenario, "lapse", rows, seeds))}
        found = lapse_table(
            history,
            setup,
            extra=extra,
            references=[_ours(i) for i in range(seeds)],
            levels=pooled_levels(history, setup),
        )
        plan = setup.plan
        epsilon = epsilon_to_public(charges_of(plan), plan.privacy.delta)
        return {
            **numbers_of_table(name, found, seeds),
            f"lapse.epsilon.{name}": Measured(round(epsilon, 4), None, "epsilon at delta 1e-05", "all that is learned"),
        }


def numbers_of_table(name: str, found: LapseTable, seeds: int) -> dict[str, Measured]:
    """The published numbers of one lapse table whose rows `_ours(0..seeds - 1)` are ours."""
    table = {row.name: row for row in found.table}
    mine = [table[_ours(i)] for i in range(seeds)]
    aucs = [known(row.auc) for row in mine]
    best_rule = _best(table, _is_rule)
    benchmark = _best(
        table, lambda row: _is_rule(row) and (not row.name.startswith("EWMA") or row.name == BENCHMARK_EWMA)
    )
    best_fitted = _best(table, lambda row: row.name in FITTED)
    best_pooled = _best(table, lambda row: row.kind == POOLED)
    best_early = max((row for row in found.table if row.kind == POOLED), key=lambda row: known(row.early_auc))
    out = {
        f"lapse.auc.{name}": Measured.over(aucs, "AUC", _baseline(best_pooled)),
        f"lapse.early_auc.{name}": Measured.over(
            [known(row.early_auc) for row in mine], "AUC", f"{best_early.name}, AUC {best_early.early_auc:.4f}"
        ),
        f"lapse.above_best_rule.{name}": Measured.over(
            [auc - known(best_rule.auc) for auc in aucs], "AUC", _baseline(best_rule)
        ),
        f"lapse.above_best_rule_low.{name}": _lowest_ahead(best_rule, seeds),
        f"lapse.above_best_rule_high.{name}": _lowest_ahead(best_rule, seeds, upper=True),
        f"lapse.above_benchmark_rule.{name}": Measured.over(
            [auc - known(benchmark.auc) for auc in aucs], "AUC", _baseline(benchmark)
        ),
        f"lapse.above_benchmark_rule_low.{name}": _lowest_ahead(benchmark, seeds),
        f"lapse.above_bg_nbd.{name}": Measured.over(
            [auc - known(best_fitted.auc) for auc in aucs], "AUC", _baseline(best_fitted)
        ),
        f"lapse.below_best_pooled.{name}": Measured.over(
            [known(best_pooled.auc) - auc for auc in aucs], "AUC", _baseline(best_pooled)
        ),
        f"lapse.gap.{name}": _gap(table, "lapses", aucs),
        f"lapse.base_rate.{name}": Measured(round(known(found.base_rate), 4), None, "share"),
        **_people("lapse", name, found, mine),
    }
    for key, measure, unit in (
        ("phi.ece", "calibration_error", "share"),
        ("phi.brier_skill", "brier_skill", "share of the base rate's Brier score"),
        ("lapse.average_precision", "average_precision", "share"),
        ("lapse.top_precision", "top_precision", "share"),
        ("lapse.top_value_precision", "top_value_precision", "share"),
    ):
        out[f"{key}.{name}"] = Measured.over(
            [getattr(row, measure) for row in mine], unit, f"base rate {found.base_rate:.3f}"
        )
    warned = [row.alerts for row in mine if row.alerts]
    if len(warned) == seeds:
        for key, measure, unit in (
            ("lapse.median_lead", "median_lead_steps", "weeks"),
            ("lapse.alert_precision", "precision", "share"),
            ("lapse.alert_recall", "recall", "share"),
        ):
            out[f"{key}.{name}"] = Measured.over(
                [getattr(alerts, measure) for alerts in warned], unit, f"of {found.lapse_steps} weeks of silence"
            )
    for row in found.table:
        if row.kind != OURS:
            out[f"lapse.row.{name}.{_slug(row.name)}"] = Measured(round(known(row.auc), 4), None, "AUC", row.kind)
            early = round(known(row.early_auc), 4)
            out[f"lapse.early_row.{name}.{_slug(row.name)}"] = Measured(early, None, "AUC", row.kind)
    return out


def rise_numbers(name: str, overrides: Sequence[str] = (), seeds: int = SEEDS) -> dict[str, Measured]:
    """Take-offs: the head's chance or, without heads, the level of p, as the private training makes it, against every rule."""
    with learning(name, overrides) as of:
        scenario = of.warning_scenario
        setup = of.trials.setup(scenario)
        history = of.trials.history
        rows = judged_takeoffs(history, setup.protocol, setup.protocol.lapse_test_steps)
        extra = {_ours(i): score for i, score in enumerate(ours(of, scenario, "takeoff", rows, seeds))}
        found = takeoff_table(
            history,
            setup,
            extra=extra,
            references=[_ours(i) for i in range(seeds)],
            levels=pooled_levels(history, setup),
        )
    return numbers_of_rises(name, found, seeds)


def numbers_of_rises(name: str, found: TakeoffTable, seeds: int) -> dict[str, Measured]:
    """The published numbers of one table of take-offs whose rows `_ours(0..seeds - 1)` are ours."""
    table = {row.name: row for row in found.table}
    mine = [table[_ours(i)] for i in range(seeds)]
    aucs = [known(row.auc) for row in mine]
    best_rule, best_fitted, best_pooled = (
        _best(table, wanted) for wanted in (_is_rule, lambda row: row.name in FITTED, lambda row: row.kind == POOLED)
    )
    out = {
        f"rise.auc.{name}": Measured.over(aucs, "AUC", _baseline(best_rule)),
        f"rise.above_best_rule.{name}": Measured.over(
            [auc - known(best_rule.auc) for auc in aucs], "AUC", _baseline(best_rule)
        ),
        f"rise.above_best_rule_low.{name}": _lowest_ahead(best_rule, seeds),
        f"rise.above_best_rule_high.{name}": _lowest_ahead(best_rule, seeds, upper=True),
        f"rise.above_bg_nbd.{name}": Measured.over(
            [auc - known(best_fitted.auc) for auc in aucs], "AUC", _baseline(best_fitted)
        ),
        f"rise.below_best_pooled.{name}": Measured.over(
            [known(best_pooled.auc) - auc for auc in aucs], "AUC", _baseline(best_pooled)
        ),
        f"rise.gap.{name}": _gap(table, "take-offs", aucs),
        f"rise.base_rate.{name}": Measured(round(known(found.base_rate), 4), None, "share"),
        f"rise.top_precision.{name}": Measured.over([known(row.top_precision) for row in mine], "share"),
        **_people("rise", name, found, mine),
    }
    if errors := [row.calibration_error for row in mine if row.calibration_error is not None]:  # of what is a chance
        out[f"rise.ece.{name}"] = Measured.over(errors, "share", f"base rate {found.base_rate:.3f}")
    for row in found.table:
        if row.kind != OURS:
            out[f"rise.row.{name}.{_slug(row.name)}"] = Measured(round(known(row.auc), 4), None, "AUC", row.kind)
    return out


def _people(turn: str, name: str, found: LapseTable | TakeoffTable, mine: Sequence[TurnScores]) -> dict[str, Measured]:
    """Of how many users and rows a table is, and the 95 % interval over users of every row: of ours, mean ends over the seeds."""
    out = {
        f"{turn}.users.{name}": Measured(found.users, None, "users", f"{found.rows} rows"),
        f"{turn}.rows.{name}": Measured(found.rows, None, "rows", f"{found.users} users"),
    }
    for end in ("low", "high"):
        ends = [known(getattr(row, end)) for row in mine]
        out[f"{turn}.{end}.{name}"] = Measured.over(ends, "AUC", OVER_USERS)
        for row in found.table:
            if row.kind != OURS:
                value = round(known(getattr(row, end)), 4)
                out[f"{turn}.row_{end}.{name}.{_slug(row.name)}"] = Measured(value, None, "AUC", OVER_USERS)
    return out


def _ours(seed: int) -> str:
    return f"Ebbtide, at epsilon <= 1, seed {seed}"


def _best(table: Mapping[str, Row], wanted: Callable[[Row], bool]) -> Row:
    """The row of the highest AUC among those that are `wanted`."""
    return max((row for row in table.values() if wanted(row)), key=lambda row: known(row.auc))


def _is_rule(row: TurnScores) -> bool:
    """Whether a row is a simple rule that says something."""
    return row.kind == RULE and row.name not in (*FITTED, *CONSTANT)


def _gap(table: Mapping[str, Row], turns: str, ours: Sequence[float]) -> Measured:
    """How far the better of the models that are fitted again without users held out is ahead of ours (strangers.py)."""
    best = _best(table, lambda row: row.name in [f"{model}, trained on {turns}" for model in POOLED_ON_TURNS.values()])
    return Measured.over([known(best.auc) - auc for auc in ours], "AUC", _baseline(best))


def _lowest_ahead(row: TurnScores, seeds: int, *, upper: bool = False) -> Measured:
    """The lowest of our seeds' lower ends of (ours - row), or of their `upper` ends: below 0, the row is clearly ahead of one of ours.
    The row's own interval is of (row - ours), turned round."""
    ends = [row.ahead[_ours(i)].low if upper else row.ahead[_ours(i)].high for i in range(seeds)]
    which = "upper" if upper else "lower"
    return Measured(
        round(min(-known(end) for end in ends), 5),
        None,
        "AUC",
        f"lowest {which} end of {seeds} seeds, 95 % bootstrap over users",
    )


def _baseline(row: TurnScores) -> str:
    return f"{row.name}, AUC {row.auc:.4f}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
