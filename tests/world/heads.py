"""A start of heads that nobody taught, and plans that learn from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from shared.heads import HeadsStart
from shared.heads.inputs import NETWORKS
from shared.network import NetworkSpec
from shared.plan import Plan, PrivacyPlan
from shared.register.heads_plan import N_INPUTS, HeadPlan, HeadsPlan

from .basics import CATALOGUE, NETWORK, make_plan, version_2


def make_start(network: NetworkSpec, seed: int = 0) -> HeadsStart:
    """Networks as they are before anybody learns, inputs that are not moved, and small weights."""
    random = np.random.default_rng(seed)
    networks = np.stack([network.initial_theta(seed + i) for i in range(len(NETWORKS))])
    weights = random.normal(0, 0.3, (2, N_INPUTS)).astype(np.float32)
    return HeadsStart(networks, np.zeros(N_INPUTS - 1, np.float32), np.ones(N_INPUTS - 1, np.float32), weights)


def make_heads(start: HeadsStart, *, privacy: dict[str, Any] | None = None, **changes: Any) -> HeadsPlan:
    """How heads are learned from a start, for `make_plan(heads=...)`; the arguments replace single numbers."""
    base = {"clip_norm": 1.0, "noise_multiplier": 1.0, "sampling_rate": 1.0, "population": 8, "min_survivors": 2}
    base |= {"rounds": 1, **(privacy or {})}
    return HeadsPlan(
        **{
            "features": version_2()["features"],
            "inputs_version": 1,
            "start_sha256": start.sha256,
            "n_categories": len(CATALOGUE),
            "lapse": HeadPlan(8, 16.0, 10, 0.5, 1.0, 0.6),
            "takeoff": HeadPlan(8, 4.0, 10, 1.0, 1.0, 0.4),
            "crowd": PrivacyPlan(**base),
            "curvature": PrivacyPlan(**base),
            "updates": PrivacyPlan(**{**base, "rounds": 2}),
            **changes,
        }
    )


def heads_plan(start: HeadsStart | None = None, **changes: Any) -> Plan:
    """`make_plan` with heads, which look at more than p does."""
    detection = {"detector": "risk", "takeoff_line": 0.25, **changes.pop("detection", {})}
    heads = changes.pop("heads", None) or make_heads(start or make_start(NETWORK))
    return make_plan(**{"heads": heads, "detection": detection, **changes})
