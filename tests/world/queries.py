"""Queries of the recipes for tests' plans."""

from typing import Any

from shared.plan import PrivacyPlan
from shared.register.queries import QueryPlan
from tests.world.basics import N_CATEGORIES

#: What protects them, where a test says nothing: no noise, so that sums can be compared.
QUIET: dict[str, Any] = {
    "clip_norm": 1000.0,
    "noise_multiplier": 0.0,
    "sampling_rate": 1.0,
    "rounds": 4,
    "population": 8,
    "min_survivors": 2,
    "steps_per_clip": 2**20,
}


def evaluation(every_steps: int = 5, *, rows: int = 64, history_steps: int = 10, **privacy: Any) -> QueryPlan:
    return QueryPlan("evaluation", 1, every_steps, (rows, history_steps), PrivacyPlan(**{**QUIET, **privacy}))


def counts(every_steps: int = 5, categories: int = N_CATEGORIES, **privacy: Any) -> QueryPlan:
    return QueryPlan("alert_counts", 1, every_steps, (categories,), PrivacyPlan(**{**QUIET, **privacy}))
