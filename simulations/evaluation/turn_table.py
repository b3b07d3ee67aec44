"""The tables of early warning: every rule, every detector and every pooled model with ours, on the same rows.

Pooled models see everybody's rows in one place. They come twice: p of a return within the horizon, whose low level warns
of a lapse, and trained on the turns of the lapse train steps themselves. BG/NBD is fitted on steps up to the last lapse
train step: its p_alive on streams that are busy enough to be monitored (that is better than all of them on the lapse
train steps of both real data sets), its chance of silence on all streams of each category (likewise).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from shared.arrays import Doubles, Floats, as_declared, hold_declared
from shared.features import History, established

from ..baselines import counter_rules as rules
from ..baselines import interest_models as baselines
from ..baselines.bgnbd import BgNbd, fit_categories, fit_history
from ..baselines.interest_models import ALONE, BOOSTED, BY_ITSELF, FOREST, POOLED, POOLED_DNN, POOLED_LR, RULE
from ..people.labelled_rows import Rows, filled, rows_of
from ..people.setup import Setup
from ..scenarios.config import ProtocolSection
from .quality import auc
from .replay import change_rate
from .result_tables import LapseScores, LapseTable, TakeoffTable
from .turn_rows import (
    MIN_ACTIVE,
    Silences,
    TurnRows,
    TurnScore,
    judged_lapses,
    judged_takeoffs,
    score_table,
)

#: Windows of the change rate, in steps.
CHANGE_STEPS: Final = (1, 2, 4, 7, 8)
EWMA_SPAN: Final = 8
#: Pooled models that also learn the turns themselves.
DIRECT: Final = (POOLED_LR, POOLED_DNN, BOOSTED, FOREST)

NEVER: Final = "never"
ALWAYS: Final = "always"
P_ALIVE: Final = "BG/NBD: 1 - p_alive"
P_SILENT: Final = "BG/NBD: P(nothing in N steps)"


@dataclass(frozen=True)
class Levels:
    """p of every pooled model (K, S, C) at consecutive steps from `first_step`, NaN before a first active step."""

    p: dict[str, Floats]
    first_step: int

    def __post_init__(self) -> None:
        hold_declared(self)


def pooled_levels(
    history: History,
    setup: Setup,
    seed: int = 0,
    *,
    every_model: bool = True,
    fitted: Mapping[str, baselines.Predict] | None = None,
    cells: Rows | None = None,
) -> Levels:
    """P(return within the horizon) by every pooled model fitted on the train steps (unless `every_model`, GAP_BASELINES), from as
    many steps before the first alert step as the widest change rate needs to the last lapse test step.
    `fitted`: these models, where they have been fitted already; `cells`: the rows of these steps (`level_steps`), likewise."""
    protocol, plan = setup.protocol, setup.plan
    first, last = level_steps(protocol)
    if fitted is None:
        train = rows_of(history, plan.features, plan.horizon_steps, protocol.train_steps)
        fitted = baselines.fitted_models(train, plan, seed, every=every_model)
    if cells is None:
        cells = rows_of(history, plan.features, plan.horizon_steps, (first, last))
    out = {}
    for name, predict in fitted.items():
        cube = np.full((history.active.shape[0], last - first + 1, history.n_categories), np.nan, np.float32)
        cube[cells.user, cells.step - first, cells.category] = predict(cells)
        out[name] = cube
    return Levels(out, first)


def level_steps(protocol: ProtocolSection) -> tuple[int, int]:
    """The first and the last step at which tables of turns ask for p."""
    return max(protocol.lapse_test_steps[0] - max(CHANGE_STEPS), 0), protocol.lapse_test_steps[1]


@dataclass(frozen=True)
class Taught:
    """Turns that pooled models learn themselves: rows to learn from, and the rows that are judged."""

    train: Rows
    judged: Rows


def lapse_scores(
    history: History,
    setup: Setup,
    rows: TurnRows,
    levels: Levels | None,
    seed: int = 0,
    models: Sequence[BgNbd | None] | None = None,
    taught: Taught | None = None,
) -> dict[str, TurnScore]:
    """What every rule and, with `levels`, every pooled model says on the lapse rows of the lapse test steps. `models`, `taught`: what
    is needed besides, where that is there already."""
    protocol = setup.protocol
    known = history.until(protocol.lapse_test_steps[1])
    rule = _Rules(known, protocol, rows)
    fitted_at = protocol.lapse_train_steps[1]
    busy = established(
        known,
        [fitted_at],
        window_steps=protocol.window_steps,
        min_active=MIN_ACTIVE,
        lapse_steps=known.n_steps,
    )[..., 0, :]
    alive = fit_history(known, fitted_at, busy)
    out = {
        **rule.constants(),
        "recency": rule.of(rules.silence),
        "recency against own interval": rule.of(rules.silence_per_interval),
        **{name: rule.of(rules.ewma, span=span) for name, span in _ewma_spans(protocol).items()},
        P_ALIVE: rule.of(rules.gone, model=alive),
        P_SILENT: TurnScore(silent_by_category(known, protocol, rows, models), RULE, True),
        "CUSUM on activity (Bernoulli)": rule.of(rules.cusum),
        "Page-Hinkley on activity (river)": rule.of(rules.page_hinkley, pairs=rule.pairs),
        "ADWIN on activity (river), mean of its window": rule.of(rules.adwin, pairs=rule.pairs),
    }
    if levels is not None:
        out.update(_pooled(history, setup, rows, levels, taught, seed, rising=False))
    return out


def takeoff_scores(
    history: History,
    setup: Setup,
    rows: TurnRows,
    levels: Levels | None,
    seed: int = 0,
    models: Sequence[BgNbd | None] | None = None,
    taught: Taught | None = None,
) -> dict[str, TurnScore]:
    """What every rule, read the other way round, and with `levels` every pooled model says on the take-off rows of the
    lapse test steps."""
    protocol = setup.protocol
    known = history.until(protocol.lapse_test_steps[1])
    rule = _Rules(known, protocol, rows)
    out = {
        **rule.constants(),
        "recency": rule.against(rules.silence),
        "recency against own interval": rule.against(rules.silence_per_interval),
        **{name: rule.against(rules.ewma, span=span) for name, span in _ewma_spans(protocol).items()},
        level_and_rate_of(protocol): rule.of(rules.level_and_rate, span=2 * protocol.window_steps),
        "EWMA of activity, 2 above 8 steps": rule.of(rules.ewma_rise, spans=(2, EWMA_SPAN)),
        P_SILENT: TurnScore(-silent_by_category(known, protocol, rows, models), RULE),
        "CUSUM on activity (Bernoulli)": rule.of(rules.cusum, rising=True),
        "Page-Hinkley on activity (river)": rule.of(rules.page_hinkley, pairs=rule.pairs, rising=True),
        "ADWIN on activity (river), mean of its window": rule.against(rules.adwin, pairs=rule.pairs),
    }
    if levels is not None:
        out.update(_pooled(history, setup, rows, levels, taught, seed, rising=True))
    return out


def lapse_table(
    history: History,
    setup: Setup,
    *,
    extra: Mapping[str, TurnScore] | None = None,
    references: Sequence[str] = (),
    levels: Levels | None = None,
    seed: int = 0,
    models: Sequence[BgNbd | None] | None = None,
    others: Mapping[str, TurnScore] | None = None,
) -> LapseTable:
    """The table of lapses: every score on all monitored rows of the lapse test steps, with its alerts and its AUC on the
    rows before any silence (see `turn_rows.score_table`); no tenths of phi.

    `extra`: further scores on `judged_lapses(history, protocol, protocol.lapse_test_steps)`, ours. `references`: the rows
    that every other one is compared with; without any, P_SILENT. Without `levels` pooled models are left out. `models`: BG/NBD's of
    each category, where these are fitted already. `others`: what `lapse_scores` says of these rows, where that is known already.
    """
    protocol = setup.protocol
    rows = judged_lapses(history, protocol, protocol.lapse_test_steps)
    others = lapse_scores(history, setup, rows, levels, seed, models) if others is None else others
    scores = {**(extra or {}), **others}
    silences = Silences(rows, protocol.lapse_steps)
    table = [
        LapseScores(
            **vars(row),
            alerts=silences.warned(scores[row.name].value),
            early_auc=auc(rows.y[rows.early], scores[row.name].value[rows.early]),
        )
        for row in score_table(rows, scores, tuple(references) or (P_SILENT,), seed)
    ]
    return LapseTable(**_about(rows, protocol), table=table, calibration=None)


def takeoff_table(
    history: History,
    setup: Setup,
    *,
    extra: Mapping[str, TurnScore] | None = None,
    references: Sequence[str] = (),
    levels: Levels | None = None,
    seed: int = 0,
    models: Sequence[BgNbd | None] | None = None,
    others: Mapping[str, TurnScore] | None = None,
) -> TakeoffTable:
    """The table of take-offs, as `lapse_table`; `extra` on `judged_takeoffs` of the lapse test steps."""
    protocol = setup.protocol
    rows = judged_takeoffs(history, protocol, protocol.lapse_test_steps)
    others = takeoff_scores(history, setup, rows, levels, seed, models) if others is None else others
    scores = {**(extra or {}), **others}
    table = score_table(rows, scores, tuple(references) or (P_SILENT,), seed)
    return TakeoffTable(**_about(rows, protocol), table=table)


def silent_by_category(
    history: History, protocol: ProtocolSection, rows: TurnRows, models: Sequence[BgNbd | None] | None = None
) -> Doubles:
    """P(nothing in the next `lapse_steps`) (n,) of a BG/NBD per category, fitted up to the last lapse train step (`models`: these, where
    they have been fitted already); 0 in a category of which nothing was known then."""
    if models is None:
        models = fit_categories(history, protocol.lapse_train_steps[1])
    out = np.zeros(len(rows))
    steps = np.arange(protocol.lapse_test_steps[0], protocol.lapse_test_steps[1] + 1)
    for category, model in enumerate(models):
        mine = rows.category == category
        if model is None or not mine.any():
            continue
        cube = rules.silent_ahead(history[:, category : category + 1], steps, model, protocol.lapse_steps)
        out[mine] = cube[rows.user[mine], rows.step[mine] - steps[0], 0]
    return out


class _Rules:
    """Rules of counters on the same rows."""

    def __init__(self, history: History, protocol: ProtocolSection, rows: TurnRows) -> None:
        self._history, self._rows = history, rows
        self._steps = np.arange(protocol.lapse_test_steps[0], protocol.lapse_test_steps[1] + 1)
        self.pairs = np.zeros(history.active.shape[:-1], bool)
        self.pairs[rows.user, rows.category] = True

    def constants(self) -> dict[str, TurnScore]:
        return {name: TurnScore(np.full(len(self._rows), p), RULE, True) for name, p in ((NEVER, 0.0), (ALWAYS, 1.0))}

    def of(self, rule: Callable[..., Doubles], **settings: Any) -> TurnScore:
        cube = rule(self._history, self._steps, **settings)
        return TurnScore(self._rows.of(cube, int(self._steps[0])), RULE)

    def against(self, rule: Callable[..., Doubles], **settings: Any) -> TurnScore:
        """The rule read the other way round."""
        return TurnScore(-self.of(rule, **settings).value, RULE)


def level_and_rate_of(protocol: ProtocolSection) -> str:
    """The name of the rule that take-offs' heads start from; that of lapses, the log of the same average alone, ranks as the average."""
    return f"log of EWMA, {2 * protocol.window_steps} steps, and half the user's log rate"


def _ewma_spans(protocol: ProtocolSection) -> dict[str, int]:
    spans = (EWMA_SPAN, protocol.window_steps, 2 * protocol.window_steps)
    return {f"EWMA of activity, {span} steps": span for span in sorted(set(spans))}


def _pooled(
    history: History,
    setup: Setup,
    rows: TurnRows,
    levels: Levels,
    taught: Taught | None,
    seed: int,
    *,
    rising: bool,
) -> dict[str, TurnScore]:
    """Levels of p, change rates of the pooled network's p, and models that learned the turns themselves."""
    sign, features = 1 if rising else -1, setup.plan.read_features
    out = {
        f"level of p, {name}": TurnScore(
            sign * rows.of(cube, levels.first_step), ALONE if name == BY_ITSELF else POOLED
        )
        for name, cube in levels.p.items()
    }
    out.update(change_rates(levels.p[POOLED_DNN], levels.first_step, rows, POOLED_DNN, rising=rising))
    if taught is None:
        turns = (judged_takeoffs if rising else judged_lapses)(
            history, setup.protocol, setup.protocol.lapse_train_steps
        )
        taught = Taught(*filled(history, features, [turns, rows]))
    every = set(DIRECT) <= set(levels.p)
    unused = set(baselines.KINDS) - set(DIRECT)
    learned = baselines.fitted_models(taught.train, setup.plan, seed, every=every, without=unused)
    turn = "take-offs" if rising else "lapses"
    for name in (name for name in DIRECT if name in learned):
        out[f"{name}, trained on {turn}"] = TurnScore(learned[name](taught.judged).astype(np.float64), POOLED, True)
    return out


@as_declared
def change_rates(p: Floats, first_step: int, rows: TurnRows, whose: str, *, rising: bool) -> dict[str, TurnScore]:
    """The article's rule over windows of CHANGE_STEPS, on `whose` p (K, S, C) of consecutive steps from `first_step`."""
    sign = 1 if rising else -1
    rates = {width: sign * np.nan_to_num(change_rate(p, width)) for width in CHANGE_STEPS}  # no rate, no alarm
    return {f"change rate of p, w = {w}, {whose}": TurnScore(rows.of(r, first_step), RULE) for w, r in rates.items()}


def _about(rows: TurnRows, protocol: ProtocolSection) -> dict[str, Any]:
    """What `TurnTable` says of the rows."""
    return {
        "steps": protocol.lapse_test_steps,
        "train_steps": protocol.lapse_train_steps,
        "lapse_steps": protocol.lapse_steps,
        "rows": len(rows),
        "users": int(np.unique(rows.user).size),
        "base_rate": float(rows.y.mean()) if len(rows) else None,
        "valued_base_rate": float(rows.y[rows.valued].mean()) if rows.valued.any() else None,
        "early_rows": int(rows.early.sum()),
        "early_base_rate": float(rows.y[rows.early].mean()) if rows.early.any() else None,
    }
