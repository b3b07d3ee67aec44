"""Planted shops put to the test: is what `ebbtide decide` expects what comes, and is the verdict that of the shop's own laws?

A shop is trained in process, with real noise; the level of p is what warns. **Steady** shops are small and buy much privacy: p, of
a short horizon, begins at random, and what some thousand people teach behind that noise is little; the rules know the law that these people
live by. **Fading** shops are larger, begin with planted people at a weak epsilon, and p's horizon is that of a lapse. Both have 60
weeks of history before training ends: features that count since the first purchase have seen most of what they will see.

Numbers here and of `draw_shop` were tried out on shops of seeds 900 to 913; the published figures are of other seeds. A first forty
had four in seven as many people, and half the crowd: 35 verdicts were right, none wrong, and five could not tell. Since then there
are more people, and other shops.

The truth about a shop is looked at where no verdict looks: a crowd of other people from the same shop, several times as large, whom
the trained model and every rule warn equally often. Whoever is right more often there, by more than three standard errors over
people, is what should be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import numpy as np
from scipy.stats import poisson

from client.detection.risk_levels import Direction
from shared.features import History

from ..decision.choice import PEOPLE as SHOP_PEOPLE
from ..decision.choice import RULES, Decision, Judged, Wish, decide_on, setting
from ..decision.expectation import COUNTS, INTERVAL
from ..evaluation.alert_quality import alert_steps, lived_steps, turns_of
from ..evaluation.answer import counted, rule_contacts, verdict_of
from ..evaluation.replay import alerts_of, scores_at
from ..evaluation.verdict import Comparison, Counted
from ..federation.alert_table import Alerts
from ..people.labelled_rows import history_of
from ..people.planted_shops import ShopKind, draw_shop, plant_shop
from ..people.population import Population
from ..people.setup import Setup
from ..scenarios.config import ProtocolSection, Scenario
from .trials import Trained, Trials

Truth = Literal["learning", "rule", "neither"]

WEEKS: Final = 112
PEOPLE: Final[dict[ShopKind, int]] = {"steady": 2800, "fading": 3500}
#: A week and 1,000 people: what a rule finds nearly all with, and few enough that the surest are chosen.
CONTACTS_A_WEEK: Final[dict[ShopKind, float]] = {"steady": 25.0, "fading": 8.0}
TRAININGS: Final = 1
#: People of the crowd that tells the truth, and of how many of them features are in memory together.
CROWD: Final = 10_000
CROWD_AT_ONCE: Final = 5_000
#: Distance from nothing, in standard errors, that decides the truth.
DECISIVE: Final = 3.0

#: Steps of p's horizon. A lapse takes eight.
HORIZON: Final[dict[ShopKind, int]] = {"steady": 4, "fading": 8}


def protocol_of(kind: ShopKind) -> ProtocolSection:
    """The weeks of a shop: what trains, and what warnings are judged on."""
    train = (30, 60)
    tested = (train[1] + HORIZON[kind] + 5, WEEKS - 9)
    return ProtocolSection(
        window_steps=12,
        horizon_steps=HORIZON[kind],
        lapse_steps=8,
        train_steps=train,
        test_steps=tested,
        alert_steps=tested,
        lapse_train_steps=train,
        n_steps=WEEKS,
    )


def scenario_of(kind: ShopKind) -> Scenario:
    """How a shop of a kind is trained."""
    steady = kind == "steady"
    return Scenario.model_validate(
        {
            "name": f"planted-{kind}-shop",
            "data": {"name": "file", "users": PEOPLE[kind], "file": {"step": "week"}},
            "protocol": protocol_of(kind).model_dump(),
            "warm_start": {"users": 0 if steady else 1000},
            "training": {"learning_rate": 1.0, "local_steps": 1 if steady else 2},
            "server": {"learning_rate": 1.667, "momentum": 0.0 if steady else 0.7},
            "privacy": {
                "clip_norm": 1.0 if steady else 0.6,
                "noise_multiplier": 120.0 if steady else 2.5,
                "rounds": 12 if steady else 60,
                "max_epsilon": 60.0,
            },
            "detection": {"detector": "level", "false_alerts": 4, "budget_steps": 13},
            "simulation": {"fidelity": "hosts"},
        }
    )


@dataclass(frozen=True)
class ShopTrial:
    """What came of one shop: its kind, what was expected and happened, the verdict, and the truth with the distance behind it
    (right ones of a warning, ours minus the best rule's, and its standard error)."""

    kind: ShopKind
    seed: int
    decision: Decision
    comparison: Comparison
    truth: Truth
    ahead: float
    error: float

    @property
    def held(self) -> dict[str, bool]:
        """Which counts came within their own interval."""
        ours = self.decision.ours
        return {name: ours.of(name).holds(ours.happened[name]) for name in COUNTS}

    @property
    def plainly_held(self) -> dict[str, bool]:
        """Which counts came within 90 % of a Poisson law around what was expected: without a doubt about people, weeks or drift."""
        ours, later = self.decision.ours, self.decision.later
        steps = {name: later.n_judged for name in COUNTS}
        steps["missed"] -= protocol_of(self.kind).lapse_steps - 1
        out = {}
        for name in COUNTS:
            counts = self.decision.people / SHOP_PEOPLE * steps[name]
            low, high = poisson.interval(INTERVAL, max(ours.of(name).value * counts, 1e-9))
            out[name] = bool(low <= round(ours.happened[name] * counts) <= high)
        return out

    @property
    def verdict(self) -> Truth:
        """What the verdict says is better."""
        said: dict[str, Truth] = {"use_it": "learning", "use_rule": "rule"}
        return said.get(self.comparison.verdict, "neither")

    @property
    def built(self) -> Truth:
        """What the shop was built to be."""
        return "rule" if self.kind == "steady" else "learning"


def try_shop(kind: ShopKind, seed: int, *, trainings: int = TRAININGS, crowd: int = CROWD) -> ShopTrial:
    """One shop from its people to the truth about it. Noise comes from OS entropy, and differs from one call to the next."""
    shop = draw_shop(kind, seed)
    population = plant_shop(shop, PEOPLE[kind], WEEKS, seed=2 * seed)
    with TemporaryDirectory() as folder:
        trials = Trials(population, Path(folder))
        setup, history = trials.setup(scenario_of(kind)), trials.history
        models = [trials.train(setup) for _ in range(trainings)]
    wish, tuned, falls = Wish(contacts_per_week=CONTACTS_A_WEEK[kind]), [], []
    decisions = []
    for i, trained in enumerate(models):
        rules = RULES if i == 0 else ()
        judged = Judged.of(history, setup, trained.theta, trained.risk, rules)
        decisions.append(decide_on(judged, wish, has_phi=bool(trained.risk.size), simulated=True))
        tuned.append(_at_line(setup, decisions[-1]))
        falls.append(falls_of(history, tuned[-1], trained))
    comparison, _ = verdict_of(population, history, tuned[0], falls)
    others = plant_shop(shop, crowd, WEEKS, seed=2 * seed + 1)
    ahead, error = truth_of(others, tuned, models)
    truth: Truth = "neither" if abs(ahead) < DECISIVE * error else "learning" if ahead > 0 else "rule"
    return ShopTrial(kind, seed, decisions[0], comparison, truth, ahead, error)


def _at_line(setup: Setup, decision: Decision) -> Setup:
    """The setup with the line of a decision, and no rises that would take from the budget."""
    line: dict[str, Any] = {**setting(decision, setup.plan.detection), "rise_level": 1.0}
    return replace(setup, plan=replace(setup.plan, detection=replace(setup.plan.detection, **line)))


def falls_of(history: History, setup: Setup, trained: Trained) -> Alerts:
    """The alerts of falls that devices raise in the alert steps, with these weights."""
    steps, settings = alert_steps(setup.protocol), setup.plan.detection
    scores = scores_at(history, setup, trained.theta, trained.risk, lived_steps(setup.protocol))
    raised = alerts_of(setup.plan, settings, scores)[:, -len(steps) :, Direction.FALL]
    return Alerts.of_mask(raised, steps, Direction.FALL, settings.quiet_steps)


def truth_of(crowd: Population, setups: Sequence[Setup], models: Sequence[Trained]) -> tuple[float, float]:
    """How many more of the warnings of a crowd are right by the models (their mean) than by the best rule that warns as often; and
    the standard error over people."""
    ours: list[list[Counted]] = []
    rules: dict[str, list[Counted]] = {}
    for first in range(0, crowd.n_users, CROWD_AT_ONCE):
        some = crowd.take(np.arange(first, min(first + CROWD_AT_ONCE, crowd.n_users)))
        history = history_of(some, setups[0].plan.read_features)
        turns = turns_of(some, history, setups[0], Direction.FALL)
        falls = [falls_of(history, setup, trained) for setup, trained in zip(setups, models, strict=True)]
        number = int(np.mean([len(these) for these in falls]))
        ours.append([counted(these, *turns, some.n_users) for these in falls])
        for name, alerts in rule_contacts(history, setups[0], number).items():
            rules.setdefault(name, []).append(counted(alerts, *turns, some.n_users))
    mine = [_joined([part[i] for part in ours]) for i in range(len(models))]
    best = max((_joined(parts) for parts in rules.values()), key=lambda one: one.precision)
    ahead = float(np.mean([one.precision for one in mine])) - best.precision
    away = np.mean([_influence(one) for one in mine], axis=0) - _influence(best)
    return ahead, float(np.sqrt((away**2).sum()))


def _joined(parts: Sequence[Counted]) -> Counted:
    return Counted(
        *(np.concatenate([getattr(part, key) for part in parts]) for key in ("contacts", "right", "turns", "found"))
    )


def _influence(one: Counted) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """How much each user moves the share of right ones."""
    out = (one.right - one.precision * one.contacts) / max(one.contacts.sum(), 1)
    return np.asarray(out, np.float64)
