"""How far from the planted start of a shift the start lies that the CUSUM tells with its alert, on simulated daily streams."""

from __future__ import annotations

import numpy as np

from client.detection.chances import Chances
from client.detection.risk_levels import Direction
from client.detection.watch import Watch
from shared.arrays import Ints

from .generate import Change, Kind, simulated
from .measure import CHANGE_STEP, FALSE_ALERTS, N_STREAMS, WITHIN_STEPS, shipped_plan

#: First of a seed; measure.py has those up to 5.
BEGAN = 6
TURNS = {Change.DROP: Direction.FALL, Change.RISE: Direction.RISE}


def beginnings(n_users: int, seed: int = 0) -> tuple[Ints, Ints]:
    """Of drops and rises that are called within `WITHIN_STEPS`, the right way round: how many steps after the planted start the told
    one lies (n,), negative where it lies before, and how many the alert came after it (n,). `n_users` of each kind and change."""
    plan, off, late = shipped_plan(N_STREAMS, FALSE_ALERTS), [], []
    everybody, n_steps = np.ones((n_users, N_STREAMS), bool), CHANGE_STEP + WITHIN_STEPS
    for i, kind in enumerate(Kind):
        for change, direction in TURNS.items():
            p = simulated(kind, change, n_users, N_STREAMS, n_steps, (BEGAN, seed, i, direction), CHANGE_STEP)
            watch = Watch.start(plan, np.empty((n_users, 0, N_STREAMS), np.float32), -1)
            waiting = np.ones(n_users, bool)
            for step, now in enumerate(p):
                raised = watch.judge(plan.detection, step, Chances.of_p(now), everybody)[:, direction, 0]
                if step >= CHANGE_STEP:
                    off.append(watch.began[raised & waiting, direction, 0] - CHANGE_STEP)
                    late.append(np.full(off[-1].size, step - CHANGE_STEP))
                    waiting &= ~raised
    return np.concatenate(off).astype(np.int64), np.concatenate(late).astype(np.int64)
