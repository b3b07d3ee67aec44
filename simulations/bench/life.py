"""How many steps of hosted devices close in a second, one after the other in compiled loops, beside arrays of whole histories.

Planted people of 12 and of 30 categories live through the planted protocol's test steps both ways: under the demo's plan, p with phi
and the CUSUM, and under one with heads, which looks at features of version 2. A host is asked for alerts a few times in them, and
each time begins from its counters.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from client.detection.chances import Weights
from client.detection.watch import Watch, past_steps
from shared.arrays import Floats
from shared.features import History, Richer
from shared.heads import Heads, HeadsStart
from shared.heads.inputs import NETWORKS
from shared.plan import Plan
from shared.register.heads_plan import N_INPUTS, HeadPlan, HeadsPlan

from ..attacks.hostile_behaviour import World
from ..federation.hosted.living import Closed, back_by_arrays, by_arrays, one_after_the_other, read_by_arrays
from ..life.compiled import IS_COMPILED
from ..life.living import LIVE_USERS, live
from ..people.labelled_rows import history_of
from ..people.planted import plant
from ..scenarios.config import PLANTED_PROTOCOL
from ..scenarios.planted_rates import PLANTED_RATES
from .measurements import Measurement, number

FEW, MANY = 12, 30
SEED, QUERIES = 11, 3
#: How far p and phi of the two ways may lie apart.
APART = 1e-6


Way = Callable[[History, Plan, Weights, Watch, range], Iterator[Closed]]


@dataclass(frozen=True)
class Life:
    """Users of a history (K, C, T), the plan and the weights that watch them, and their watch at the close of the step of training."""

    history: History
    plan: Plan
    weights: Weights
    watch: Watch

    def through(self, way: Way, asked: Sequence[range]) -> tuple[float, list[Closed]]:
        """Processor seconds that a way takes through steps, each range of them a query, and what came of them."""
        watch, out = self.watch.copy(), list[Closed]()
        began_s = time.process_time()
        for steps in asked:
            out += way(self.history.until(steps[-1]), self.plan, self.weights, watch, steps)
        return time.process_time() - began_s, out

    def phi_apart(self, steps: range) -> float:
        """How far phi of the first `LIVE_USERS` lies apart, at most, at any of the steps."""
        history = self.history[:LIVE_USERS]
        lived = live(
            history.until(steps[-1]), self.plan, self.weights, self.watch.copy().of_users(slice(LIVE_USERS)), steps
        )
        return max(
            _apart(lived.lapse[at], read_by_arrays(history.until(step), self.plan, self.weights, step).lapse)
            for at, step in enumerate(steps)
        )


@dataclass(frozen=True)
class Case:
    """Which lives are measured: under heads, or phi and the CUSUM, and of how many categories."""

    heads: bool
    n_categories: int

    def key(self, name: str) -> str:
        more = "_30" if self.n_categories == MANY else ""
        return f"life.{name}{'_heads' if self.heads else ''}{more}"

    @property
    def what(self) -> str:
        return f"steps closed, {self.n_categories} categories, {'heads' if self.heads else 'phi and the CUSUM'}"


CASES = [Case(heads, n_categories) for heads in (False, True) for n_categories in (FEW, MANY)]


def life_numbers(devices: int, repeats: int, n_steps: int = 63) -> list[Measurement]:
    """Every case of so many devices, through the first `n_steps` test steps; skipped where loops are not compiled."""
    if not IS_COMPILED:
        missing = "no numba: pip install 'ebbtide[fast]'"
        return [Measurement(case.key("device_steps_ratio"), case.what, (), "", skipped=missing) for case in CASES]
    world = World.make(1, 0)
    return [figure for case in CASES for figure in compared(world, case, devices, repeats, n_steps)]


def compared(world: World, case: Case, devices: int, repeats: int, n_steps: int) -> list[Measurement]:
    """Device-steps a second both ways, and the ratio of the same repeat; then how far apart the two are."""
    life = _life(world, devices, case)
    first = int(life.watch.last_step[0]) + 1
    parts = np.array_split(np.arange(first, first + n_steps), QUERIES)
    asked = [range(int(part[0]), int(part[-1]) + 1) for part in parts]
    life.through(one_after_the_other, asked[:1])  # compiles
    both = [[life.through(way, asked) for way in (one_after_the_other, by_arrays)] for _ in range(repeats)]
    ours, arrays = ([devices * n_steps / pair[at][0] for pair in both] for at in (0, 1))
    steps = list(zip(*(closed for _, closed in both[-1]), strict=True))
    unlike, shown = (sum(count) for count in zip(*(_unlike(*pair) for pair in steps), strict=True))
    p_apart = max(_apart(one[1], other[1]) for one, other in steps)
    phi_apart = life.phi_apart(range(first, first + n_steps))
    beside = Measurement.of(case.key("arrays_per_s"), "  arrays of whole histories", arrays, "device-steps/s")
    ratio, said = [a / b for a, b in zip(ours, arrays, strict=True)], f"those, {number(beside.value)} device-steps/s"
    return [
        Measurement.of(case.key("device_steps_per_s"), case.what, ours, "device-steps/s"),
        beside,
        Measurement.of(case.key("device_steps_ratio"), "  ours / those", ratio, "x", at_least=10.0, beside=said),
        Measurement.of(case.key("alerts_apart"), f"  alerts of one alone, of {shown:,}", [unlike], "", at_most=0.0),
        Measurement.of(case.key("p_apart"), "  how far p lies apart, at most", [p_apart], "", at_most=APART),
        Measurement.of(case.key("phi_apart"), f"  phi of {LIVE_USERS} of them", [phi_apart], "", at_most=APART),
    ]


def _unlike(one: Closed, other: Closed) -> tuple[int, int]:
    """How many alerts of one step are in one of the two alone, and how many in either."""
    mine, theirs = (
        set(zip(*(column.tolist() for column in vars(closed[2]).values()), strict=True)) for closed in (one, other)
    )
    return len(mine ^ theirs), len(mine | theirs)


def _apart(one: Floats, other: Floats) -> float:
    """The largest difference of two arrays; infinite where only one is NaN."""
    if (np.isnan(one) != np.isnan(other)).any():
        return math.inf
    return float(np.nanmax(np.abs(one - other), initial=0.0))


def _life(world: World, devices: int, case: Case) -> Life:
    plan, weights = world.plan, Weights(world.theta, world.weights)
    if case.heads:
        plan, weights = _with_heads(world, case.n_categories)
    history = history_of(
        plant(devices, PLANTED_PROTOCOL.n_steps, seed=SEED, n_categories=case.n_categories), plan.read_features
    )
    step = PLANTED_PROTOCOL.train_at
    past = range(step + 1 - past_steps(plan), step + 1)
    watch = Watch.start(plan, back_by_arrays(history, plan, weights.theta, past), step)
    return Life(history, plan, weights, watch)


def _with_heads(world: World, n_categories: int) -> tuple[Plan, Weights]:
    """A plan with heads, which read theta's own logit thrice and follow it: the higher, the fewer lapses and the more take-offs."""
    base, zeros = world.plan, np.zeros((2, N_INPUTS), np.float32)
    features = replace(base.features, more=Richer(base.detection.lapse_steps, *PLANTED_RATES["day", False]))
    weights = zeros.copy()
    weights[:, 0], weights[:, -1] = (-2, 2), -1
    start = HeadsStart(np.stack([world.theta] * len(NETWORKS)), zeros[0, 1:], zeros[0, 1:] + 1, weights)
    head, once = HeadPlan(128, 64.0, 19, 1.0, 1.0, 0.5), replace(base.privacy, clip_norm=1.0, rounds=1)
    asked = HeadsPlan(features, 1, start.sha256, n_categories, head, head, once, once, once)
    detection = replace(base.detection, detector="risk", takeoff_line=0.25)
    plan = replace(base, risk=None, heads=asked, detection=detection)
    return plan, Weights(world.theta, zeros[0, :0], Heads(start, np.zeros(n_categories, np.float32), weights))
