"""How near a private evaluation comes to the clear one: the same devices' rows, planted people, the mechanism as devices run it.

2,000 devices of at most 64 rows each, 10 % of them silent, 5 % of them not counted on for noise, epsilon .5 at delta 1e-5.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from client.model.recipes import VECTORS, Seen, drawn_rows
from server.insights.readings import auc_of
from shared.arrays import Doubles, Floats, Ints, as_declared, hold_declared
from shared.events import Catalogue
from shared.features import History
from shared.mechanisms import from_grid, protect
from shared.network import forward
from shared.plan import Plan
from shared.register.queries import QueryPlan
from shared.register.recipes import N_BINS, SCORE_WEIGHTS_CENTI

from ..people.labelled_rows import rows_of
from ..people.setup import Crowd, Setup
from ..people.teaching import planted_history, pretrain, public_steps
from ..scenarios.config import WarmStartSection, load_scenario

#: By calendar: the scenario, categories, how often it is asked for, in steps; whether people's purchases are all that counts; and
#: the clip that was chosen: where devices have as many rows as they may, it is larger.
CALENDARS = {"days": ("demo", 12, 28, False, 18.0), "weeks": ("complete-journey-eps1", 30, 4, True, 9.0)}
DEVICES, ROWS, TEACHERS = 2000, 64, 600
DRAWS, SILENT = 100, 0.1
#: Noise is made of so many devices at once.
CHUNK = 250


@dataclass(frozen=True)
class Crowded:
    """Planted people of one calendar, whom a model of other planted people scores; `told` by whom, in their raw histograms."""

    setup: Setup
    query: QueryPlan
    theta: Floats
    scores: Floats
    history: History

    def __post_init__(self) -> None:
        hold_declared(self)

    @property
    def plan(self) -> Plan:
        return self.setup.plan

    @as_declared
    def seen(self, numbers: Ints, round_number: int = 1) -> Seen:
        """What some of them know at the step that is asked for."""

        def score(x: Floats) -> Floats:
            return forward(self.plan.network, self.theta, x)

        history, nothing = self.history[numbers], np.empty((0, 5), np.int64)
        return Seen(self.plan, self.query, history, score, nothing, numbers, round_number, self.history.n_steps - 1)

    def answering(self) -> Ints:
        """Who is not silent: the same ones every time."""
        random = np.random.Generator(np.random.Philox(1))
        return np.flatnonzero(random.random(len(self.history.active)) >= SILENT)

    @as_declared
    def rows(self, numbers: Ints) -> Doubles:
        """Rows of each by label and bin, without weights: (K, 2, N_BINS)."""
        weighted = VECTORS["evaluation"](self.seen(numbers)).reshape(-1, 2, N_BINS)
        unweighted: Doubles = weighted / (np.array(SCORE_WEIGHTS_CENTI) / 100)
        return unweighted


def crowd(calendar: str, seed: int, devices: int = DEVICES) -> Crowded:
    """Planted people of a seed, taught by those of seed 100, as of the step of the first evaluation."""
    name, categories, every, purchases_only, clip_norm = CALENDARS[calendar]
    asked = [
        f"evaluation.every_steps={every}",
        f"evaluation.clip_norm={clip_norm}",
        "evaluation.answering=0.9",
        "privacy.max_epsilon=inf",
    ]
    names = Catalogue(tuple(f"category {i}" for i in range(categories)))
    setup = Setup.of(load_scenario(name, asked), Crowd(devices, names))
    query, protocol = setup.plan.queries[0], setup.protocol
    size = protocol, setup.step, categories
    teachers = planted_history(*size, TEACHERS, 100, purchases_only=purchases_only)
    taught = rows_of(teachers, setup.plan.features, protocol.horizon_steps, public_steps(protocol))
    theta = pretrain(setup.plan.network, taught, WarmStartSection(users=TEACHERS))
    scores = forward(setup.plan.network, theta, taught.x)
    step = next(at for at in range(protocol.train_at + 1, protocol.n_steps) if query.is_due(at))
    history = planted_history(*size, devices, seed, purchases_only=purchases_only).until(step)
    return Crowded(setup, query, theta, scores, history)


@dataclass(frozen=True)
class Errors:
    """Of a private AUC against the clear one, over all draws: root of the mean square; what bins alone are off by, and clips after
    them (each without noise); the spread that noise makes; and how often the interval held what has no noise."""

    clear: float
    rms: float
    bins: float
    clip: float
    noise: float
    coverage: float


def errors_of(people: Crowded, *, query: QueryPlan | None = None, draws: int = DRAWS) -> Errors:
    """The errors of so many evaluations of the same people, by other noise each."""
    query = query or people.query
    numbers = people.answering()
    about = people.seen(numbers)
    _, x, y = drawn_rows(about)
    clear = float(roc_auc_score(y, about.score(x)))
    vectors = VECTORS["evaluation"](about)
    binned = _auc(vectors.sum(axis=0), 0.0)
    quiet = _sum(vectors, query, 0.0)
    clipped = _auc(quiet, 0.0)
    sd = query.privacy.grid_step * query.privacy.share_sigma * np.sqrt(len(numbers))
    found, held = [], 0
    for _ in range(draws):
        told = auc_of(_sum(vectors, query, query.privacy.share_sigma), sd)
        assert told is not None, "more rows than noise"
        found.append(told.estimate)
        held += told.low <= clipped <= told.high
    rms = float(np.sqrt(np.mean((np.array(found) - clear) ** 2)))
    return Errors(clear, rms, binned - clear, clipped - binned, float(np.std(found)), held / draws)


def _auc(values: Doubles, noise_sd: float) -> float:
    told = auc_of(values, noise_sd)
    assert told is not None, "rows of both labels"
    return told.estimate


def _sum(vectors: Doubles, query: QueryPlan, share_sigma: float) -> Doubles:
    """The sum of what devices hand out, in weighted rows: each clipped, on the grid, with a share of noise."""
    privacy, total = query.privacy, np.zeros(query.n_values, np.uint32)
    for at in range(0, len(vectors), CHUNK):
        total += protect(
            vectors[at : at + CHUNK],
            clip_norm=privacy.clip_norm,
            steps_per_clip=privacy.steps_per_clip,
            share_sigma=share_sigma,
            entropy=os.urandom,
        ).sum(axis=0, dtype=np.uint32)
    return from_grid(total, privacy.grid_step)
