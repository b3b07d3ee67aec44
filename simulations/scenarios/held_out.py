"""Users held out of training: their rows teach no model, so what p is worth on them it is worth on strangers.

The mask belongs to a simulation alone. A held-out user's device is like any other, except that it has no training rows:
it takes part in every cohort that it is drawn for, and contributes zero plus noise as any device without rows does (with
L2, the decay of the weights it was sent, which says nothing about anybody). Population, expected cohort and noise stay
as planned. It is scored, watched and judged as everybody is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.arrays import Bools, as_declared
from shared.errors import ConfigError
from shared.files import replacing

from .config import Scenario

#: Word of the Philox key that keeps this draw apart from others under the same seed.
STREAM = 0x4E1D


def held_out_users(scenario: Scenario, n_users: int) -> Bools | None:
    """The scenario's held-out users (K,), the same for the same `data.seed`; None if it holds nobody out.

    As many as `data.held_out_share` of all, rounded. ConfigError if rounding leaves nobody on one side.
    """
    share = scenario.data.held_out_share
    if not share:
        return None
    count = round(share * n_users)
    if not 0 < count < n_users:
        raise ConfigError(
            f"expected data.held_out_share to leave users on both sides, got {share:g} of {n_users} users"
        )
    random = np.random.Generator(np.random.Philox(key=[scenario.data.seed, STREAM]))
    mask = np.zeros(n_users, bool)
    mask[random.permutation(n_users)[:count]] = True
    return mask


def expect_hosts(scenario: Scenario) -> None:
    """ConfigError if users are held out in `devices` fidelity: a device runs as shipped, and cannot be told."""
    if scenario.data.held_out_share and scenario.simulation.fidelity != "hosts":
        raise ConfigError(
            f"expected simulation.fidelity hosts for data.held_out_share {scenario.data.held_out_share:g}, "
            f"got {scenario.simulation.fidelity}: a device as shipped does not know that it is held out"
        )


@as_declared
def write_mask(file: Path, mask: Bools | None) -> None:
    """Keep the mask with a run; without one, nothing is written."""
    if mask is not None:
        with replacing(file) as out:
            np.save(out, mask)


def read_mask(file: Path) -> Bools | None:
    """The mask of a run; None if it held nobody out."""
    return np.load(file) if file.exists() else None
