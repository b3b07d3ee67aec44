"""Where heads start: three networks that planted people teach, the scale of each input, and weights of a blend that is fixed.

All of it is public, and costs no epsilon. What a head first reads, and how much each of it counts, is a table here (`BLENDS`), chosen on
folds of train weeks (docs/protocol.md); planted people say the slope and the intercept. Private rounds go on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from client.model.training_rows import TurnRows, head_rows
from server.public.calibration import PublicTurns
from server.public.logistic import logistic
from shared.arrays import Bools, Doubles, Floats, Ints
from shared.errors import ConfigError
from shared.features import FeatureSpec, History
from shared.heads import TASKS, Heads, HeadsStart, crowd_of, pair_shares
from shared.heads.inputs import NETWORKS, input_names, raw_inputs
from shared.network import forward
from shared.register.heads_plan import N_INPUTS, HeadPlan

from .labelled_rows import Rows
from .teaching import USERS, Lesson, few_of_each, joined, public_steps, taught_together

#: Rows of one person that a head's network is taught by, drawn from all.
ROWS_OF_ONE = 60
#: So many rows of a head calibrate it.
PUBLIC_ROWS = 20_000
#: No scale is smaller.
LEAST_SCALE = 1e-3
#: Added to how far a part of a blend is spread over the rows of a head, before it is counted by that.
LEAST_SPREAD = 0.05
#: How much rows of each network count where all three are taught together.
COUNTS = {"interest": 1.0, "lapse": 2.0, "takeoff": 3.0}
#: What a head first reads: how much each part of a blend counts, in the part's own spread, and what a part is made of. The rule of
#: take-offs is the log of the level and half the log of the user's rate, of which the input is the half.
BLENDS: Mapping[str, tuple[tuple[float, Mapping[str, float]], ...]] = {
    "lapse": ((0.35, {"logit_lapse": 1.0}), (-0.35, {"log_level": 1.0}), (0.3, {"bgnbd_gone": 1.0})),
    "takeoff": ((1.0, {"logit_takeoff": 1.0}), (4.0, {"log_level": 1.0, "user_log_rate": 1.0})),
}


class Begun(NamedTuple):
    """What planted people leave: where heads start, and people by whom the head of lapses is calibrated."""

    start: HeadsStart
    lapses: PublicTurns


def heads_start(lesson: Lesson) -> HeadsStart:
    """Where heads of this lesson's plan start. ConfigError without planted people."""
    return begun(lesson).start


@lru_cache(maxsize=4)
def begun(lesson: Lesson) -> Begun:
    """What the people of this lesson teach, once in a process. ConfigError without planted people."""
    if not lesson.warm.users:
        raise ConfigError("expected warm_start.users > 0, planted people whom heads start from, got 0")
    history, random = lesson.history(), np.random.Generator(np.random.Philox(key=[lesson.warm.seed, 1]))
    rows = {"interest": lesson.interest_rows(history)}
    for task in TASKS:
        rows[task] = turn_rows(lesson, history, task, random)
    return _begun(lesson, taught(lesson, rows), rows, _popularity(history))


def taught(lesson: Lesson, rows: Mapping[str, Rows]) -> Floats:
    """The three networks (3, P), of rows of each, whose columns of version 1 they look at."""
    own = lesson.features.n_of_version_1
    parts = [replace(rows[name], x=rows[name].x[:, :own]) for name in NETWORKS]
    return taught_together(lesson.network, parts, [COUNTS[name] for name in NETWORKS], lesson.warm)


def turn_rows(lesson: Lesson, history: History, task: str, random: np.random.Generator) -> Rows:
    """Rows of one head of a planted history (K, C, T), from the first step that p is taught in to the last that is known, at most
    `ROWS_OF_ONE` of a person."""
    first, last = public_steps(lesson.protocol)[0], history.n_steps - 1 - lesson.protocol.lapse_steps
    every = HeadPlan(1, 1.0, max(1, last - first + 1), 1.0, 1.0, 1.0)
    parts = []
    for at in range(0, len(history.active), USERS):
        found = head_rows(history[at : at + USERS], lesson.plan, every, task)
        user, step, _ = np.nonzero(found.chosen)
        parts.append(_where(found, user + at, step + first, few_of_each(user, ROWS_OF_ONE, random)))
    return joined(parts)


def _where(found: TurnRows, user: Ints, step: Ints, keep: Bools) -> Rows:
    return Rows(found.x[keep], found.y[keep] > 0, user[keep], step[keep], found.category[keep])


def _popularity(history: History) -> Floats:
    """Log popularity (C,) among planted people, whose shares of pairs are no secret."""
    total = np.zeros(history.n_categories * (history.n_categories + 1) // 2)
    for at in range(0, len(history.active), USERS):
        total += pair_shares(history.active[at : at + USERS], history.n_categories).sum(axis=0)
    return crowd_of(total / len(history.active), history.n_categories, 0.0).popularity.astype(np.float32)


def _begun(lesson: Lesson, networks: Floats, rows: dict[str, Rows], popularity: Floats) -> Begun:
    """By these networks and rows of all three kinds."""

    def score(theta: Floats, x: Floats) -> Floats:
        return forward(lesson.network, theta, x)

    own = lesson.features.n_of_version_1

    raw = np.concatenate(
        [
            raw_inputs(
                lesson.features,
                part.x,
                np.stack([score(theta, part.x[:, :own]) for theta in networks]),
                popularity[part.category],
            )
            for part in rows.values()
        ]
    )
    centre = raw.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = (raw.std(axis=0, dtype=np.float64) + LEAST_SCALE).astype(np.float32)
    start = HeadsStart(networks, centre, scale, np.zeros((len(TASKS), N_INPUTS), np.float32))
    weights, public = [], {}
    for task in TASKS:
        part = rows[task]
        z = Heads(start, popularity, start.weights).inputs(lesson.features, score, part.x, popularity[part.category])
        weights.append(_fitted(z.astype(np.float64), part.y, _blend(task, lesson.features, scale, z)))
        kept = np.random.Generator(np.random.Philox(lesson.warm.seed)).permutation(len(z))[:PUBLIC_ROWS]
        public[task] = PublicTurns(z[kept], part.y[kept].astype(np.float32))
    return Begun(HeadsStart(networks, centre, scale, np.stack(weights).astype(np.float32)), public["lapse"])


def _blend(task: str, features: FeatureSpec, scale: Floats, z: Floats) -> Doubles:
    """How much each input (28,) counts in the blend that a head starts with, of rows z (n, 28) that `scale` (27,) standardised."""
    blend, names = np.zeros(N_INPUTS), input_names(features)
    for count, made_of in BLENDS[task]:
        part = np.zeros(N_INPUTS)
        for name, weight in made_of.items():
            part[names.index(name)] = weight * scale[names.index(name)]
        part /= np.linalg.norm(part)
        blend += count * part / (float((z @ part).std()) + LEAST_SPREAD)
    return blend


def _fitted(z: Doubles, y: Bools, blend: Doubles) -> Doubles:
    """Weights (28,): slope and intercept of a logistic regression on a blend of the inputs z (n, 28)."""
    score = np.stack([z @ blend, np.ones(len(z))], axis=1)
    slope, intercept = logistic(score, y.astype(np.float32), np.zeros(2))
    weights: Doubles = slope * blend
    weights[-1] += intercept
    return weights
