"""Histories of users as simulated hosts meet them: some do nothing for long, some have bursts."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from shared.events import ENGAGEMENT, EventKind
from shared.features import N_KINDS, History

#: Events of a burst, far beyond those of any other step.
BURST_EVENTS = 60


def make_lively(seed: int, shape: tuple[int, int, int], rate: float, burst_rate: float = 0.03) -> History:
    """Counters of `shape` (K, C, T), of which each category and step has events at this rate."""
    random = np.random.default_rng(seed)
    there = random.random(shape) < rate
    events = random.poisson(0.6, (N_KINDS, *shape)) * there
    events[random.integers(N_KINDS, size=shape), *np.indices(shape)] += there
    events[EventKind.VIEW] += BURST_EVENTS * (random.random(shape) < burst_rate)
    kinds = events.astype(np.uint8)
    count = np.tensordot(ENGAGEMENT, kinds.astype(np.float32), 1).astype(np.float32)
    amount = (kinds[EventKind.PURCHASE] * random.lognormal(3, 1, shape)).astype(np.float32)
    return History(count > 0, count, amount, kinds)


@st.composite
def lively(draw: st.DrawFn, n_users: int, n_categories: int | None = None, most_steps: int = 50) -> History:
    """Any such history; in some, what was counted by kind is no interest but for purchases."""
    shape = n_users, n_categories or draw(st.integers(1, 5)), draw(st.integers(1, most_steps))
    rate, burst_rate = draw(st.sampled_from([0.0, 0.02, 0.2, 0.7])), draw(st.sampled_from([0.0, 0.05]))
    history = make_lively(draw(st.integers(0, 2**32)), shape, rate, burst_rate)
    if draw(st.booleans()):
        return history
    assert history.kinds is not None
    count = history.kinds[EventKind.PURCHASE].astype(np.float32)
    return History(count > 0, count, history.amount, history.kinds)
