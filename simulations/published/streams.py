"""Shifts on simulated daily streams: the measurements behind published numbers, with river's detectors to compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..streams.measure import measure
from .measured import Measured

STREAM_SEEDS = 3
RIVER_STREAMS = 1000


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
