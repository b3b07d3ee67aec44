"""Users live through steps: features, chances, detector, quiet time and budget of each, one step after the other.

What moves along is what features are made of (`people.py`); all else is the devices' own code. Few users read all their steps before
the next do, then many are judged at each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.detection.chances import Chances, Weights, chances_at
from client.detection.risk_levels import risk_levels
from client.detection.watch import Watch
from shared.arrays import Bools, Floats, Ints, as_declared, hold_declared
from shared.features import History
from shared.network import forward
from shared.plan import Plan

from .people import People

#: Users that are judged together; and rows of features that are made at once, of as few of them as have so many in all steps: little
#: enough for what they are made of to stay near the processor, enough for arrays to be worth it.
LIVE_USERS, READ_ROWS = 512, 8192


@dataclass(frozen=True)
class Lived:
    """What users (K,) read of their interests at the close of steps (S,), p and phi (S, K, C), NaN where nothing is known; and the
    alerts that they were shown (n,): whose, at which of the steps, direction, category, level, and since when (-1: not known)."""

    p: Floats
    lapse: Floats
    user: Ints
    step: Ints
    direction: Ints
    category: Ints
    level: Ints
    began: Ints

    def __post_init__(self) -> None:
        hold_declared(self)


@as_declared
def lived_through(history: History, plan: Plan, theta: Floats, steps: range) -> Floats:
    """p (K, S, C) of past steps of users (K, C, T), as the plan's detector observes it: NaN of a category that its user had not touched
    by then, and under the CUSUM where a burst holds the stream."""
    p = np.empty((len(history.active), len(steps), history.n_categories), np.float32)
    for users in few(history, len(steps)):
        people = People(plan.read_features.of(history[users]), plan.features, bursts=_asks_of_bursts(plan))
        people.close(steps)
        asked = people.known() & ~people.held()
        p[users] = np.where(asked, forward(plan.network, theta, people.rows()), np.float32(np.nan))
    return p


def few(history: History, n_steps: int) -> Iterator[slice]:
    """The users (K,) of a history, as few at a time as have `READ_ROWS` in so many steps."""
    n_users, at_once = len(history.active), max(1, READ_ROWS // (n_steps * history.n_categories))
    return (slice(first, first + at_once) for first in range(0, n_users, at_once))


def _asks_of_bursts(plan: Plan) -> bool:
    return plan.detection.detector == "cusum"


def can_live(plan: Plan) -> bool:
    """Whether users live here under a plan: not where its detector reads counters on its own."""
    return plan.detection.detector != "slow_average"


def live(history: History, plan: Plan, weights: Weights, watch: Watch, steps: range) -> Lived:
    """What comes of `steps` for users of a history (K, C, T), of which no later step is looked at; their `watch` moves along, in place.
    The steps follow those that the watch has seen."""
    shape = (len(steps), *history.active.shape[:-1])
    read = Chances(*np.empty((3, *shape), np.float32))
    watched, held = np.empty((2, *shape), bool)
    for users in few(history, len(steps)):
        some = _read(history[users], plan, weights, steps)
        for whole, part in zip((*read, watched, held), some, strict=True):
            whole[:, users] = np.moveaxis(part, 1, 0)
    found: list[Ints] = [np.empty((6, 0), np.int64)]
    for at, step in enumerate(steps):
        chances = Chances(*(one[at] for one in read))
        calm = np.where(held[at], np.float32(np.nan), chances.p)
        raised = watch.judge(plan.detection, step, chances._replace(p=calm), watched[at])
        if raised.any():
            found.append(_told(raised, chances, step, watch.since()))
    return Lived(read.p, read.lapse, *np.concatenate(found, axis=1))


def _read(history: History, plan: Plan, weights: Weights, steps: range) -> tuple[NDArray[Any], ...]:
    """What devices read at the close of `steps`, (K, S, C) each: the chances, which interests are watched, which a burst holds."""

    def score(theta: Floats, x: Floats) -> Floats:
        return forward(plan.network, theta, x)

    detection = plan.detection
    back = plan.risk.rate_steps if plan.risk is not None and weights.risk.size else 0
    every, here = np.arange(max(steps.start - back, 0), steps.stop), slice(-len(steps), None)
    people = People(plan.read_features.of(history), plan.read_features, bursts=_asks_of_bursts(plan))
    people.close(every)
    x, known = people.rows(), people.known()
    p = np.where(known, score(weights.theta, x[..., : plan.features.n_features]), np.float32(np.nan))
    before = p[:, np.maximum(every[here] - back, 0) - every[0]] if back else None
    chances = chances_at(plan, weights, score, x[:, here], known[:, here], p[:, here], before)
    watched = people.watched(detection.min_active_steps, detection.lapse_steps)
    return (*chances, watched[:, here], people.held()[:, here])


def _told(raised: Bools, chances: Chances, step: int, since: Ints) -> Ints:
    """The alerts of one step, by user, direction and category: (6, n)."""
    where = user, direction, category = np.nonzero(raised)
    levels = risk_levels(Chances(*(one[user] for one in chances)))[np.arange(user.size), direction, category]
    return np.stack([user, np.full_like(user, step), direction, category, levels, since[where]])
