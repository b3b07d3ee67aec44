"""What a hosted run would have learned without noise: its own rounds again, on its own rows, clipped as they were.

The difference to ours is what noise costs; what remains to pooled models is the price of learning apart.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import Final

import numpy as np

from server.optimizer import ServerOptimizer
from shared.arrays import Floats, as_declared
from shared.mechanisms import from_grid
from shared.plan import Plan

from ..federation.host_training import sum_of_updates
from ..federation.hosted.counters import Counters
from ..federation.hosted.training_rows import rows_of_host
from ..federation.run_folder import RunFolder
from ..federation.silence import answering, dropout_of
from ..training_step.ways import WAY

#: Updates of one device that are made again at most: half a minute's work. A larger run has no such row.
MOST_UPDATES: Final = 400_000


@as_declared
def theta_without_noise(run: RunFolder, plan: Plan, theta: Floats) -> Floats | None:
    """The published model (P,) of the plan's rounds from `theta`, no noise added, of all devices but those that stay silent
    in one; None if the run has no hosts, had no noise, drew its cohorts (another draw would be another training), or is
    too large."""
    privacy = plan.privacy
    hosts = [host for host in run.every_host() if host.plan_file.exists()]
    if not hosts or not privacy.noise_multiplier or privacy.sampling_rate < 1:
        return None
    if privacy.rounds * privacy.population > MOST_UPDATES:
        return None
    quiet = replace(plan, privacy=replace(privacy, noise_multiplier=0.0, max_epsilon=math.inf))
    optimizer, dropout = ServerOptimizer(theta, run.scenario().server.settings()), dropout_of(run)[0]
    rows = [rows_of_host(host, Counters(host.counters), plan, "train_request") for host in hosts]
    for number in range(1, privacy.rounds + 1):
        first, total = 0, np.zeros(theta.size, np.uint32)
        for mine in rows:
            hosted = len(mine.offsets) - 1
            here = np.array(answering(range(hosted), dropout), np.int64)
            theta_now = optimizer.theta.astype(np.float32)
            total += sum_of_updates(mine, here, here + first, quiet, theta_now, number, os.urandom, way=WAY)
            first += hosted
        optimizer.step(from_grid(total, privacy.grid_step) / privacy.expected_cohort)
    return optimizer.published
