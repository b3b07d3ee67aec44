"""The very sums that a run opened for p, in whole grid steps, worked back from the iterates that its server kept."""

from __future__ import annotations

from typing import Final

import numpy as np

from server.optimizer import ServerSettings
from server.state import INTEREST
from shared.arrays import Doubles, Ints, as_declared
from shared.errors import ConfigError
from shared.plan import PrivacyPlan

from ..federation.run_folder import RunFolder
from ..people.setup import Setup

#: A sum is a whole number: farther from one than this, the iterates are not those of such a run.
_OFF: Final = 0.01


def opened_sums(run: RunFolder, setup: Setup) -> Ints:
    """The sums (R, P) of the rounds of p that moved theta, oldest first; (0, P) if none did. ConfigError if what the server kept is not
    what such rounds leave."""
    with np.load(run.server_path / f"{INTEREST}.npz") as arrays:
        start, iterates = arrays["models"][0].astype(np.float64), arrays["iterates"].astype(np.float64)
    return sums_of(start, iterates, setup.scenario.server.settings(), setup.plan.privacy)


@as_declared
def sums_of(start: Doubles, iterates: Doubles, server: ServerSettings, privacy: PrivacyPlan) -> Ints:
    """What moved theta from `start` (P,) through its `iterates` (R, P): (R, P). The optimiser's step (`server/optimizer.py`), turned
    round: a velocity is the difference of two iterates, and what it has beyond momentum is the mean."""
    velocity = np.diff(iterates, axis=0, prepend=start[None]) / server.learning_rate
    before = np.concatenate([np.zeros((min(1, len(velocity)), len(start))), velocity[:-1]])
    sums = (velocity - server.momentum * before) * (privacy.expected_cohort / privacy.grid_step)
    whole = np.round(sums)
    if not np.all(np.abs(sums - whole) < _OFF):
        raise ConfigError(
            "expected iterates that sums of whole numbers lead to, got others: another optimiser, or damaged"
        )
    return whole.astype(np.int64)
