"""Everybody's events as counters, and the labelled rows that models are fitted to and judged on."""

from __future__ import annotations

import numpy as np

from shared.features import FeatureSpec, History, extract, labels, seen

from .population import Population
from .quality import Rows


def history_of(population: Population) -> History:
    """Everybody's counters (K, C, T)."""
    user = np.repeat(np.arange(population.n_users), np.diff(population.offsets))
    step = np.floor(population.time_s / population.step.seconds).astype(np.int64)
    shape = (population.n_users, len(population.catalogue), population.n_steps)
    return History.from_events(shape, (user, population.category, step), population.kind, population.amount)


def rows_of(history: History, features: FeatureSpec, horizon_steps: int, steps: tuple[int, int]) -> Rows:
    """Every (user, step, category) of steps first..last that the user had engaged with by then."""
    at = np.arange(steps[0], steps[1] + 1)
    chosen = seen(history, at)
    user, step, category = np.nonzero(chosen)
    x = extract(history, features, at)[chosen]
    return Rows(x, labels(history, at, horizon_steps)[chosen], user, at[step], category)
