"""Where private training starts: a model of planted people, which is public and costs no epsilon.

A purchase history in weeks looks much alike everywhere: a network that has seen made-up shoppers' purchases, counted in
the protocol's windows, already knows most of what there is to learn. What remains is little, so the clip cuts little.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from client.model.training_rows import lapse_rows
from server.risk_start import PublicRows
from shared.arrays import Floats
from shared.events import EventKind, Step
from shared.features import History
from shared.network import NetworkSpec, gradient

from ..scenarios.config import ProtocolSection, WarmStartSection
from .labelled_rows import Rows, rows_of
from .planted import plant
from .setup import Setup

BATCH = 1024
PUBLIC_ROWS = 60_000
USERS = 250


def warm_theta(setup: Setup) -> Floats:
    """Theta 0 from planted people only: float32 (P,). The same setup gives the same weights."""
    return pretrain(setup.plan.network, planted_rows(setup), setup.scenario.warm_start)


def planted_rows(setup: Setup) -> Rows:
    """Labelled rows of planted people's purchases, in the protocol's windows.

    From the first train step to the last step whose label is known: planted people are public in all of time, so the
    first model has seen users of any tenure that a device will meet, and does not extrapolate.
    """
    protocol, warm = setup.protocol, setup.scenario.warm_start
    size = setup.n_categories, warm.users, warm.seed
    data, kinds = setup.scenario.data, setup.plan.features.version == 2
    only = not data.has_other_kinds or (data.name == "planted" and not kinds)
    history = planted_history(protocol, setup.step, *size, purchases_only=only, with_kinds=kinds)
    return rows_of(history, setup.plan.features, protocol.horizon_steps, public_steps(protocol))


def public_steps(protocol: ProtocolSection) -> tuple[int, int]:
    """The steps that planted people teach p in, first and last."""
    return protocol.train_steps[0], protocol.n_steps - 1 - protocol.horizon_steps


def public_history(setup: Setup) -> History:
    """Counters (K, C, T) of the planted people that phi starts from: the warm start's or, without one, of its seed."""
    scenario = setup.scenario
    users = scenario.warm_start.users or scenario.risk.public_users
    only, kinds = not scenario.data.has_other_kinds, setup.plan.features.version == 2
    size = setup.n_categories, users, scenario.warm_start.seed
    return planted_history(setup.protocol, setup.step, *size, purchases_only=only, with_kinds=kinds)


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


def public_lapse_rows(history: History, setup: Setup, seed: int) -> PublicRows:
    """Where phi starts: at most PUBLIC_ROWS lapse rows of a planted history (K, C, T), from the first lapse train step
    to the last that is known, drawn by the seed."""
    protocol, plan, risk = setup.protocol, setup.plan, setup.plan.risk
    assert risk is not None, "a plan that learns phi"
    last = history.n_steps - 1 - protocol.lapse_steps
    every = replace(risk, history_steps=max(1, last - protocol.lapse_train_steps[0] + 1))
    parts = [lapse_rows(history[at : at + USERS], plan, every) for at in range(0, len(history.active), USERS)]
    x, x_before, y = (np.concatenate([getattr(part, k) for part in parts]) for k in ("x", "x_before", "y"))
    chosen = np.random.Generator(np.random.Philox(seed)).permutation(len(y))[:PUBLIC_ROWS]
    return PublicRows(x[chosen], x_before[chosen], y[chosen])


def pretrain(network: NetworkSpec, rows: Rows, settings: WarmStartSection) -> Floats:
    """Adam (Kingma and Ba 2015) on shuffled batches, with a learning rate that falls to zero and L2 on the kernels.
    Fewer rows than a batch are one batch."""
    random = np.random.Generator(np.random.Philox(settings.seed))
    theta, y = network.initial_theta(settings.seed), rows.y.astype(np.float32)
    mean, square = np.zeros(network.n_parameters), np.zeros(network.n_parameters)
    size = min(BATCH, len(y))
    weight = np.full(size, 1 / size, np.float32)
    n_batches = len(y) // size
    for t in range(1, settings.epochs * n_batches + 1):
        if (t - 1) % n_batches == 0:
            order = random.permutation(len(y))
        at = order[((t - 1) % n_batches) * size :][:size]
        slope = gradient(network, theta, rows.x[at], y[at], weight, l2=settings.l2).astype(np.float64)
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        rate = settings.learning_rate * (1 - t / (settings.epochs * n_batches + 1))
        step = rate * (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
        theta = (theta - step).astype(np.float32)
    return theta
