"""How far a bot that only looks moves an interest in purchases: planted (simulated) people of a shop that counts views, clicks,
favourites, carts and purchases, and `k` views a day more, for four weeks, in one category of each.

Three forms of the same shop, taught by the same planted people, without a private round:
- all: every kind of event is interest, as where a plan says nothing;
- purchases: purchases alone are; what else is done is in no input of p, nor of the heads;
- aware: purchases alone are, but p looks at the other kinds, too, as features of version 2 (phi on top of it, and no rho).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from client.detection.chances import Chances, Weights, chances_of
from client.detection.watch import Watch, observed, past_steps
from server.public.risk_start import RiskStart
from shared.arrays import Bools, Floats, Ints, as_declared, hold_declared
from shared.events import ENGAGEMENT, Catalogue, EventKind, Step
from shared.features import MOST_EVENTS, History, extract, labels, quiet, seen
from shared.heads import Heads
from shared.network import forward
from shared.plan import Plan

from ..evaluation.quality import auc, interval
from ..people.heads_start import heads_start
from ..people.public_start import public_lapse_rows
from ..people.setup import Crowd, Setup
from ..people.teaching import Lesson, planted_history, pretrain
from ..scenarios.config import PLANTED_PROTOCOL, load_scenario
from .hostile_behaviour import FIRST, LAST, SEED, START

N_CATEGORIES, TEACHERS, EPOCHS, USERS = 12, 1000, 8, 300
#: Views a day more, and for how many days from FIRST on.
PER_DAY, DAYS = (1, 3, 10, 30), 28
BOUGHT: Final = (int(EventKind.PURCHASE),)
LINES: Final = ('detection.detector="risk"', "detection.takeoff_line=0.25", "detection.false_alerts=0")
HEADS: Final = ("risk.rounds=0", "heads.rounds=6")
#: What each form's scenario says beside the demo's.
FORMS: Final = {
    "all": HEADS,
    "purchases": (*HEADS, 'features.interest="purchases"'),
    "aware": ('features.interest="purchases"', "features.version=2"),
}
#: Draws of users behind an interval; users that are read at once.
DRAWS, CHUNK = 300, 100


class Read(NamedTuple):
    """Chances (K, S, C) each, as devices read them; and rho (K, S, C) also of what is not quiet."""

    chances: Chances
    rho: Floats


@dataclass(frozen=True)
class Shop:
    """One form of the shop: its plan, what reads chances there, and planted users (K, C, T) whom nobody was taught by."""

    plan: Plan
    weights: Weights
    history: History

    @classmethod
    def of(cls, form: str, n_users: int, seed: int) -> Shop:
        """A form, by the planted people of a seed."""
        taught_by = f"warm_start.users={TEACHERS}", f"warm_start.epochs={EPOCHS}", f"heads.epochs={EPOCHS}"
        scenario = load_scenario("demo", [*taught_by, *LINES, *FORMS[form]])
        catalogue = Catalogue(tuple(str(i) for i in range(N_CATEGORIES)))
        setup = Setup.of(scenario, Crowd(n_users, catalogue), PLANTED_PROTOCOL)
        plan = setup.plan
        lesson = Lesson.of(scenario, setup.protocol, N_CATEGORIES, plan, plan.read_features)
        lesson = replace(lesson, purchases_only=False)
        taught = lesson.history()
        theta = pretrain(plan.network, replace(lesson, features=plan.features).interest_rows(taught), lesson.warm)
        risk, heads = np.empty(0, np.float32), None
        if plan.heads is not None:
            start = heads_start(lesson)
            heads = Heads(start, np.zeros(N_CATEGORIES, np.float32), start.weights)
        else:
            begun = RiskStart.learn(public_lapse_rows(taught, setup, SEED), plan, theta)
            risk = begun.weights(begun.coefficients)
        size = N_CATEGORIES, n_users, SEED + 1 + seed
        people = planted_history(setup.protocol, Step.DAY, *size, purchases_only=False, with_kinds=True)
        return cls(plan, Weights(theta, risk, heads), people)

    @property
    def steps(self) -> Ints:
        """The steps that a watch needs."""
        return np.arange(START + 1 - past_steps(self.plan), LAST + 1)

    def read(self, history: History) -> Read:
        """What devices read at the close of `steps`."""
        plan, lag = self.plan, self.plan.risk.rate_steps if self.plan.risk else 0
        steps, heads, parts = np.arange(self.steps[0] - lag, self.steps[-1] + 1), self.weights.heads, []
        back = [slice(0, len(steps) - lag), slice(lag, None)] if lag else [slice(None)]
        for first in range(0, len(history.active), CHUNK):
            part = plan.read_features.of(history[first : first + CHUNK])
            x, known = extract(part, plan.read_features, steps), seen(part, steps)
            rows, touched = np.stack([x[:, at] for at in back], axis=2), np.stack([known[:, at] for at in back], axis=2)
            found = chances_of(plan, self.weights, self._score, rows, touched)
            rho = found.takeoff if heads is None else heads.read(plan.read_features, self._score, x)[1]
            parts.append((*found, np.where(known[:, lag:], rho, np.float32(np.nan))))
        p, lapse, takeoff, rho = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Read(Chances(p, lapse, takeoff), rho)

    @as_declared
    def raised(self, history: History, read: Chances) -> Bools:
        """Whether each user has a fall and a rise of each category in FIRST..LAST, by what was read: (K, 2, C)."""
        plan, held, steps = self.plan, self.plan.read_features.of(history), self.steps
        past = START + 1 - int(steps[0])
        watch = Watch.start(plan, observed(plan, held, steps[:past], read.p[:, :past]), START)
        alerts = []
        for i, step in enumerate(steps.tolist()[past:], start=past):
            now = Chances(*(column[:, i] for column in read))
            alerts.append(watch.see(plan, held.until(step), step, now)[0])
        return np.asarray(np.any(alerts[FIRST - START - 1 :], axis=0))

    def _score(self, theta: Floats, x: Floats) -> Floats:
        return forward(self.plan.network, theta, x)


@dataclass(frozen=True)
class Moved:
    """What added views do in steps FIRST..LAST to p, phi and rho in the attacked categories of n users: `moves` (n, S) by name, NaN where
    nothing is read; whether each had a fall and a rise there (n,)."""

    moves: Mapping[str, Floats]
    falls: Bools
    rises: Bools

    def __post_init__(self) -> None:
        hold_declared(self)


@as_declared
def most_bought(history: History) -> Ints:
    """The category that each user bought from on most days before the watch begins, -1 for who bought nothing: (K,)."""
    days = _bought(history)[..., :START].sum(axis=-1)
    return np.where(days.max(axis=-1) > 0, days.argmax(axis=-1), -1)


@as_declared
def quiet_one(history: History, window_steps: int) -> Ints:
    """The category of each user that was bought from once and is quiet when the attack begins, whatever kinds of events are interest;
    of several the one that is looked at on most days: (K,), -1 for none."""
    fits = quiet(history, [FIRST - 1], window_steps)[:, 0] & _bought(history)[..., :FIRST].any(axis=-1)
    days = np.where(fits, history.active[..., :FIRST].sum(axis=-1), -1)
    return np.where(fits.any(axis=-1), days.argmax(axis=-1), -1)


@as_declared
def moved(shop: Shop, category: Ints, per_day: int, usual: Read) -> Moved:
    """What `per_day` views a day more in `category` (K,) do to the users of whom it is none of -1; `usual`: what is read without them."""
    history = with_views(shop.history, category, per_day)
    now = shop.read(history) if per_day else usual
    after, users = shop.steps >= FIRST, np.flatnonzero(category >= 0)
    here = category[users]
    pairs = zip(("p", "phi", "rho"), _columns(now), _columns(usual), strict=True)
    moves = {name: np.abs(one - other)[users, :, here][:, after] for name, one, other in pairs}
    falls, rises = shop.raised(history, now.chances)[users, :, here].T
    return Moved(moves, falls, rises)


@as_declared
def with_views(history: History, category: Ints, per_day: int) -> History:
    """The users' histories with `per_day` views more of a category of each (K,), on DAYS days from FIRST on."""
    assert history.kinds is not None
    users, days = np.arange(len(category))[:, None], np.arange(FIRST, FIRST + DAYS)
    at = users, category[:, None], days
    count, kinds = history.count.copy(), history.kinds.copy()
    count[at] += np.float32(per_day) * ENGAGEMENT[EventKind.VIEW]
    kinds[(EventKind.VIEW, *at)] = np.minimum(kinds[(EventKind.VIEW, *at)].astype(np.int64) + per_day, MOST_EVENTS)
    return History(count > 0, count, history.amount, kinds)


def purchases_auc(shop: Shop, read: Chances) -> tuple[float, float, float]:
    """How well p ranks who buys again within the horizon, in categories that were bought from before, in the steps of the watch: the AUC
    and its 95 % interval over users."""
    bought, horizon = shop.history.of_kinds(BOUGHT), shop.plan.horizon_steps
    known = (shop.steps > START) & (shop.steps < bought.n_steps - horizon)
    chosen = seen(bought, shop.steps[known])
    y, p = labels(bought, shop.steps[known], horizon)[chosen], read.p[:, known][chosen]
    user = np.nonzero(chosen)[0]
    rows = np.split(np.arange(len(user)), np.searchsorted(user, np.arange(1, len(shop.history.active))))

    def ranked(users: Ints) -> float:
        at = np.concatenate([rows[one] for one in users])
        value = auc(y[at], p[at])
        assert value is not None, "people who buy again, and people who do not"
        return value

    return with_interval(np.unique(user), ranked)


def with_interval(users: Ints, of: Callable[[Ints], float]) -> tuple[float, float, float]:
    """What `of` says of users (n,), and the ends of its 95 % interval over draws of them."""
    random = np.random.Generator(np.random.Philox(0))
    drawn = [of(random.choice(users, len(users))) for _ in range(DRAWS)]
    low, high = interval(np.array(drawn)) or (np.nan, np.nan)
    return of(users), float(low), float(high)


def _columns(read: Read) -> tuple[Floats, Floats, Floats]:
    return read.chances.p, read.chances.lapse, read.rho


def _bought(history: History) -> Bools:
    return history.of_kinds(BOUGHT).active
