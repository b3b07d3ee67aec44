"""Steps close, one after another: scored and watched; many empty ones cost little."""

from __future__ import annotations

from collections import Counter

import numpy as np

from shared.arrays import Floats

from .detection.policy import Policy
from .state import DeviceState, Told

#: So many steps of silence are scored, one by one. What is silent for longer closes at once: nothing turns there any more,
#: for no feature and no quiet time looks back further.
SCORED_STEPS = 366


def closed_until(
    state: DeviceState, step: int, counters: Floats, policy: Policy, problems: Counter[str]
) -> tuple[DeviceState, list[Told]]:
    """The state once every step before `step` has closed, with `counters` (2, C, S): engagement and money of the open step
    and those behind it, nothing in what comes after them. Nothing is written, and `state` stays as it was."""
    first, now, told, silent = state.n_closed_steps, state.with_own_watch(), list[Told](), 0
    busy = first + np.flatnonzero(counters[0].any(axis=0))
    while now.n_closed_steps < step:
        at = now.n_closed_steps
        silent = 0 if at in busy else silent + 1
        until = min([step - 1, *busy[busy >= at]])
        if silent > SCORED_STEPS and until > at:
            now = now.silent_until(until)
            continue
        now, one = now.with_open(*_of(counters, at - first)).closed(policy, problems)
        if one:
            told.append(one)
    return now.with_open(*_of(counters, step - first)), told


def _of(counters: Floats, step: int) -> Floats:
    """Engagement and money (2, C) of a step behind the first one."""
    return counters[..., step] if step < counters.shape[-1] else np.zeros_like(counters[..., 0])
