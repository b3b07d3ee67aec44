"""Planted people as teachers: their counters, the steps that they teach in, and how a network is taught by rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from shared.arrays import Bools, Floats, Ints, as_declared
from shared.events import EventKind, Step
from shared.features import FeatureSpec, History
from shared.network import NetworkSpec, gradient
from shared.plan import Plan

from ..scenarios.config import ProtocolSection, Scenario, WarmStartSection, step_unit_of
from .labelled_rows import Rows, rows_of
from .planted import plant

BATCH = 1024
#: Of version 2: rows of one person, drawn from all, of so many people at once.
ROWS_OF_ONE, USERS = 30, 250


@dataclass(frozen=True)
class Lesson:
    """What planted people teach, and by which counters: two that are equal teach the same. `plan`: that of a scenario, of which no more
    is read than stands here once more, and what heads, if there are any, look at."""

    network: NetworkSpec
    features: FeatureSpec
    protocol: ProtocolSection
    warm: WarmStartSection
    step: Step
    n_categories: int
    purchases_only: bool
    watched: tuple[int, int]
    plan: Plan = field(compare=False)

    @classmethod
    def of(
        cls, scenario: Scenario, protocol: ProtocolSection, n_categories: int, plan: Plan, features: FeatureSpec
    ) -> Lesson:
        """Of a scenario, in a protocol: its warm start's people, who buy alone where its own people do, and what their rows have, p's
        features or the heads'."""
        data, version_2 = scenario.data, features.version == 2
        only = not data.has_other_kinds or (data.name == "planted" and not version_2)
        watched = plan.detection.min_active_steps, plan.detection.lapse_steps
        return cls(
            plan.network,
            features,
            protocol,
            scenario.warm_start.model_copy(update={"epochs": scenario.heads.epochs}),
            step_unit_of(scenario),
            n_categories,
            only,
            watched,
            plan,
        )

    def history(self) -> History:
        """Counters (K, C, T) of the people."""
        size = self.n_categories, self.warm.users, self.warm.seed
        only, kinds = self.purchases_only, self.features.counts_kinds
        return self.features.of(planted_history(self.protocol, self.step, *size, purchases_only=only, with_kinds=kinds))

    def interest_rows(self, history: History) -> Rows:
        """Rows of p of a history (K, C, T) of theirs.

        From the first train step to the last step whose label is known: planted people are public in all of time, so the
        first model has seen users of any tenure that a device will meet, and does not extrapolate. Of version 2, which has more inputs
        to learn people by heart with, at most `ROWS_OF_ONE` of a person (docs/protocol.md).
        """
        steps = public_steps(self.protocol)
        if self.features.version == 1:
            return rows_of(history, self.features, self.protocol.horizon_steps, steps)
        random, parts = np.random.Generator(np.random.Philox(self.warm.seed)), []
        for at in range(0, len(history.active), USERS):
            part = rows_of(history[at : at + USERS], self.features, self.protocol.horizon_steps, steps)
            part = part.where(few_of_each(part.user, ROWS_OF_ONE, random))
            parts.append(replace(part, user=part.user + at))
        return joined(parts)


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts, one after the other."""
    columns = ("x", "y", "user", "step", "category")
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


@as_declared
def few_of_each(user: Ints, most: int, random: np.random.Generator) -> Bools:
    """Which rows are kept, of whose they are (n,): at most so many of each, any of them alike."""
    order = np.lexsort((random.random(len(user)), user))
    whose = user[order]
    first = np.flatnonzero(np.diff(whose, prepend=-1))
    place = np.arange(len(whose)) - np.repeat(first, np.diff(np.append(first, len(whose))))
    keep = np.zeros(len(user), bool)
    keep[order[place < most]] = True
    return keep


def public_steps(protocol: ProtocolSection) -> tuple[int, int]:
    """The steps that planted people teach p in, first and last."""
    return protocol.train_steps[0], protocol.n_steps - 1 - protocol.horizon_steps


def planted_history(
    protocol: ProtocolSection,
    step: Step,
    n_categories: int,
    users: int,
    seed: int,
    *,
    purchases_only: bool = True,
    with_kinds: bool = False,
) -> History:
    """Counters (K, C, T) of planted people in the protocol's steps, by kind as well if `with_kinds`; of purchases only, as the
    real data sets have."""
    days = protocol.n_steps * step.seconds // Step.DAY.seconds
    people = plant(users, days, seed=seed, n_categories=n_categories)
    user = np.repeat(np.arange(people.n_users), np.diff(people.offsets))
    kept = people.kind == EventKind.PURCHASE if purchases_only else np.ones(len(user), bool)
    at = (people.time_s[kept] // step.seconds).astype(np.int64)
    shape = (people.n_users, n_categories, protocol.n_steps)
    index = (user[kept], people.category[kept], at)
    return History.from_events(shape, index, people.kind[kept], people.amount[kept], with_kinds=with_kinds)


def pretrain(network: NetworkSpec, rows: Rows, settings: WarmStartSection) -> Floats:
    """A network (P,) taught by rows, with L2 on the kernels."""
    y = rows.y.astype(np.float32)
    size = min(BATCH, len(y))
    weight = np.full(size, 1 / size, np.float32)

    def slope(theta: Floats, at: Ints) -> Floats:
        return gradient(network, theta, rows.x[at], y[at], weight, l2=settings.l2)

    return descend(network.initial_theta(settings.seed), len(y), slope, settings)


def descend(theta: Floats, n_rows: int, slope: Callable[[Floats, Ints], Floats], settings: WarmStartSection) -> Floats:
    """Adam (Kingma and Ba 2015) on shuffled batches, of which `slope` says the gradient at some weights, with a learning rate that
    falls to zero. Fewer rows than a batch are one batch."""
    random = np.random.Generator(np.random.Philox(settings.seed))
    mean, square = np.zeros(len(theta)), np.zeros(len(theta))
    size = min(BATCH, n_rows)
    n_batches = n_rows // size
    for t in range(1, settings.epochs * n_batches + 1):
        if (t - 1) % n_batches == 0:
            order = random.permutation(n_rows)
        at = order[((t - 1) % n_batches) * size :][:size]
        now = slope(theta, at).astype(np.float64)
        mean, square = 0.9 * mean + 0.1 * now, 0.999 * square + 0.001 * now**2
        rate = settings.learning_rate * (1 - t / (settings.epochs * n_batches + 1))
        step = rate * (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
        theta = (theta - step).astype(np.float32)
    return theta


def taught_together(
    network: NetworkSpec, rows: Sequence[Rows], counts: Sequence[float], settings: WarmStartSection
) -> Floats:
    """Networks (n, P) of several tasks that have all but their last layer in common, each taught by `rows` of its own, which count as
    `counts` says. What one of them alone would make of few rows varies with its seed; together they hardly do."""
    n_trunk = network.n_parameters - network.hidden[-1] - 1
    begun = np.stack([network.initial_theta(settings.seed + i) for i in range(len(rows))])
    theta = np.concatenate([begun[0, :n_trunk], begun[:, n_trunk:].ravel()])
    x, y = (np.concatenate([getattr(part, name) for part in rows]) for name in ("x", "y"))
    task = np.repeat(np.arange(len(rows)), [len(part.y) for part in rows])
    size = min(BATCH, len(y))
    kernels = np.concatenate([np.full(math.prod(shape), len(shape) == 2) for shape in network.shapes])
    decays = np.concatenate([kernels[:n_trunk], np.tile(kernels[n_trunk:], len(rows))])

    def parted(theta: Floats) -> Floats:
        own = theta[n_trunk:].reshape(len(rows), -1)
        out: Floats = np.concatenate([np.broadcast_to(theta[:n_trunk], (len(rows), n_trunk)), own], axis=1)
        return out

    def slope(theta: Floats, at: Ints) -> Floats:
        out: Floats = np.float32(2 * settings.l2) * theta * decays
        networks = parted(theta)
        for i, count in enumerate(counts):
            mine = at[task[at] == i]
            weight = np.full(len(mine), count / size, np.float32)
            part = gradient(network, networks[i], x[mine], y[mine].astype(np.float32), weight)
            out[:n_trunk] += part[:n_trunk]
            own = n_trunk + i * (len(part) - n_trunk)
            out[own : own + len(part) - n_trunk] += part[n_trunk:]
        return out

    return parted(descend(theta, len(y), slope, settings))
