"""Whether other planted people teach a better first model: as many of them, changed; judged on folds of train weeks after the private
rounds, and under purchases that somebody else made.

- plain: as they ship;
- shifted: each begins a random number of steps later, up to half of all;
- thinned: of each, one purchase in ten to three in ten is dropped, at random;
- matched: drawn anew, until as many of them are active in as many steps and categories as the real people are by the close of the fold's
  train steps. That is known exactly here, and would cost epsilon: it bounds what matching can give;
- attacked: in one category of every other person 1, 3 or 10 purchases are added in four steps, and labels stay those without them
  (adversarial training, after Goodfellow et al. 2015, with events in the place of inputs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from client.detection.chances import Weights, chances_of, recent_rows
from client.detection.watch import Watch, observed, past_steps
from server.public.risk_start import RiskStart
from shared.arrays import Bools, Floats, Ints, as_declared
from shared.features import History, extract, labels, seen
from shared.network import forward
from shared.plan import Plan

from ..evaluation.quality import auc
from ..federation.run_folder import RunFolder
from ..people.labelled_rows import users_of
from ..people.of_scenario import open_scenario, population_of, protocol_of
from ..people.public_start import public_lapse_rows
from ..people.setup import Setup
from ..people.teaching import Lesson, planted_history, pretrain, public_steps
from ..scenarios.config import Scenario
from .trials import Trials, repeated, warmed
from .tune import Fold, folds_of, until_last_label

TEACHERS: Final = ("plain", "shifted", "thinned", "matched", "attacked")
#: Purchases that are added, over how many steps; the share of planted people that teach under attack.
ADDED, STEPS, ATTACKED = (1, 3, 10), 4, 0.5
THINNED, FOLDS, SCORE = (0.1, 0.3), 2, 512
#: Planted people whose alerts are counted, and the seed of the first of them: nobody was taught by these.
ALERT_USERS, ALERT_SEED = 600, 900


@dataclass(frozen=True)
class Fared:
    """How one first model fared on one fold: the AUC of its validation steps after the private rounds; and, in one category of each user
    and from a step in or shortly before them on, the AUC as it is (0), and with so many purchases more: by their number."""

    auc: float
    under: Mapping[int, float]


def fared(name: str, overrides: Sequence[str], seeds: int) -> dict[str, list[Fared]]:
    """By teachers, each of the folds of each seed of a scenario: train weeks alone are looked at. Noise comes from OS entropy."""
    base = open_scenario(name, ["risk.rounds=0", *overrides])
    protocol, out = protocol_of(base), {who: list[Fared]() for who in TEACHERS}
    with TemporaryDirectory() as folder:
        trials = Taught(until_last_label(population_of(base), protocol), Path(folder))
        for seed in range(seeds):
            scenario = warmed(repeated(base, seed), seed)
            taught, begun = _lesson(scenario, trials.setup(scenario)), dict[str, Floats]()
            for fold in folds_of(protocol, FOLDS):
                setup = trials.setup(scenario, protocol.model_copy(update={"train_steps": fold.train_steps}))
                for who, found in out.items():
                    if who == "matched" or who not in begun:
                        begun[who] = theta_of(who, taught, trials.history.until(setup.protocol.train_at))
                    trials.theta = begun[who]
                    theta = trials.train(setup).theta
                    value = trials.score(setup.plan, theta, fold.validation_steps).auc
                    assert value is not None, "a fold with labels of both kinds"
                    found.append(Fared(value, _under_attack(trials.history, setup.plan, theta, fold, seed)))
    return out


class Taught(Trials):
    """Trials that start from a theta 0 that is given."""

    theta: Floats

    def _begin_at(self, setup: Setup) -> RunFolder:
        begun = super()._begin_at(setup)
        np.save(begun.theta_file, self.theta)
        return begun


def _lesson(scenario: Scenario, setup: Setup) -> tuple[Lesson, History]:
    lesson = Lesson.of(scenario, setup.protocol, setup.n_categories, setup.plan, setup.plan.features)
    return lesson, lesson.history()


def theta_of(who: str, taught: tuple[Lesson, History], real: History) -> Floats:
    """Theta 0 (P,) by these teachers, made of a lesson's people; `real`: whom `matched` ones are to be like."""
    lesson, people = taught
    random = np.random.Generator(np.random.Philox(key=[lesson.warm.seed, 2]))
    looked, labelled = people, people
    if who == "attacked":
        begin = random.integers(STEPS, people.n_steps - STEPS, len(people.active))
        category = np.where(random.random(len(begin)) < ATTACKED, favourite(people, begin), -1)
        looked = with_purchases(people, category, begin, random.choice(ADDED, len(begin)), random)
    elif who != "plain":
        changed = {"shifted": shifted, "thinned": thinned}
        looked = labelled = matched(people, real, random) if who == "matched" else changed[who](people, random)
    rows = lesson.interest_rows(looked)
    first, last = public_steps(lesson.protocol)
    at = np.arange(first, last + 1)
    y = labels(labelled, at, lesson.protocol.horizon_steps)[seen(looked, at)]
    return pretrain(lesson.network, replace(rows, y=y), lesson.warm)


@as_declared
def shifted(people: History, random: np.random.Generator) -> History:
    """Each person begins up to half of all steps later; what then lies behind the last step is cut."""
    late = random.integers(0, people.n_steps // 2 + 1, len(people.active))
    at = np.arange(people.n_steps) - late[:, None, None]
    counters = np.take_along_axis(people.counters(), np.maximum(at, 0)[None], -1) * (at >= 0)
    return History.of_counters(counters.astype(np.float32))


@as_declared
def thinned(people: History, random: np.random.Generator) -> History:
    """Each person's purchases, of which nothing else is counted, dropped with a chance of that person's own."""
    kept, bought = 1 - random.uniform(*THINNED, (len(people.active), 1, 1)), np.rint(people.count).astype(np.int64)
    count = random.binomial(bought, kept).astype(np.float32)
    return History(count > 0, count, (people.amount * count / np.maximum(bought, 1)).astype(np.float32))


@as_declared
def matched(people: History, real: History, random: np.random.Generator) -> History:
    """People drawn again, so that cells of active steps and of categories, each in powers of two, have the share that they have among real
    ones over as many steps; cells without planted people stay empty."""
    ours, theirs = (_cells(one.until(real.n_steps - 1)) for one in (people, real))
    most = 1 + max(ours.max(), theirs.max())
    shares = (np.bincount(cells, minlength=most) / len(cells) for cells in (ours, theirs))
    had, wanted = (share[ours] for share in shares)
    weight = wanted / had
    return people[random.choice(len(ours), len(ours), p=weight / weight.sum())]


def _cells(history: History) -> Ints:
    steps, breadth = history.active.any(axis=-2).sum(axis=-1), history.active.any(axis=-1).sum(axis=-1)
    first, second = (np.log2(1 + counted).astype(np.int64) for counted in (steps, breadth))
    return np.asarray(first * 16 + second)


@as_declared
def favourite(history: History, before: Ints) -> Ints:
    """The category that each user was active in most before a step (K,): (K,), -1 for none."""
    active = (history.active & (np.arange(history.n_steps) < before[:, None, None])).sum(axis=-1)
    return np.where(active.any(axis=-1), active.argmax(axis=-1), -1)


@as_declared
def with_purchases(history: History, category: Ints, begin: Ints, more: Ints, random: np.random.Generator) -> History:
    """The histories with `more` (K,) purchases in `category` (K,; -1: none), in the STEPS from `begin` (K,) on, at the mean price there."""
    count, amount = history.count.copy(), history.amount.copy()
    users = np.repeat(np.arange(len(category)), np.where(category >= 0, more, 0))
    here = users, category[users], begin[users] + random.integers(0, STEPS, len(users))
    price = history.amount.sum(axis=-1) / np.maximum(history.count.sum(axis=-1), 1)
    np.add.at(count, here, np.float32(1))
    np.add.at(amount, here, price[users, category[users]].astype(np.float32))
    return History(count > 0, count, amount)


def _under_attack(history: History, plan: Plan, theta: Floats, fold: Fold, seed: int) -> dict[int, float]:
    """AUC by the number of added purchases. They begin in the validation steps, or up to STEPS before."""
    first, last = fold.validation_steps
    random = np.random.Generator(np.random.Philox(seed))
    begin = random.integers(first - STEPS, last - STEPS + 1, len(history.active))
    category, at = favourite(history, begin), np.arange(first, last + 1)
    known = np.flatnonzero(category >= 0)
    judged = at >= begin[known, None]
    y = labels(history, at, plan.horizon_steps)[known, :, category[known]][judged]
    out = {}
    for k in (0, *ADDED):
        changed = with_purchases(history, category, begin, np.full(len(category), k), random)
        p = _scores(changed[known], category[known], plan, theta, at)[judged]
        value = auc(y, p)
        assert value is not None, "who comes again, and who does not"
        out[k] = value
    return out


def _scores(history: History, category: Ints, plan: Plan, theta: Floats, at: Ints) -> Floats:
    """p (K, S) of one category of each."""
    parts = []
    for first in range(0, len(category), SCORE):
        x, mine = extract(users_of(history, first), plan.features, at), category[first : first + SCORE]
        parts.append(forward(plan.network, theta, x[np.arange(len(mine)), :, mine]))
    return np.concatenate(parts)


def alerted(name: str, overrides: Sequence[str], seed: int, teachers: Sequence[str]) -> dict[str, dict[int, float]]:
    """By teachers and added purchases: the share of planted people who get a fall in the attacked category in the alert steps, under phi as
    planted people start it. The purchases come in the STEPS before."""
    scenario = warmed(open_scenario(name, overrides), seed)
    protocol = protocol_of(scenario)
    setup = Setup.of(scenario, population_of(scenario), protocol)
    taught, plan = _lesson(scenario, setup), setup.plan
    size = setup.n_categories, ALERT_USERS, ALERT_SEED + seed
    people = planted_history(protocol, setup.step, *size, purchases_only=True)
    begin = np.full(ALERT_USERS, protocol.alert_steps[0] - STEPS)
    category, rows = favourite(people, begin), public_lapse_rows(taught[1], setup, scenario.warm_start.seed)
    out: dict[str, dict[int, float]] = {}
    for who in teachers:
        theta = theta_of(who, taught, people)
        risk = RiskStart.learn(rows, plan, theta)
        weights = Weights(theta, risk.weights(risk.coefficients))
        for k in (0, *ADDED):
            random = np.random.Generator(np.random.Philox(key=[seed, k]))
            changed = with_purchases(people, category, begin, np.full(ALERT_USERS, k), random)
            fell = _falls(changed, plan, weights, protocol.alert_steps)
            known = np.flatnonzero(category >= 0)
            out.setdefault(who, {})[k] = float(fell[known, category[known]].mean())
    return out


def _falls(history: History, plan: Plan, weights: Weights, steps: tuple[int, int]) -> Bools:
    """Who has a fall of what in these steps, first to last: (K, C)."""

    def score(theta: Floats, x: Floats) -> Floats:
        return forward(plan.network, theta, x)

    past = np.arange(max(steps[0] - past_steps(plan), 0), steps[0])
    p = np.where(seen(history, past), score(weights.theta, extract(history, plan.features, past)), np.float32(np.nan))
    watch, found = Watch.start(plan, observed(plan, history.until(steps[0] - 1), past, p), steps[0] - 1), []
    for step in range(steps[0], steps[1] + 1):
        known = history.until(step)
        chances = chances_of(plan, weights, score, *recent_rows(known, plan, step))
        found.append(watch.see(plan, known, step, chances)[0][:, 0])
    return np.asarray(np.any(found, axis=0))
