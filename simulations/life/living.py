"""Users live through steps: features, chances, detector, quiet time and budget of each, one step after the other.

What moves along is what features are made of (`people.py`) and the p's that phi looks back at; all else is the devices' own code, over
arrays of one step.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from client.detection.chances import Chances, Weights, chances_at
from client.detection.risk_levels import risk_levels
from client.detection.watch import Watch
from shared.arrays import Bools, Floats, Ints, as_declared, hold_declared
from shared.features import History
from shared.network import forward
from shared.plan import Plan

from .people import People

#: Users that live together: few enough for what they are made of to stay near the processor, enough for arrays to be worth it.
LIVE_USERS = 512


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
    people = People(plan.read_features.of(history), plan.features, bursts=plan.detection.detector == "cusum")
    p = np.empty((len(history.active), len(steps), history.n_categories), np.float32)
    for i, step in enumerate(steps):
        people.close(step)
        asked = people.known() & ~people.held()
        p[:, i] = np.where(asked, forward(plan.network, theta, people.rows()), np.float32(np.nan))
    return p


def can_live(plan: Plan) -> bool:
    """Whether users live here under a plan: not where its detector reads counters on its own."""
    return plan.detection.detector != "slow_average"


def live(history: History, plan: Plan, weights: Weights, watch: Watch, steps: range) -> Lived:
    """What comes of `steps` for users of a history (K, C, T), of which no later step is looked at; their `watch` moves along, in place.
    The steps follow those that the watch has seen."""

    def score(theta: Floats, x: Floats) -> Floats:
        return forward(plan.network, theta, x)

    detection = plan.detection
    people = People(plan.read_features.of(history), plan.read_features, bursts=detection.detector == "cusum")
    back = plan.risk.rate_steps if plan.risk is not None and weights.risk.size else 0
    before: deque[Floats] = deque(maxlen=back + 1)
    p, lapse = (np.empty((len(steps), *history.active.shape[:-1]), np.float32) for _ in range(2))
    found: list[Ints] = [np.empty((6, 0), np.int64)]
    for step in range(max(steps.start - back, 0), steps.stop):
        people.close(step)
        x, known = people.rows(), people.known()
        now = np.where(known, score(weights.theta, x[..., : plan.features.n_features]), np.float32(np.nan))
        before.append(now)
        if step < steps.start:
            continue
        chances = chances_at(plan, weights, score, x, known, now, before[0] if back else None)
        at = step - steps.start
        p[at], lapse[at] = chances.p, chances.lapse
        watched = people.watched(detection.min_active_steps, detection.lapse_steps)
        calm = np.where(people.held(), np.float32(np.nan), now)
        raised = watch.judge(detection, step, chances._replace(p=calm), watched)
        if raised.any():
            found.append(_told(raised, chances, step, watch.since()))
    return Lived(p, lapse, *np.concatenate(found, axis=1))


def _told(raised: Bools, chances: Chances, step: int, since: Ints) -> Ints:
    """The alerts of one step, by user, direction and category: (6, n)."""
    where = user, direction, category = np.nonzero(raised)
    levels = risk_levels(Chances(*(one[user] for one in chances)))[np.arange(user.size), direction, category]
    return np.stack([user, np.full_like(user, step), direction, category, levels, since[where]])
