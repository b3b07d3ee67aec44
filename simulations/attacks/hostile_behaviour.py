"""What hostile input does to p and to alerts, on planted (simulated) users: `python -m simulations.attacks.hostile_behaviour`.

Each user's busiest category is attacked from one day on; model and phi were taught by other planted people. Two kinds:
- events that a bot or another person could make on the phone: they pass through the counters, as any event does;
- feature rows moved against the detector along a gradient's sign (Goodfellow et al. 2015, section 4), each feature held
  within what planted people ever show. Nobody can set features at will: this bounds what a clever stream of events does.

Attacked are the CUSUM, which watches p, and phi's line. What either watches is its score: p, and 1 - phi, so that for both
a low one means a fall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from client.detection.chances import Chances
from client.detection.watch import Watch, observed, past_steps
from server.public.risk_start import RiskStart
from shared.arrays import Bools, Floats, Ints, as_declared, hold_declared
from shared.events import ENGAGEMENT, MAX_AMOUNT, Catalogue, EventKind, Step
from shared.features import MOST_EVENTS, History, extract, seen
from shared.lapse_risk import phi, readings
from shared.network import forward
from shared.plan import Plan

from ..people.labelled_rows import rows_of
from ..people.public_start import public_lapse_rows
from ..people.setup import Crowd, Setup
from ..people.teaching import planted_history, pretrain
from ..scenarios.config import PLANTED_PROTOCOL, WarmStartSection, load_scenario
from ..terminal.ending import end_with
from ..terminal.printing import say_table

#: What is attacked, and what its score is made of.
DETECTORS = {"cusum": "p", "risk": "phi"}
#: The watch begins after START; attacks from FIRST on; alerts counted to LAST, when no window holds a short attack any more.
START, FIRST, LAST = 111, 130, 180
SEED, TEACHERS, N_CATEGORIES = 100, 250, 12
PUSHES = (0.05, 0.1, 0.2)
#: The attacks whose effects are published, by the last part of their keys.
PUBLISHED = {
    "none": "none",
    "bot": "bot",
    "farm": "click farm",
    "flood": "flood",
    "poison": "poison",
    "down": "features",
}
PUBLISHED_USERS, PUBLISHED_SEEDS = 300, 3


@dataclass(frozen=True)
class Effect:
    """What one attack does in steps FIRST..LAST, in the attacked categories: how far the score moves (mean, and on the
    5 % of user-steps where it moves most), and the share of users with a fall, with a rise there. What was planted raises some
    without any attack: see the first row."""

    attack: str
    mean_move: float
    most_move: float
    falls: float
    rises: float


@dataclass(frozen=True)
class World:
    """Planted users (K, C, T), theta and phi's weights that score them, and the category of each that is attacked, (K,)."""

    plan: Plan
    theta: Floats
    weights: Floats
    history: History
    category: Ints

    def __post_init__(self) -> None:
        hold_declared(self)

    @classmethod
    def make(cls, n_users: int, seed: int) -> World:
        """Users of this seed under the demo's plan, and so under the CUSUM."""
        protocol, names = PLANTED_PROTOCOL, tuple(str(i) for i in range(N_CATEGORIES))
        setup = Setup.of(
            load_scenario("demo", ["detection.takeoff_line=0"]), Crowd(n_users, Catalogue(names)), protocol
        )
        plan = setup.plan
        taught = planted_history(protocol, Step.DAY, N_CATEGORIES, TEACHERS, SEED, purchases_only=False)
        rows = rows_of(taught, plan.features, protocol.horizon_steps, protocol.train_steps)
        theta = pretrain(plan.network, rows, WarmStartSection(users=TEACHERS, seed=SEED))
        start = RiskStart.learn(public_lapse_rows(taught, setup, SEED), plan, theta)
        history = planted_history(protocol, Step.DAY, N_CATEGORIES, n_users, SEED + 1 + seed, purchases_only=False)
        busiest = history.active[..., :START].sum(axis=-1).argmax(axis=-1)
        return cls(plan, theta, start.weights(start.coefficients), history, busiest)

    def under(self, detector: str) -> World:
        """The same world, watched by another detector."""
        return replace(self, plan=replace(self.plan, detection=replace(self.plan.detection, detector=detector)))

    @property
    def steps(self) -> Ints:
        """The steps that a watch needs."""
        return np.arange(START + 1 - past_steps(self.plan), LAST + 1)

    @property
    def mine(self) -> tuple[Ints, slice, Ints]:
        """Where the attacked categories are in arrays (K, S, C, ...)."""
        return np.arange(len(self.category)), slice(None), self.category

    def rows(self, history: History) -> Floats:
        """The features (K, S, C, F) of all steps."""
        return extract(history, self.plan.features, self.steps)

    @as_declared
    def p(self, x: Floats) -> Floats:
        out: Floats = forward(self.plan.network, self.theta, x)
        return out

    @as_declared
    def phi(self, x: Floats, p: Floats, p_before: Floats) -> Floats:
        """phi (...) of rows x (..., F) with their p and that of `rate_steps` earlier."""
        return phi(self.weights, readings(self.plan.features, x, p, p_before))

    @as_declared
    def before(self, p: Floats) -> Floats:
        """p (K, S, ...) of `rate_steps` earlier; of the first steps that of the first."""
        assert self.plan.risk is not None
        return p[:, np.maximum(np.arange(p.shape[1]) - self.plan.risk.rate_steps, 0)]

    @as_declared
    def score(self, x: Floats, p_before: Floats) -> Floats:
        """What the detector watches (...): p, or 1 - phi."""
        p = self.p(x)
        return p if self.plan.detection.detector == "cusum" else 1 - self.phi(x, p, p_before)

    @as_declared
    def alerts(self, history: History, x: Floats) -> Bools:
        """Whether each user has a fall and a rise in the attacked category in FIRST..LAST, with rows x: (K, 2)."""
        steps, p = self.steps, self.p(x)
        p = np.where(seen(history, steps), p, np.float32(np.nan))
        risk = self.phi(x, p, self.before(p))
        past = START + 1 - int(steps[0])
        before = observed(self.plan, history, steps[:past], p[:, :past])
        watch, users = Watch.start(self.plan, before, START), np.arange(len(p))
        raised = [
            watch.see(self.plan, history.until(step), step, Chances.of_p(p[:, i], risk[:, i]))[0][
                users, :, self.category
            ]
            for i, step in enumerate(steps.tolist()[past:], start=past)
        ]
        return np.asarray(np.any(raised[FIRST - START - 1 :], axis=0))


@as_declared
def with_events(world: World, kind: EventKind, per_step: NDArray[np.floating], price: float = 0.0) -> History:
    """The users' histories with `per_step` (T,) more events of a kind in the attacked category, each at a price."""
    history, users = world.history, np.arange(len(world.category))
    count, amount = history.count.copy(), history.amount.copy()
    count[users, world.category] += (per_step * ENGAGEMENT[kind]).astype(np.float32)
    amount[users, world.category] += (per_step * price).astype(np.float32)
    kinds = None if history.kinds is None else history.kinds.copy()
    if kinds is not None:
        more = kinds[kind, users, world.category] + np.rint(per_step)
        kinds[kind, users, world.category] = np.minimum(more, MOST_EVENTS)
    return History(count > 0, count, amount, kinds)


@as_declared
def pushed(world: World, x: Floats, size: float, sign: Ints) -> Floats:
    """Rows x (K, S, F) moved by `size` along the sign of the score's gradient, times `sign` (S,), within what planted
    people show."""
    nudge = np.float32(1e-2) * np.eye(x.shape[-1], dtype=np.float32)
    earlier = world.before(world.p(x))[..., None]
    slope = world.score(x[..., None, :] + nudge, earlier) - world.score(x[..., None, :] - nudge, earlier)
    low, high = x.min(axis=(0, 1)), x.max(axis=(0, 1))
    moved = x + np.float32(size) * np.sign(slope) * sign[:, None].astype(np.float32)
    out: Floats = np.clip(moved, low, high)
    return out


def effects(world: World, pushes: Sequence[float] = PUSHES) -> list[Effect]:
    """Every attack's effect; the first is none."""
    x, steps = world.rows(world.history), world.steps
    attacked, usual = steps >= FIRST, _scores(world, x)
    out: list[Effect] = []

    def add(name: str, history: History, x: Floats) -> None:
        move = np.abs(_scores(world, x) - usual)[:, attacked]
        falls, rises = world.alerts(history, x).mean(axis=0)
        out.append(Effect(name, float(move.mean()), float(np.quantile(move, 0.95)), float(falls), float(rises)))

    add("none", world.history, x)
    t = np.arange(world.history.n_steps)
    for name, kind, per_step, price in (
        ("bot, 300 views a day, 3 days", EventKind.VIEW, 300.0 * ((t >= FIRST) & (t < FIRST + 3)), 0.0),
        ("click farm, 40 clicks a day, 14 days", EventKind.CLICK, 40.0 * ((t >= FIRST) & (t < FIRST + 14)), 0.0),
        ("flood, 100 000 purchases at the highest price, 1 day", EventKind.PURCHASE, 1e5 * (t == FIRST), MAX_AMOUNT),
        ("poison, a view a day, then none", EventKind.VIEW, 1.0 * ((t >= 40) & (t < FIRST)), 0.0),
        (
            "slow poison, ever more views, then none",
            EventKind.VIEW,
            np.clip((t - 40) / 90, 0, 1) * (t < FIRST) * 3,
            0.0,
        ),
    ):
        history = with_events(world, kind, per_step, price)
        add(name, history, world.rows(history))
    for size in pushes:
        for name, sign in (("down", -1 * attacked), ("to and fro", np.where(steps % 6 < 3, 1, -1) * attacked)):
            moved = x.copy()
            moved[world.mine] = pushed(world, x[world.mine], size, sign)
            add(f"features pushed by {size:g}, {name}", world.history, moved)
    return out


def _scores(world: World, x: Floats) -> Floats:
    """What the detector watches in the attacked categories, (K, S)."""
    mine = x[world.mine]
    return world.score(mine, world.before(world.p(mine)))


def table_of(found: Sequence[Effect], n_users: int, detector: str) -> Table:
    """One row an attack."""
    about = f"{n_users} planted (simulated) users, steps {FIRST} to {LAST}; users with falls, rises"
    table = Table(title=f"Hostile input against {detector}, {about}")
    for name in ("attack", f"{DETECTORS[detector]} moves", "top 5 %", "falls", "rises"):
        table.add_column(name, justify="left" if name == "attack" else "right")
    for e in found:
        table.add_row(e.attack, f"{e.mean_move:.3f}", f"{e.most_move:.3f}", f"{e.falls:.1%}", f"{e.rises:.1%}")
    return table


def main(n_users: int = 300, seed: int = 0) -> None:
    """Print a table for each detector."""
    world = World.make(n_users, seed)
    for detector in DETECTORS:
        say_table(table_of(effects(world.under(detector)), n_users, detector))


if __name__ == "__main__":
    end_with(main)
