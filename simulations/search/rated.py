"""Whether what an app knows of a user's taste, a rating in -1..1 and whether there is one, is worth two more inputs of p.

No data set within reach has ratings, so people are planted, and a rating truly tells of them: it is how often a person buys in a category,
over all weeks, standardised, with as much noise again, squashed; half of all pairs have one. A round is that of complete-journey-eps1: its
clip, its rates and its noise, in floating point. How a model comes by what ratings mean:

- none: it has no such inputs;
- rounds, noiseless: private rounds alone say it, with noise and without any; where they start, ratings count nothing;
- assumed, mistaken: planted teachers have such ratings, too; those of real people mean the same, or nothing;
- pooled, pooled_none: one network of everybody's rows, with such inputs and without.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from server.optimizer import ServerOptimizer, ServerSettings
from shared.arrays import Floats, as_declared
from shared.events import Catalogue
from shared.features import History, extract, labels, seen
from shared.network import NetworkSpec, forward, gradient

from ..evaluation.quality import auc
from ..people.labelled_rows import Rows, rows_of
from ..people.of_scenario import protocol_of
from ..people.setup import Crowd, Setup
from ..people.teaching import Lesson, planted_history, pretrain, public_steps
from ..scenarios.config import load_scenario

SCENARIO: Final = "complete-journey-eps1"
USERS, TEACHERS, CATEGORIES, TOLD = 2456, 3000, 12, 0.5
FIRST_SEED, POOLED_EPOCHS, CHUNK = 1000, 20, 256
WAYS: Final = ("none", "rounds", "noiseless", "assumed", "mistaken", "pooled_none", "pooled")


def rated_aucs(seed: int) -> dict[str, float]:
    """By way, the AUC on the test weeks of planted people whom nobody was taught by; the draws are the seed's."""
    scenario, names = load_scenario(SCENARIO), tuple(str(i) for i in range(CATEGORIES))
    protocol = protocol_of(scenario)
    setup = Setup.of(scenario, Crowd(USERS, Catalogue(names)), protocol)
    lesson = Lesson.of(scenario, protocol, CATEGORIES, setup.plan, setup.plan.features)
    lesson = replace(lesson, warm=lesson.warm.model_copy(update={"users": TEACHERS, "seed": lesson.warm.seed + seed}))
    teachers, people = lesson.history(), planted_history(protocol, setup.step, CATEGORIES, USERS, FIRST_SEED + seed)
    random = np.random.Generator(np.random.Philox(seed))
    told, of_teachers = ratings(people, random), ratings(teachers, random)
    mistaken = random.permutation(told.reshape(-1, 2)).reshape(told.shape)
    plain = setup.plan.network
    wide = NetworkSpec(plain.n_features + told.shape[-1], plain.hidden)
    begun = pretrain(plain, rated_rows(lesson, teachers, public_steps(protocol)), lesson.warm)
    assuming = pretrain(wide, rated_rows(lesson, teachers, public_steps(protocol), of_teachers), lesson.warm)
    known = plain.n_features * plain.hidden[0]
    blank = np.insert(begun, known, np.zeros(wide.n_parameters - plain.n_parameters, np.float32))
    longer, out = lesson.warm.model_copy(update={"epochs": POOLED_EPOCHS}), {}
    for way, network, theta, has in (
        ("none", plain, begun, None),
        ("rounds", wide, blank, told),
        ("noiseless", wide, blank, told),
        ("assumed", wide, assuming, told),
        ("mistaken", wide, assuming, mistaken),
        ("pooled_none", plain, None, None),
        ("pooled", wide, None, told),
    ):
        if theta is None:
            learned = pretrain(network, rated_rows(lesson, people, protocol.train_steps, has), longer)
        else:
            learned = after_rounds(setup, network, theta, people, has, None if way == "noiseless" else random)
        rows = rated_rows(lesson, people, protocol.test_steps, has)
        value = auc(rows.y, forward(network, learned, rows.x))
        assert value is not None, "people who come again, and people who do not"
        out[way] = value
    return out


@as_declared
def ratings(people: History, random: np.random.Generator) -> Floats:
    """What an app is told of each pair, and whether it is told anything: (K, C, 2)."""
    often = np.log(people.active.mean(axis=-1) + 0.5 / people.n_steps)
    taste = (often - often.mean()) / often.std()
    told = random.random(taste.shape) < TOLD
    return np.stack([np.tanh(taste + random.normal(size=taste.shape)) * told, told], axis=-1).astype(np.float32)


@as_declared
def rated_rows(lesson: Lesson, people: History, steps: tuple[int, int], has: Floats | None = None) -> Rows:
    """The rows of people in these steps, with what their app is told (K, C, 2) behind the features."""
    rows = rows_of(people, lesson.features, lesson.protocol.horizon_steps, steps)
    return rows if has is None else replace(rows, x=np.concatenate([rows.x, has[rows.user, rows.category]], axis=1))


@as_declared
def after_rounds(
    setup: Setup,
    network: NetworkSpec,
    theta: Floats,
    people: History,
    has: Floats | None,
    random: np.random.Generator | None,
) -> Floats:
    """Theta (P,) after the scenario's private rounds, with everybody in each and all rows of a device, which are no more than it may
    take; `random` makes the noise, None: none."""
    plan, server = setup.plan, setup.scenario.server
    last = setup.protocol.train_steps[1]
    at = np.arange(last - plan.training.history_steps + 1, last + 1)
    x, n = extract(people, plan.features, at), len(people.active)
    if has is not None:
        x = np.concatenate([x, np.broadcast_to(has[:, None], (*x.shape[:-1], has.shape[-1]))], axis=-1)
    assert len(at) * people.n_categories <= plan.training.rows
    x, y = x.reshape(n, -1, x.shape[-1]), labels(people, at, plan.horizon_steps).reshape(n, -1).astype(np.float32)
    weight = (seen(people, at).reshape(n, -1) / plan.training.rows).astype(np.float32)
    optimizer = ServerOptimizer(theta, ServerSettings(server.learning_rate, server.momentum, server.tail))
    clip = plan.privacy.clip_norm
    for _ in range(plan.privacy.rounds):
        now = optimizer.theta.astype(np.float32)
        total = np.zeros(len(now))
        for first in range(0, n, CHUNK):
            part = slice(first, first + CHUNK)
            everyone = np.broadcast_to(now, (len(x[part]), len(now)))
            delta = -plan.training.learning_rate * gradient(network, everyone, x[part], y[part], weight[part])
            norm = np.linalg.norm(delta, axis=1, keepdims=True)
            total += (delta * np.minimum(1, clip / np.maximum(norm, clip * 1e-9))).sum(axis=0)
        if random is not None:
            total += random.normal(0, plan.privacy.noise_multiplier * clip, len(total))
        optimizer.step(total / n)
    return optimizer.published
