"""One round that is charged already: sample a cohort, ask it, check what comes back, sum it, open the sum."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared.arrays import Doubles, Words
from shared.codec import unpack_words
from shared.mechanisms import Entropy, from_grid
from shared.plan import Plan, PrivacyPlan, UpdateKind

from .channel import Channel, Traffic
from .federation import Federation


def poisson_cohort(nodes: Sequence[int], sampling_rate: float, entropy: Entropy = os.urandom) -> list[int]:
    """Each node on its own with probability `sampling_rate`, by OS entropy: the sampling that is accounted for.

    The size is random; an empty cohort is a valid one. Membership is secret: amplification rests on it.
    """
    draws = np.frombuffer(entropy(8 * len(nodes)), dtype="<u8") >> np.uint64(11)
    return [nodes[i] for i in np.flatnonzero(draws < sampling_rate * 2**53).tolist()]


def run_round(federation: Federation, plan: Plan, request: Mapping[str, Any], kind: UpdateKind) -> Doubles | None:
    """The mean update of one round, float64 (kind's n_values,); None if its sum may not be opened."""
    cohort = federation.sample(kind.privacy.sampling_rate)
    if len(cohort) < kind.privacy.min_survivors:
        federation.traffic.dropped["round_small_cohort"] += 1
        return None
    total, survivors = federation.collect(cohort, plan, request, kind)
    return open_sum(total, survivors, kind.privacy, federation.traffic)


def collect(
    channel: Channel, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], kind: UpdateKind
) -> tuple[Words, int]:
    """Sum modulo 2^32 of the updates of a cohort of nodes, uint32 (kind's n_values,), and how many are in it."""
    total = np.zeros(kind.n_values, np.uint32)
    survivors = 0
    for fields in channel.ask(cohort, kind.request, request).values():
        vector = check_update(fields, kind.n_values, plan, request["round"])
        if isinstance(vector, str):
            channel.traffic.dropped[vector] += 1
            continue
        total += vector
        survivors += 1
    return total, survivors


def check_update(fields: Mapping[str, Any], length: int, plan: Plan, round_number: int) -> Words | str:
    """The update's vector (length,) if it belongs to this round and plan, else the reason to drop it."""
    if fields["round"] != round_number:
        return "round"
    if fields["plan_sha256"] != plan.sha256:
        return "plan"
    if len(fields["values"]) != 4 * length:
        return "length"
    return unpack_words(fields["values"])


def open_sum(total: Words, survivors: int, privacy: PrivacyPlan, traffic: Traffic) -> Doubles | None:
    """A round's sum over the *expected* cohort: float64, shaped as the sum, in model units.

    None if fewer than `min_survivors` are in it: such a sum would carry less noise than the plan promises, so it is not
    opened. The round stays charged.
    """
    if survivors < privacy.min_survivors:
        traffic.dropped["round_few_survivors"] += 1
        return None
    return from_grid(total, privacy.grid_step) / privacy.expected_cohort
