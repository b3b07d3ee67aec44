"""Feature rows of many users at many steps, by loops over their cells where these are machine code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.arrays import Floats, Ints, as_declared
from shared.features import FeatureSpec, History, extract

from .compiled import IS_COMPILED
from .living import few
from .people import People


@as_declared
def features_of(history: History, spec: FeatureSpec, steps: Sequence[int] | Ints) -> Floats:
    """What `extract` says of a history (K, C, T) at the close of rising `steps` (S,): features (K, S, C, F). By loops the two averages
    of version 1 may differ from it in their last bit, which is then a device's own."""
    return (by_loops if IS_COMPILED else extract)(history, spec, steps)


@as_declared
def by_loops(history: History, spec: FeatureSpec, steps: Sequence[int] | Ints) -> Floats:
    """`features_of`, a few users through all steps before the next ones."""
    out = np.empty((len(history.active), len(steps), history.n_categories, spec.n_features), np.float32)
    for users in few(history, len(steps)) if len(steps) else ():
        people = People(history[users], spec)
        people.close(steps)
        out[users] = people.rows()
    return out
