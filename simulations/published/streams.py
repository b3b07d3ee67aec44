"""Shifts on simulated daily streams: the measurements behind published numbers, with river's detectors to compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..streams.beginnings import beginnings
from ..streams.measure import measure
from .measured import Measured

STREAM_SEEDS = 3
RIVER_STREAMS = 1000
#: Users of each kind and change whose shifts are dated.
DATED_USERS = 400


def stream_numbers() -> dict[str, Measured]:
    """Recall and delay at the full counts; river's detectors on the first seed. About five minutes."""
    runs = [measure(n_river_streams=0 if seed else RIVER_STREAMS, seed=seed)["rows"] for seed in range(STREAM_SEEDS)]
    ours, baselines = [rows[0] for rows in runs], [row for row in runs[0][1:] if "river" in row["name"]]

    def number(unit: str, pick: Callable[[Mapping[str, Any]], float | None]) -> Measured:
        values = [pick(row) for row in ours]
        baseline = "; ".join(f"{row['name']} {pick(row)}" for row in baselines)
        return Measured.over([value for value in values if value is not None], unit, baseline)

    over_budget = [row["users_over_budget"] for row in ours]
    return {
        "streams.drop_recall": number("share", lambda row: row["changes"]["drop"]["recall"]),
        "streams.drop_delay_days": number("days", lambda row: row["changes"]["drop"]["median_delay"]),
        "streams.gradual_recall": number("share", lambda row: row["changes"]["gradual"]["recall"]),
        "streams.sparse_recall": number("share", lambda row: row["drops"]["sparse"]["recall"]),
        "streams.small_recall": number("share", lambda row: row["changes"]["small"]["recall"]),
        "streams.users_over_budget": Measured.over(over_budget, "share of users", "without the bucket; with it, 0"),
    }


def began_numbers() -> dict[str, Measured]:
    """How far the start of a shift that an alert tells lies from the planted one. Under a minute."""
    runs = [beginnings(DATED_USERS, seed) for seed in range(STREAM_SEEDS)]
    alert = f"the alert itself {np.median(np.concatenate([late for _, late in runs])):g} days after it"
    out = {"streams.began_median_days": Measured.over([float(np.median(off)) for off, _ in runs], "days", alert)}
    for name, share in (("low", 0.1), ("high", 0.9)):
        out[f"streams.began_{name}_days"] = Measured.over([float(np.quantile(off, share)) for off, _ in runs], "days")
    near = [float((np.abs(off) <= 3).mean()) for off, _ in runs]
    return {**out, "streams.began_near": Measured.over(near, "share within 3 days")}
