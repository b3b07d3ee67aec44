"""Hosted devices close steps: what each reads of its interests then, and the alerts that it is shown.

Two ways, the same alerts: what features are made of moves along where loops are machine code (`simulations/life/`), and is counted
again at every step, over arrays of whole histories, where they are not. The arrays are the reference.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from client.detection.chances import Chances, Weights, as_ruled, chances_of, recent_rows
from client.detection.policy import POLICY, segments
from client.detection.watch import Watch, observed
from shared.arrays import Floats, Ints, as_declared
from shared.features import History, extract, seen
from shared.network import forward
from shared.plan import Plan

from ...life.compiled import IS_COMPILED
from ...life.living import LIVE_USERS, can_live, live, lived_through
from ...people.labelled_rows import SCORE_USERS, users_of
from ..alert_table import ShownAlerts

#: A closed step, p (K, C) at its close, and the alerts that were shown then.
Closed = tuple[int, Floats, ShownAlerts]


@as_declared
def look_back(history: History, plan: Plan, theta: Floats, steps: range) -> Floats:
    """p (K, S, C) of past steps of users (K, C, T), as the plan's detector observes it when a model arrives: NaN where a user had not
    touched a category by then, or where a burst holds it."""
    return (back_one_after_the_other if IS_COMPILED else back_by_arrays)(history, plan, theta, steps)


@as_declared
def back_by_arrays(history: History, plan: Plan, theta: Floats, steps: range) -> Floats:
    """`look_back`, over arrays of whole histories."""
    now, at = plan.read_features.of(history.until(steps[-1])), np.array(steps)
    parts = [
        forward(plan.network, theta, extract(users_of(now, first), plan.features, at))
        for first in range(0, len(now.active), SCORE_USERS)
    ]
    return observed(plan, now, at, np.where(seen(now, at), np.concatenate(parts), np.float32(np.nan)))


@as_declared
def back_one_after_the_other(history: History, plan: Plan, theta: Floats, steps: range) -> Floats:
    """`look_back`, a few users through all steps before the next ones."""
    firsts = range(0, len(history.active), LIVE_USERS)
    return np.concatenate([lived_through(history[at : at + LIVE_USERS], plan, theta, steps) for at in firsts])


def close_steps(history: History, plan: Plan, weights: Weights, watch: Watch, steps: range) -> Iterator[Closed]:
    """Close `steps` of the users of a history (K, C, T), one after the other; their `watch` moves along, in place. The steps follow
    those that the watch has seen, and all of them have to be taken."""
    way = one_after_the_other if IS_COMPILED and can_live(plan) else by_arrays
    return way(history, plan, weights, watch, steps)


def by_arrays(history: History, plan: Plan, weights: Weights, watch: Watch, steps: range) -> Iterator[Closed]:
    """`close_steps`, over arrays of whole histories."""
    for step in steps:
        now = plan.read_features.of(history.until(step))
        chances = read_by_arrays(now, plan, weights, step)
        fired, levels, began = watch.see(plan, now, step, chances)
        where = user, direction, category = np.nonzero(fired)
        told = user, np.full_like(user, step), direction, category, levels[where], began[where]
        yield step, chances.p, _shown(history, plan, step, *told)


def read_by_arrays(history: History, plan: Plan, weights: Weights, step: int) -> Chances:
    """What devices read of their interests (K, C) as of the close of a step, with which the history ends, as `Device` reads it."""
    parts = []
    for first in range(0, len(history.active), SCORE_USERS):
        some = users_of(history, first)
        x, known = recent_rows(some, plan, step)
        found = chances_of(plan, weights, lambda theta, rows: forward(plan.network, theta, rows), x, known)
        parts.append(as_ruled(plan, found, some))
    return Chances(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def one_after_the_other(history: History, plan: Plan, weights: Weights, watch: Watch, steps: range) -> Iterator[Closed]:
    """`close_steps`, a few users through all steps before the next ones."""
    if not steps:
        return
    p = np.empty((len(steps), *history.active.shape[:-1]), np.float32)
    found = []
    for first in range(0, len(history.active), LIVE_USERS):
        users = slice(first, first + LIVE_USERS)
        lived = live(history[users], plan, weights, watch.of_users(users), steps)
        p[:, users] = lived.p
        told = lived.user + first, lived.step, lived.direction, lived.category, lived.level, lived.began
        found.append(np.stack(told))
    watch.last_step[:] = steps[-1]
    every: Ints = np.concatenate(found, axis=1)
    for step, of_step in zip(steps, p, strict=True):
        yield step, of_step, _shown(history, plan, step, *every[:, every[1] == step])


def _shown(
    history: History,
    plan: Plan,
    step: int,
    user: Ints,
    steps: Ints,
    direction: Ints,
    category: Ints,
    level: Ints,
    began: Ints,
) -> ShownAlerts:
    """Alerts of one step as apps show them."""
    segment = segments(plan.read_features.of(history[user].until(step)), plan.features.window_steps)
    return ShownAlerts(
        user, steps, direction, category, level, segment, POLICY.choose(segment, direction, level), began
    )
