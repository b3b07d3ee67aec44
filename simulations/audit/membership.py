"""Whether the model that a run published tells who taught it, where the run held users out: by their loss alone.

Who attacks knows everybody's rows, and takes people for trained whose loss is small (Yeom et al. 2018, "Privacy Risk in Machine
Learning", section 3.1). What counts is how many are found while next to nobody is taken for trained who is not (Carlini et al. 2022,
"Membership Inference Attacks From First Principles"). An attack that compares with other trainings: `simulations/attacks/membership.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from sklearn.metrics import roc_auc_score

from shared.arrays import Bools, Doubles, Floats, as_declared
from shared.network import NetworkSpec, forward

from ..federation.run_folder import RunFolder
from ..people.labelled_rows import SCORE_USERS, Rows, history_of, rows_of
from ..people.population import Population
from ..people.setup import Setup

FALSE_RATE: Final = 0.01


@dataclass(frozen=True)
class Found:
    """Trainings attacked: of each the AUC of trained people against held-out ones; and of all together the share of the trained
    that are found where one in a hundred of the held-out is taken for one."""

    aucs: tuple[float, ...]
    found: float


@dataclass(frozen=True)
class Membership:
    """What is told of a run's model: AUC of trained people against those held out, its spread (standard deviation) by chance, and
    the share of the trained that is found at `FALSE_RATE`."""

    auc: float
    by_chance_sd: float
    found_at_one_percent: float


def membership_of(run: RunFolder, setup: Setup, population: Population) -> Membership | None:
    """The attack on the newest model of a run; None where nobody was held out, or nobody has rows on one side."""
    held_out = run.held_out()
    if held_out is None:
        return None
    plan, steps, theta, parts = setup.plan, setup.protocol.train_steps, run.server.models()[-1], []
    population = replace(population, truth=None)  # which taking some of the users would look through each time
    for first in range(0, population.n_users, SCORE_USERS):
        some = population.take(np.arange(first, min(first + SCORE_USERS, population.n_users)))
        history = history_of(some, plan.features).until(steps[1] + plan.horizon_steps)
        rows = rows_of(history, plan.features, plan.horizon_steps, steps)
        parts.append(losses_of(plan.network, theta, rows, some.n_users))
    losses = np.concatenate(parts)
    known = np.isfinite(losses)
    n_inside, n_outside = int((known & ~held_out).sum()), int((known & held_out).sum())
    if not (n_inside and n_outside):
        return None
    found = judged(-losses[None], held_out[None])
    return Membership(found.aucs[0], math.sqrt((n_inside + n_outside + 1) / (12 * n_inside * n_outside)), found.found)


@as_declared
def losses_of(network: NetworkSpec, theta: Floats, rows: Rows, n_users: int) -> Doubles:
    """The mean log loss of every user's rows under a model: (K,); NaN without rows."""
    p = np.clip(forward(network, theta, rows.x).astype(np.float64), 1e-7, 1 - 1e-7)
    loss = -np.log(np.where(rows.y, p, 1 - p))
    n = np.bincount(rows.user, minlength=n_users)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(rows.user, loss, minlength=n_users) / n)


@as_declared
def judged(scores: Doubles, held_out: Bools) -> Found:
    """How well scores (T, K) tell those who trained from those held out (T, K)."""
    known = np.isfinite(scores)
    aucs = (roc_auc_score(~away[k], score[k]) for score, away, k in zip(scores, held_out, known, strict=True))
    inside, outside = scores[known & ~held_out], scores[known & held_out]
    line = np.sort(outside)[-1 - int(FALSE_RATE * len(outside))]
    return Found(tuple(float(auc) for auc in aucs), float(np.mean(inside > line)))
