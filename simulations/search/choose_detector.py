"""Which detector a scenario should run: chosen by a rule, from steps whose outcome is known before any test step.

The rule, fixed before it was run:

1. Events after the close of training (`train_at`) are cut away. Detectors are judged on the last 2 N of the steps whose
   outcome (a lapse of N steps, or not) is known by then; no earlier step than the features' window allows.
2. p and phi come from public weights: planted people of another seed, in the data's own steps and windows. They cost no
   epsilon and have seen no row of these users. Three such starts are scored, and everything below is over all three.
   They teach the rule of counters its chances, too.
3. Every detector runs as on a device (`client.detection.watch`), on the same p and phi and with the plan's quiet time and past to
   warm up on. The one number that sets how often it fires takes every value of `SETTINGS`, besides the plan's own.
4. A setting is within the budget if false falls per user are at most the plan's `false_alerts`, in proportion to the steps
   (any, without a budget). Rises are not counted: a lapse says nothing about them. The bucket that devices keep, which
   rises and true alerts take from too, is at work.
5. The detector with the highest F-score of falls within the budget is chosen: the harmonic mean of precision (falls that
   a lapse followed) and recall (whole lapses, begun and over within the steps, with an alert in time). A scenario's own
   detector gives way only to one that is clearly ahead under every start: the 95 % interval of the difference of F, over
   draws of users, lies above 0.

A lapse needs its user to stay away for N steps. A detector that finds another kind of turn, a lasting shift of a busy
stream, is not done justice by this; where planted truth is there, the same is told on planted falls. What was decided
with it, and where against it: docs/detectors.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from client.detection.risk_levels import Direction
from server.public.risk_start import RiskStart
from shared.arrays import Bools, Doubles, Floats, Ints, as_declared, hold_declared
from shared.errors import ConfigError
from shared.features import History
from shared.plan import Detection

from ..evaluation.ground_truth import Turns, delays, lapse_mask, planted_turns
from ..evaluation.quality import DRAWS, interval
from ..evaluation.replay import SETTINGS, alerts_of, can_run, scores_at, tried, with_setting
from ..federation.alert_table import Alerts
from ..people.labelled_rows import history_of, rows_of
from ..people.of_scenario import data_title
from ..people.population import Population
from ..people.public_start import public_history, public_lapse_rows
from ..people.rule_start import rule_lesson, rule_start
from ..people.setup import Setup
from ..people.teaching import pretrain, public_steps
from ..scenarios.config import ProtocolSection
from .trials import warmed

#: Sets of planted people to begin from.
STARTS: Final = 3


@dataclass(frozen=True)
class Outcome:
    """One detector at one setting, on the scores of R starts. `counts` (R, K, 4): each user's falls, true ones, whole
    lapses, those found in time. `waits` (n,): steps from the beginning of those found to their first fall."""

    detector: str
    setting: float
    counts: Doubles
    waits: Doubles

    def __post_init__(self) -> None:
        hold_declared(self)

    @classmethod
    def over(cls, starts: Sequence[Outcome]) -> Outcome:
        """Outcomes of the same detector and setting as one."""
        counts, waits = (np.concatenate([getattr(one, key) for one in starts]) for key in ("counts", "waits"))
        return cls(starts[0].detector, starts[0].setting, counts, waits)

    @property
    def total(self) -> Doubles:
        out: Doubles = self.counts.sum(axis=(0, 1))
        return out

    @property
    def precision(self) -> float | None:
        alerts, true, _, _ = self.total
        return float(true / alerts) if alerts else None

    @property
    def recall(self) -> float | None:
        _, _, lapses, found = self.total
        return float(found / lapses) if lapses else None

    @property
    def f_score(self) -> float:
        """0 where nothing was called, or nothing was right."""
        return float(f_scores(self.total))

    @property
    def false_per_user(self) -> float:
        return float((self.counts[..., 0] - self.counts[..., 1]).mean())

    def to_map(self, most: float, lapse_steps: int | None) -> dict[str, Any]:
        """Its numbers; the lead, how long before a lapse is a fact, for lapses only."""
        delay = float(np.median(self.waits)) if len(self.waits) else None
        return {
            "detector": self.detector,
            "key": SETTINGS[self.detector][0],
            "setting": self.setting,
            "precision": self.precision,
            "recall": self.recall,
            "f_score": self.f_score,
            "delay_steps": delay,
            "lead_steps": None if delay is None or lapse_steps is None else lapse_steps - delay,
            "false_per_user": self.false_per_user,
            "within_budget": self.false_per_user <= most,
        }


@as_declared
def ratios(counts: Doubles) -> dict[str, Doubles]:
    """Precision, recall and F-score of counts (..., 4); NaN where there is nothing to count them of."""
    alerts, true, lapses, found = np.moveaxis(counts, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"precision": true / alerts, "recall": found / lapses, "f_score": f_scores(counts)}


@as_declared
def f_scores(counts: Doubles) -> Doubles:
    """2 P R / (P + R) of counts (..., 4); 0 where it is not defined."""
    alerts, true, lapses, found = np.moveaxis(counts, -1, 0)
    precision, recall = true / np.maximum(alerts, 1), found / np.maximum(lapses, 1)
    out: Doubles = np.asarray(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    return out


def judged_steps(protocol: ProtocolSection) -> Ints:
    """The steps that a choice is made on (S,); ConfigError unless a whole lapse fits into them."""
    last = protocol.train_at - protocol.lapse_steps
    first = max(protocol.window_steps, last - 2 * protocol.lapse_steps + 1)
    if last - first + 1 < protocol.lapse_steps:
        raise ConfigError(
            f"expected {protocol.lapse_steps} steps after the first {protocol.window_steps} whose outcome is known by "
            f"step {protocol.train_at}, got {max(0, last - first + 1)}"
        )
    return np.arange(first, last + 1)


def public_weights(setup: Setup) -> tuple[Floats, Floats]:
    """theta (P,) and phi's weights (R,; empty if the plan learns none) of planted people alone."""
    plan, warm, people = setup.plan, setup.scenario.warm_start, public_history(setup)
    rows = rows_of(people, plan.features, plan.horizon_steps, public_steps(setup.protocol))
    theta = pretrain(plan.network, rows, warm)
    if plan.risk is None:
        return theta, np.empty(0, np.float32)
    start = RiskStart.learn(public_lapse_rows(people, setup, warm.seed), plan, theta)
    return theta, start.weights(start.coefficients)


@dataclass(frozen=True)
class FallTruth:
    """Where a fall is true (K, S, C), and the turns that recall is about."""

    true: Bools
    turns: Turns

    def __post_init__(self) -> None:
        hold_declared(self)

    @classmethod
    @as_declared
    def of_lapses(cls, history: History, protocol: ProtocolSection, min_active: int, steps: Ints) -> FallTruth:
        """Lapses of consecutive `steps` (S,); those for recall begin with an active step of theirs, and could be warned of
        until the end."""
        true = lapse_mask(history, steps, protocol, min_active)
        runs = Turns.of_runs(true, steps)
        whole = history.active[runs.user, runs.category, runs.first]
        whole &= runs.first + protocol.lapse_steps - 1 <= steps[-1]
        return cls(true, Turns(*(column[whole] for column in vars(runs).values())))

    @classmethod
    def of_planted(cls, population: Population, protocol: ProtocolSection) -> FallTruth:
        """Planted falls: the turns that begin in the judged steps; an alert on an earlier one that is in time is true too."""
        assert population.truth is not None
        steps = judged_steps(protocol)
        first, last = int(steps[0]), int(steps[-1])
        every = planted_turns(population.truth, Direction.FALL, (0, population.n_steps + last))
        true = np.zeros((population.n_users, len(steps), len(population.catalogue)), bool)
        for user, category, begin, end in zip(every.user, every.category, every.first, every.last, strict=True):
            true[user, max(begin - first, 0) : max(end - first + 1, 0), category] = True
        return cls(true, planted_turns(population.truth, Direction.FALL, (first, last)))


@as_declared
def outcome(detector: str, setting: float, falls: Bools, truth: FallTruth, steps: Ints) -> Outcome:
    """What came of falls (K, S, C) of consecutive `steps`."""
    user, position, category = np.nonzero(falls)
    alerts = Alerts(user, steps[position], np.full_like(user, Direction.FALL), category, np.zeros_like(user))
    waits = delays(alerts, truth.turns)
    found = np.isfinite(waits)
    n_users = len(falls)
    lapses = np.bincount(truth.turns.user, minlength=n_users)
    caught = np.bincount(truth.turns.user[found], minlength=n_users)
    counts = np.stack([falls.sum(axis=(1, 2)), (falls & truth.true).sum(axis=(1, 2)), lapses, caught], axis=-1)
    return Outcome(detector, setting, counts[None].astype(np.float64), waits[found])


def best_of(outcomes: Iterable[Outcome], most: float) -> Outcome:
    """The highest F-score at no more than `most` false falls per user; the fewest false falls if none keeps to that."""
    every = list(outcomes)
    kept = [one for one in every if one.false_per_user <= most]
    return (
        max(kept, key=lambda one: (one.f_score, -one.false_per_user))
        if kept
        else min(every, key=lambda one: one.false_per_user)
    )


def budget_of(settings: Detection, n_steps: int) -> float:
    """False alerts that the plan's budget leaves a user in `n_steps` steps; infinite if there is none."""
    if not settings.false_alerts:
        return math.inf
    return settings.false_alerts * n_steps / settings.budget_steps


def ahead_low(best: Outcome, other: Outcome, seed: int) -> float | None:
    """Lower end of the 95 % interval of F(best) - F(other) over draws of users, the least of all starts: above 0, `best`
    is clearly ahead."""
    times = _draws(best.counts.shape[1], seed)
    ends = [interval(ahead) for ahead in f_scores(times @ best.counts) - f_scores(times @ other.counts)]
    return min((low_high[0] for low_high in ends if low_high is not None), default=None)


def ends_of(one: Outcome, seed: int) -> dict[str, float | None]:
    """The ends of the 95 % intervals of precision, recall, F-score and false falls per user over the same draws of users, all starts
    together, as `<number>_low` and `<number>_high`."""
    counts = one.counts.sum(axis=0)
    times = _draws(len(counts), seed)
    false = times @ (counts[:, 0] - counts[:, 1]) / one.counts[..., 0].size
    found = {name: interval(drawn) for name, drawn in {**ratios(times @ counts), "false_per_user": false}.items()}
    return {
        f"{name}_{end}": value
        for name, ends in found.items()
        for end, value in zip(("low", "high"), ends or (None, None), strict=True)
    }


def _draws(n: int, seed: int) -> Doubles:
    """How often each draw takes each of n users: (DRAWS, n)."""
    random = np.random.Generator(np.random.Philox(seed))
    return np.stack([np.bincount(random.integers(0, n, n), minlength=n) for _ in range(DRAWS)]).astype(np.float64)


OnSetting = Callable[[str, int, int], None]


def choose(
    setup: Setup,
    population: Population,
    *,
    starts: int = STARTS,
    seed: int = 0,
    on_setting: OnSetting = lambda *_: None,
) -> dict[str, Any]:
    """The rule at work on a setup's people, JSON-able: what was judged, and a `verdict` on lapses; on planted data
    another one on planted falls (`planted`), which is for comparison and decides nothing."""
    scenario, protocol, plan = setup.scenario, setup.protocol, setup.plan
    history = history_of(population, plan.read_features).until(protocol.train_at)
    settings, steps = plan.detection, judged_steps(protocol)
    lapses = FallTruth.of_lapses(history, protocol, settings.min_active_steps, steps)
    planted = FallTruth.of_planted(population, protocol) if population.truth is not None else None
    detectors = [
        name for name in SETTINGS if can_run(settings, name, learned_phi=plan.risk is not None, taught_rule=True)
    ]
    jobs = [(name, value) for name in detectors for value in tried(settings, name)]
    found: dict[tuple[str, float], list[Outcome]] = {job: [] for job in jobs}
    on_planted: dict[tuple[str, float], list[Outcome]] = {job: [] for job in jobs}
    for start in range(starts):
        began = warmed(scenario, start)
        rule = rule_start(rule_lesson(began, protocol, setup.n_categories, plan))
        weights = public_weights(replace(setup, scenario=began))
        scores = scores_at(history, setup, *weights, steps, rule=rule)
        for i, (name, value) in enumerate(jobs):
            on_setting(name, start * len(jobs) + i, starts * len(jobs))
            falls = alerts_of(plan, with_setting(settings, name, value, falls_only=True), scores)[:, :, Direction.FALL]
            found[name, value].append(outcome(name, value, falls, lapses, steps))
            if planted is not None:
                on_planted[name, value].append(outcome(name, value, falls, planted, steps))
    on_setting("done", starts * len(jobs), starts * len(jobs))
    lapse_outcomes, planted_outcomes = ([Outcome.over(o) for o in of.values() if o] for of in (found, on_planted))
    most = budget_of(settings, len(steps))
    return {
        "scenario": scenario.name,
        "data": data_title(scenario),
        "step": population.step.value,
        "users": population.n_users,
        "steps": [int(steps[0]), int(steps[-1])],
        "lapse_steps": protocol.lapse_steps,
        "starts": starts,
        "watched": int(scores.watched.sum()),
        "base_rate": float(lapses.true[scores.watched].mean()) if scores.watched.any() else None,
        "budget": most if math.isfinite(most) else None,
        **verdict(lapse_outcomes, settings, most, seed, protocol.lapse_steps),
        "planted": verdict(planted_outcomes, settings, most, seed, None) if planted is not None else None,
    }


def verdict(
    found: Sequence[Outcome], settings: Detection, most: float, seed: int, lapse_steps: int | None
) -> dict[str, Any]:
    """What outcomes say: `chosen`; `rows`, a row for each detector at its best setting within `most` false falls per user,
    best first, with the ends of its intervals over users, `ahead_low` by how much the chosen one is surely ahead; `planned`, the
    plan's detector as it is set; and whether the chosen one is clearly ahead of the plan's detector at its best (`clear`)."""
    best = sorted(
        (best_of([one for one in found if one.detector == name], most) for name in {one.detector for one in found}),
        key=lambda one: (one.false_per_user > most, -one.f_score, one.detector),
    )
    rows = [
        {
            **one.to_map(most, lapse_steps),
            **ends_of(one, seed),
            "ahead_low": None if one is best[0] else ahead_low(best[0], one, seed),
        }
        for one in best
    ]
    value = float(getattr(settings, SETTINGS[settings.detector][0]))
    planned = next((one for one in found if (one.detector, one.setting) == (settings.detector, value)), None)
    low = next((row["ahead_low"] for row in rows if row["detector"] == settings.detector), None)
    return {
        "turns": int(best[0].counts[0, :, 2].sum()),
        "chosen": best[0].detector,
        "clear": low is not None and low > 0,
        "rows": rows,
        "planned": planned.to_map(most, lapse_steps) if planned else None,
        "every": [one.to_map(most, lapse_steps) for one in found],
    }
