"""Sums that a run asked for besides training, as its server knows them: how many answered, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..results import SumAnswered, SumBin


def answered_sums(told: Sequence[Mapping[str, Any]]) -> list[SumAnswered]:
    """What the server's account says of each of them, in the order in which they were asked for."""
    return [_answered(one) for one in told]


def _answered(told: Mapping[str, Any]) -> SumAnswered:
    reading = told["reading"] or {}
    found = reading.get("auc") or {}
    return SumAnswered(
        recipe=told["recipe"],
        step=told["step"],
        asked=told["asked"],
        answered=told["answered"],
        noise_sd=told["noise_sd"],
        auc=found.get("estimate"),
        auc_low=found.get("low"),
        auc_high=found.get("high"),
        bins=[SumBin(low=one.pop("from"), high=one.pop("to"), **one) for one in map(dict, reading.get("bins", ()))],
        counts=reading.get("by_direction_and_level"),
        counts_error=reading.get("error_over_categories"),
    )
