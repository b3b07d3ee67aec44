"""One round that is charged already: sample a cohort, ask it, check what comes back, sum it, open the sum."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared.arrays import Doubles, Ints, Words, as_declared
from shared.mechanisms import Entropy, from_grid
from shared.plan import Plan, PrivacyPlan, UpdateKind

from .bounds import length, longest
from .channel import Traffic
from .federation import Federation


def poisson_cohort(nodes: Sequence[int], sampling_rate: float, entropy: Entropy = os.urandom) -> list[int]:
    """Each node on its own with probability `sampling_rate`, by OS entropy: the sampling that is accounted for.

    The size is random; an empty cohort is a valid one. Membership is secret: amplification rests on it.
    """
    return [nodes[i] for i in drawn_places(len(nodes), sampling_rate, entropy).tolist()]


def drawn_places(n: int, sampling_rate: float, entropy: Entropy = os.urandom) -> Ints:
    """Which of 0..n - 1 such a draw takes, rising: (D,)."""
    draws = np.frombuffer(entropy(8 * n), dtype="<u8") >> np.uint64(11)
    return np.flatnonzero(draws < sampling_rate * 2**53)


def run_round(
    federation: Federation, plan: Plan, request: Mapping[str, Any], kind: UpdateKind, longest_mean: float = 1.0
) -> Doubles | None:
    """The mean update of one round, float64 (kind's n_values,); None if its sum may not be opened, or is not one that an
    honest cohort sums to: see `open_sum`."""
    return ask_cohort(federation, plan, request, kind, longest_mean)[0]


def ask_cohort(
    federation: Federation, plan: Plan, request: Mapping[str, Any], kind: UpdateKind, longest_mean: float = 1.0
) -> tuple[Doubles | None, int, int]:
    """What `run_round` says, how many devices were asked, and how many are in the sum."""
    cohort = federation.sample(kind.privacy.sampling_rate)
    if len(cohort) < kind.privacy.min_survivors:
        federation.traffic.dropped["round_small_cohort"] += 1
        return None, 0, 0
    total, survivors = federation.collect(cohort, plan, request, kind)
    mean = open_sum(total, survivors, kind.privacy, federation.traffic, longest_mean)
    return mean, len(cohort), survivors


@as_declared
def open_sum(
    total: Words, survivors: int, privacy: PrivacyPlan, traffic: Traffic, longest_mean: float = 1.0
) -> Doubles | None:
    """A round's sum over the *expected* cohort: float64, shaped as the sum, in model units.

    None if fewer than `min_survivors` are in it: such a sum would carry less noise than the plan promises, so it is not
    opened. None as well if it is longer than what `survivors` honest devices sum to, whose mean is at most `longest_mean`
    clips long (`server/bounds.py`): somebody cheated, nobody can tell who, and nothing of it is used. Both are counted; the
    round stays charged.
    """
    if survivors < privacy.min_survivors:
        traffic.dropped["round_few_survivors"] += 1
        return None
    if length(total) > longest(privacy, len(total), survivors, longest_mean):
        traffic.dropped["round_too_long"] += 1
        return None
    return from_grid(total, privacy.grid_step) / privacy.expected_cohort
