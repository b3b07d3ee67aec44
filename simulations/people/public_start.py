"""Where private training starts: a model of planted people, which is public and costs no epsilon.

A purchase history in weeks looks much alike everywhere: a network that has seen made-up shoppers' purchases, counted in
the protocol's windows, already knows most of what there is to learn. What remains is little, so the clip cuts little.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from client.model.training_rows import lapse_rows
from server.public.risk_start import PublicRows
from shared.arrays import Floats
from shared.features import History

from .labelled_rows import Rows
from .setup import Setup
from .teaching import Lesson, planted_history, pretrain

PUBLIC_ROWS = 60_000
USERS = 250


def warm_theta(setup: Setup) -> Floats:
    """Theta 0 from planted people only: float32 (P,). The same setup gives the same weights, whether heads are learned or not."""
    return pretrain(setup.plan.network, planted_rows(setup), setup.scenario.warm_start)


def planted_rows(setup: Setup) -> Rows:
    """Labelled rows of planted people's purchases, in the protocol's windows."""
    lesson = Lesson.of(setup.scenario, setup.protocol, setup.n_categories, setup.plan, setup.plan.features)
    return lesson.interest_rows(lesson.history())


def public_history(setup: Setup) -> History:
    """Counters (K, C, T) of the planted people that phi starts from: the warm start's or, without one, of its seed."""
    scenario = setup.scenario
    users = scenario.warm_start.users or scenario.risk.public_users
    only, features = not scenario.data.has_other_kinds, setup.plan.features
    size = setup.n_categories, users, scenario.warm_start.seed
    return features.of(
        planted_history(setup.protocol, setup.step, *size, purchases_only=only, with_kinds=features.counts_kinds)
    )


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
