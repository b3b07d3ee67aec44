"""How fast a real shift of interest is seen on simulated daily streams, at a rate of false alerts that is the same for all.

Ours runs as shipped: `client.detection.watch` with the plan's budget, start thresholds from the table, adapting, bucket and quiet
time, users with several streams of which one changes. Every other rule is calibrated on streams without change, of mixed
kinds, to the target rate, and measured on other seeds. A shift counts as seen if an alert comes within `WITHIN_STEPS`
steps; delays are medians over all changed streams, a miss is never. The rate of false alerts is per stream and step,
from step `FIRST_STEP` on.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from client.detection.alert_budget import Budget
from client.detection.chances import Chances
from client.detection.watch import Watch
from shared.arrays import Bools, Doubles, Floats, as_declared, hold_declared
from shared.events import Catalogue
from shared.plan import Plan

from ..people.setup import Crowd, Setup
from ..scenarios.config import load_scenario
from .baseline_rules import RULES
from .generate import Change, Kind, simulated
from .thresholds import false_alarms, overruns

OnProgress = Callable[[str, int, int], None]

TARGET_RATE = 1 / 2000
WITHIN_STEPS, CHANGE_STEP, FIRST_STEP, CALM_STEPS = 31, 150, 60, 364
N_STREAMS, FALSE_ALERTS, BUDGET_STEPS = 15, 3, 182
CHUNK_USERS = 500
#: First of a seed, by what it is for; thresholds.py has 1.
CALIBRATION, CHANGED, CALM, CURVE = 2, 3, 4, 5
CURVE_RATES = tuple(1 / n for n in (250, 500, 1000, 2000, 4000))
CURVE_BUDGETS = (13, 8, 5, 3, 2, 1)
CHANGES = (Change.DROP, Change.RISE, Change.GRADUAL, Change.SMALL)


@dataclass(frozen=True)
class Seen:
    """What came of changed streams: the steps from change to alert (N,), 1 at the change itself, infinite for a miss."""

    delays: Doubles

    def __post_init__(self) -> None:
        hold_declared(self)

    @property
    def recall(self) -> float:
        return float(np.isfinite(self.delays).mean())

    @property
    def median_delay(self) -> float | None:
        middle = float(np.median(self.delays))
        return middle if np.isfinite(middle) else None

    @classmethod
    @as_declared
    def of(cls, alarms: Bools) -> Seen:
        """From alarms (T, N) on streams that change at `CHANGE_STEP`."""
        after = alarms[CHANGE_STEP : CHANGE_STEP + WITHIN_STEPS]
        return cls(np.where(after.any(axis=0), after.argmax(axis=0) + 1.0, np.inf))

    @classmethod
    def all_of(cls, parts: list[Seen]) -> Seen:
        return cls(np.concatenate([part.delays for part in parts]))

    def to_map(self) -> dict[str, Any]:
        return {"recall": round(self.recall, 4), "median_delay": self.median_delay, "streams": len(self.delays)}


def shipped_plan(n_streams: int, false_alerts: int) -> Plan:
    """The plan of daily users with `n_streams` categories and the CUSUM under a budget of half a year."""
    chosen = ["detection.detector=cusum", "detection.season_steps=7", "detection.quiet_steps=14"]
    scenario = load_scenario(
        "demo",
        [
            *chosen,
            f"detection.false_alerts={false_alerts}",
            f"detection.budget_steps={BUDGET_STEPS}",
            "detection.takeoff_line=0",
        ],
    )
    catalogue = Catalogue(tuple(f"category {i}" for i in range(n_streams)))
    return Setup.of(scenario, Crowd(300, catalogue)).plan


@as_declared
def shipped_alerts(plan: Plan, p: Floats) -> Bools:
    """Alerts (T, U, 2, C) of users whose streams are p (T, U, C), by the code that devices run; all established."""
    _, n_users, n_streams = p.shape
    watch = Watch.start(plan, np.empty((n_users, 0, n_streams), np.float32), -1)
    everybody = np.ones((n_users, n_streams), bool)
    chances = map(Chances.of_p, p)
    return np.stack([watch.judge(plan.detection, step, now, everybody) for step, now in enumerate(chances)])


def measure(
    n_streams: int = 3000, n_river_streams: int = 1000, seed: int = 0, on_progress: OnProgress = lambda *_: None
) -> dict[str, Any]:
    """The whole comparison: `n_streams` changed streams of each kind for ours and the rates, `n_river_streams` for
    river's detectors; 0: ours alone. The same seed gives the same numbers."""
    rows = [_ours(n_streams, seed, on_progress), *_limits()]
    for i, rule in enumerate(RULES if n_river_streams else ()):
        n = n_river_streams if rule.per_stream else n_streams
        on_progress(rule.name, 0, 1)
        calibration = simulated(None, Change.NONE, n, 1, FIRST_STEP + CALM_STEPS, (CALIBRATION,))[:, :, 0]
        setting = rule.calibrated(calibration, FIRST_STEP, TARGET_RATE)
        fired = [
            (kind, change, Seen.of(rule.alarms(p[:, :, 0], setting)))
            for kind, change, p in _changed(n, 1, (seed, i + 1))
        ]
        calm = simulated(None, Change.NONE, n, 1, FIRST_STEP + CALM_STEPS, (CALM, seed, i + 1))[:, :, 0]
        rows.append(_row(rule.name, float(rule.alarms(calm, setting)[FIRST_STEP:].mean()), fired, setting=setting))
        on_progress(rule.name, 1, 1)
    return {
        "simulated": True,
        "seed": seed,
        "within_steps": WITHIN_STEPS,
        "steps_per_false_alert": round(1 / TARGET_RATE),
        "streams_per_kind": n_streams,
        "streams_per_kind_of_river": n_river_streams,
        "rows": rows,
    }


def _changed(n_users: int, n_streams: int, seed: tuple[int, ...]) -> Iterator[tuple[Kind, Change, Floats]]:
    """Users whose first stream changes, for every kind and change, some users at a time."""
    n_steps = CHANGE_STEP + WITHIN_STEPS
    for i, kind in enumerate(Kind):
        for j, change in enumerate(CHANGES):
            for first in range(0, n_users, CHUNK_USERS):
                n = min(CHUNK_USERS, n_users - first)
                yield (
                    kind,
                    change,
                    simulated(kind, change, n, n_streams, n_steps, (CHANGED, *seed, i, j, first), CHANGE_STEP),
                )


def _ours(n_users: int, seed: int, on_progress: OnProgress) -> dict[str, Any]:
    plan, budget = shipped_plan(N_STREAMS, FALSE_ALERTS), Budget(FALSE_ALERTS, BUDGET_STEPS, N_STREAMS)
    name = "CUSUM as shipped (ours)"
    n_parts = len(Kind) * len(CHANGES) * -(-n_users // CHUNK_USERS)
    fired: list[tuple[Kind, Change, Seen]] = []
    right: list[bool] = []
    for i, (kind, change, p) in enumerate(_changed(n_users, N_STREAMS, (seed,))):
        on_progress(name, i, n_parts)
        alerts = shipped_alerts(plan, p)[:, :, :, 0]
        seen = Seen.of(alerts[:, :, 0] | alerts[:, :, 1])
        fired.append((kind, change, seen))
        if change in (Change.DROP, Change.RISE):
            hit = np.flatnonzero(np.isfinite(seen.delays))
            at = CHANGE_STEP + seen.delays[hit].astype(np.int64) - 1
            right += alerts[at, hit, int(change is Change.RISE)].tolist()
    calm = calm_users(plan, budget, n_users, (seed,))
    on_progress(name, n_parts, n_parts)
    row = _row(name, calm.pop("false_alert_rate"), fired, setting=budget.start_threshold)
    users = {"streams_per_user": N_STREAMS, "false_alerts": FALSE_ALERTS, "budget_steps": BUDGET_STEPS}
    return {**row, **calm, "right_way": round(statistics.fmean(right), 4), **users}


def calm_users(plan: Plan, budget: Budget, n_users: int, seed: tuple[int, ...]) -> dict[str, float]:
    """What users of mixed streams without change see: false alerts per stream and step, and per user in the budget's
    time; the share of users with more than the budget in it, without the bucket and with it."""
    alarms, shown = 0, 0
    over, over_shown = [], []
    warm, steps, most = plan.detection.warm_steps, budget.steps, budget.false_alerts
    n_calm = 0
    for first in range(0, n_users, CHUNK_USERS):
        n = min(CHUNK_USERS, n_users - first)
        p = simulated(None, Change.NONE, n, budget.n_streams, FIRST_STEP + CALM_STEPS, (CALM, *seed, first))
        raw, _ = false_alarms(p, budget.own)
        alerts = shipped_alerts(plan, p).sum(axis=(2, 3))
        alarms, shown = alarms + int(raw[FIRST_STEP:].sum()), shown + int(alerts[FIRST_STEP:].sum())
        n_calm += CALM_STEPS * n * budget.n_streams
        over.append(overruns(raw, warm, steps, most) * n)
        windows = np.lib.stride_tricks.sliding_window_view(alerts, steps, axis=0).sum(axis=-1)
        over_shown.append(float((windows > most).any(axis=0).sum()))
    return {
        "false_alert_rate": alarms / n_calm,
        "false_alerts_shown_per_user": round(shown / n_calm * budget.n_streams * steps, 4),
        "false_alerts_per_user": round(alarms / n_calm * budget.n_streams * steps, 4),
        "users_over_budget": round(sum(over) / n_users, 5),
        "users_over_budget_with_bucket": sum(over_shown) / n_users,
    }


def _row(name: str, rate: float, fired: list[tuple[Kind, Change, Seen]], **more: Any) -> dict[str, Any]:
    """One row of the table: each change over all kinds, and drops by kind."""

    def of(kind: Kind | None, change: Change) -> dict[str, Any]:
        return Seen.all_of([s for k, c, s in fired if c is change and kind in (None, k)]).to_map()

    changes = {str(change): of(None, change) for change in CHANGES}
    kinds = {str(kind): of(kind, Change.DROP) for kind in Kind}
    per_2000 = round(rate / TARGET_RATE, 4)
    return {"name": name, "false_alerts_per_2000_steps": per_2000, "changes": changes, "drops": kinds, **more}


def _limits() -> list[dict[str, Any]]:
    """Always and never, as every table has them."""
    always, never = Seen(np.ones(1)), Seen(np.full(1, np.inf))
    fired = [[(kind, change, seen) for kind in Kind for change in CHANGES] for seen in (always, never)]
    return [_row("always", 1.0, fired[0]), _row("never", 0.0, fired[1])]


def curves(
    n_users: int, n_river_streams: int, seed: int = 0, on_progress: OnProgress = lambda *_: None
) -> dict[str, Any]:
    """Delay of drops against the rate of false alerts, measured: ours at several budgets, river's at several settings."""
    out: dict[str, list[dict[str, Any]]] = {}
    n_steps, name = CHANGE_STEP + WITHIN_STEPS, "curve of ours"
    for i, most in enumerate(CURVE_BUDGETS):
        on_progress(name, i, len(CURVE_BUDGETS))
        plan = shipped_plan(N_STREAMS, most)
        budget = Budget(most, BUDGET_STEPS, N_STREAMS)
        calm = calm_users(plan, budget, min(n_users, CHUNK_USERS), (seed, i))
        p = simulated(None, Change.DROP, min(n_users, CHUNK_USERS), N_STREAMS, n_steps, (CURVE, seed, i), CHANGE_STEP)
        alerts = shipped_alerts(plan, p)[:, :, :, 0]
        seen = Seen.of(alerts[:, :, 0] | alerts[:, :, 1])
        out.setdefault("CUSUM as shipped (ours)", []).append(_point(calm["false_alert_rate"], seen))
    on_progress(name, len(CURVE_BUDGETS), len(CURVE_BUDGETS))
    calibration = simulated(None, Change.NONE, n_river_streams, 1, FIRST_STEP + CALM_STEPS, (CALIBRATION,))[:, :, 0]
    calm_p = simulated(None, Change.NONE, n_river_streams, 1, FIRST_STEP + CALM_STEPS, (CALM, seed, 0, 0))[:, :, 0]
    p = simulated(None, Change.DROP, n_river_streams, 1, n_steps, (CURVE, seed, 0, 0), CHANGE_STEP)
    for rule in RULES:
        if rule.per_stream:
            for i, rate in enumerate(CURVE_RATES):
                on_progress(f"curve of {rule.name}", i, len(CURVE_RATES))
                setting = rule.calibrated(calibration, FIRST_STEP, rate)
                measured = float(rule.alarms(calm_p, setting)[FIRST_STEP:].mean())
                out.setdefault(rule.name, []).append(_point(measured, Seen.of(rule.alarms(p[:, :, 0], setting))))
            on_progress(f"curve of {rule.name}", len(CURVE_RATES), len(CURVE_RATES))
    return out


def _point(rate: float, seen: Seen) -> dict[str, Any]:
    return {"false_alert_rate": rate, **seen.to_map()}
