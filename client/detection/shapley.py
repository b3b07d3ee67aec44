"""Which group of features moved a score: exact Shapley values (Shapley 1953, "A value for n-person games") over eight groups."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from shared.arrays import Bools, Doubles, Floats, Ints
from shared.features import FeatureSpec

#: The groups, in the order of the values.
GROUPS = ("silence", "rhythm", "lately", "long run", "trend", "amounts", "elsewhere", "share")


@lru_cache(maxsize=16)
def group_of(features: FeatureSpec) -> Ints:
    """The group of every feature, as a position in GROUPS: int (F,), read-only."""
    lately = features.short_steps[:3]
    names = {
        "silence": ("recency", "log_recency"),
        "rhythm": ("interval", "recency_per_interval"),
        "lately": (*(f"active_{k}" for k in lately), f"log_count_{lately[-1]}", f"ewma_{features.ewma_steps[0]}"),
        "trend": ("ewma_difference",),
        "amounts": tuple(f"log_amount_{k}" for k in (lately[-1], features.window_steps)),
        "elsewhere": tuple(name for name in features.names if name.startswith("user_")),
        "share": ("share_of_user",),
    }
    where = {name: group for group, members in names.items() for name in members}
    out = np.array([GROUPS.index(where.get(name) or _group_of_2(name, features)) for name in features.names])
    out.flags.writeable = False
    return out


def _group_of_2(name: str, features: FeatureSpec) -> str:
    """The group of a feature that version 2 added; of version 1, what is left."""
    if name.startswith("bgnbd_") or name.endswith(("_freshness", "rate_silence", "silent_by_rate")):
        return "silence"
    if name in ("popularity", "neighbours"):
        return "elsewhere"
    if name.startswith("average_log_amount"):
        return "amounts"
    lately = ("average_4", f"log_count_{features.mid_steps}", f"abandoned_{features.mid_steps}", "open_cart")
    return "lately" if name.endswith(lately) else "long run"


@lru_cache(maxsize=4)
def _coalitions(n_groups: int) -> tuple[Bools, Doubles]:
    """Who is in each coalition (2^G, G), and the weights (2^G, G) that make Shapley values of the coalitions' worths."""
    inside = (np.arange(2**n_groups)[:, None] >> np.arange(n_groups)) & 1 == 1
    size = inside.sum(axis=1, keepdims=True)
    each = np.array([1 / (n_groups * math.comb(n_groups - 1, k)) for k in range(n_groups)])
    return inside, np.where(inside, each[np.maximum(size - 1, 0)], -each[np.minimum(size, n_groups - 1)])


def mixtures(features: FeatureSpec, before: Floats, now: Floats) -> Floats:
    """Row `now` (F,) with the groups outside each coalition as in row `before`: (2^G, F); nobody first, everybody last."""
    inside, _ = _coalitions(len(GROUPS))
    return np.where(inside[:, group_of(features)], now, before)


def shapley(worth: Doubles) -> Doubles:
    """Shapley values (..., G) of the worths (..., 2^G) of coalitions, in the order of `mixtures`.

    They sum to worth[..., -1] - worth[..., 0].
    """
    n_groups = worth.shape[-1].bit_length() - 1
    out: Doubles = worth @ _coalitions(n_groups)[1]
    return out
