"""What hostile input does to p and to alerts, on planted (simulated) users: `python -m simulations.hostile`.

Each user's busiest category is attacked from one day on; the model was taught by other planted people. Two kinds:
- events that a bot or another person could make on the phone: they pass through the counters, as any event does;
- feature rows moved against the model along the gradient's sign (Goodfellow et al. 2015, section 4), each feature held
  within what planted people ever show. Nobody can set features at will: this bounds what a clever stream of events does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from client.runtime import PINNED_SHA256
from client.watch import Watch, observed, past_steps
from shared.events import ENGAGEMENT, Catalogue, EventKind, Step
from shared.features import History, extract, seen
from shared.network import forward
from shared.plan import Plan

from .config import PLANTED_PROTOCOL, WarmStartSection, load_scenario
from .counted import rows_of
from .warm_start import planted_history, pretrain

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

#: The watch begins after START; attacks from FIRST on; alerts counted to LAST, when no window holds a short attack any more.
START, FIRST, LAST = 111, 130, 180
SEED, TEACHERS, N_CATEGORIES = 100, 250, 12
PUSHES = (0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Effect:
    """What one attack does in steps FIRST..LAST, in the attacked categories: how far p moves (mean, and on the 5 % of
    user-steps where it moves most), and the share of users with a fall, with a rise there. What was planted raises some
    without any attack: see the first row."""

    attack: str
    mean_move: float
    most_move: float
    falls: float
    rises: float


@dataclass(frozen=True)
class World:
    """Planted users (K, C, T), the model that scores them, and the category of each that is attacked, (K,)."""

    plan: Plan
    theta: Floats
    history: History
    category: Ints

    @classmethod
    def make(cls, n_users: int, seed: int) -> World:
        """Users of this seed under the demo's plan and the CUSUM."""
        protocol, names = PLANTED_PROTOCOL, tuple(str(i) for i in range(N_CATEGORIES))
        scenario = load_scenario("demo", ["detection.detector=cusum", "detection.season_steps=7"])
        plan = scenario.plan(protocol, Catalogue(names), n_users, bytes.fromhex(PINNED_SHA256))
        taught = planted_history(protocol, Step.DAY, N_CATEGORIES, TEACHERS, SEED, purchases_only=False)
        rows = rows_of(taught, plan.features, protocol.horizon_steps, protocol.train_steps)
        theta = pretrain(plan.network, rows, WarmStartSection(users=TEACHERS, seed=SEED))
        history = planted_history(protocol, Step.DAY, N_CATEGORIES, n_users, SEED + 1 + seed, purchases_only=False)
        busiest = history.active[..., :START].sum(axis=-1).argmax(axis=-1)
        return cls(plan, theta, history, busiest)

    def rows(self, history: History) -> tuple[Ints, Floats]:
        """The steps that a watch needs, and the features (K, S, C, F) of them."""
        steps = np.arange(START + 1 - past_steps(self.plan), LAST + 1)
        return steps, extract(history, self.plan.features, steps)

    def p(self, x: Floats) -> Floats:
        out: Floats = forward(self.plan.network, self.theta, x)
        return out

    def alerts(self, history: History, p: Floats) -> NDArray[np.bool_]:
        """Whether each user has a fall and a rise in the attacked category in FIRST..LAST: (K, 2)."""
        steps = np.arange(LAST + 1 - p.shape[1], LAST + 1)
        p = np.where(seen(history, steps), p, np.float32(np.nan))
        past = START + 1 - int(steps[0])
        before = observed(self.plan, history, steps[:past], p[:, :past])
        watch, users = Watch.start(self.plan, before, START), np.arange(len(p))
        raised = [
            watch.see(self.plan, history.until(step), step, p[:, step - int(steps[0])])[0][users, :, self.category]
            for step in range(START + 1, LAST + 1)
        ]
        return np.asarray(np.any(raised[FIRST - START - 1 :], axis=0))


def with_events(world: World, kind: EventKind, per_step: NDArray[np.floating]) -> History:
    """The users' histories with `per_step` (T,) more events of a kind in the attacked category, at no price."""
    history, users = world.history, np.arange(len(world.category))
    count = history.count.copy()
    count[users, world.category] += (per_step * ENGAGEMENT[kind]).astype(np.float32)
    return History(count > 0, count, history.amount)


def pushed(world: World, x: Floats, size: float, sign: Ints) -> Floats:
    """Rows x (K, S, F) moved by `size` along the sign of the gradient of p, times `sign` (S,), within what planted
    people show."""
    nudge = np.float32(1e-2) * np.eye(x.shape[-1], dtype=np.float32)
    slope = world.p(x[..., None, :] + nudge) - world.p(x[..., None, :] - nudge)
    low, high = x.min(axis=(0, 1)), x.max(axis=(0, 1))
    moved = x + np.float32(size) * np.sign(slope) * sign[:, None].astype(np.float32)
    out: Floats = np.clip(moved, low, high)
    return out


def effects(world: World, pushes: Sequence[float] = PUSHES) -> list[Effect]:
    """Every attack's effect; the first is none."""
    users = np.arange(len(world.category))
    steps, x = world.rows(world.history)
    normal, attacked = world.p(x), steps >= FIRST
    out: list[Effect] = []

    def add(name: str, history: History, p: Floats) -> None:
        now, was = (v[users, :, world.category][:, attacked] for v in (p, normal))
        move = np.abs(now - was)
        falls, rises = world.alerts(history, p).mean(axis=0)
        most = float(np.quantile(move, 0.95))
        out.append(Effect(name, float(move.mean()), most, float(falls), float(rises)))

    add("none", world.history, normal)
    t = np.arange(world.history.n_steps)
    for name, kind, per_step in (
        ("bot, 300 views a day, 3 days", EventKind.VIEW, 300.0 * ((t >= FIRST) & (t < FIRST + 3))),
        ("click farm, 40 clicks a day, 14 days", EventKind.CLICK, 40.0 * ((t >= FIRST) & (t < FIRST + 14))),
        ("poison, a view a day, then none", EventKind.VIEW, 1.0 * ((t >= 40) & (t < FIRST))),
        ("slow poison, ever more views, then none", EventKind.VIEW, np.clip((t - 40) / 90, 0, 1) * (t < FIRST) * 3),
    ):
        history = with_events(world, kind, per_step)
        add(name, history, world.p(world.rows(history)[1]))
    for size in pushes:
        for name, sign in (("down", -1 * attacked), ("to and fro", np.where(steps % 6 < 3, 1, -1) * attacked)):
            p = normal.copy()
            mine = x[users, :, world.category]
            p[users, :, world.category] = world.p(pushed(world, mine, size, sign))
            add(f"features pushed by {size:g}, {name}", world.history, p)
    return out


def table_of(found: Sequence[Effect], n_users: int) -> Table:
    """One row an attack."""
    table = Table(
        title=f"Hostile input, {n_users} planted (simulated) users, steps {FIRST} to {LAST}; users with falls, rises"
    )
    for name in ("attack", "p moves", "top 5 %", "falls", "rises"):
        table.add_column(name, justify="left" if name == "attack" else "right")
    for e in found:
        table.add_row(e.attack, f"{e.mean_move:.3f}", f"{e.most_move:.3f}", f"{e.falls:.1%}", f"{e.rises:.1%}")
    return table


def main(n_users: int = 300, seed: int = 0) -> None:
    """Print the table."""
    Console().print(table_of(effects(World.make(n_users, seed)), n_users))


if __name__ == "__main__":
    main()
