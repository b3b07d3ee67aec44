"""Feature rows of many users at many steps, by loops over their cells where these are machine code."""

from __future__ import annotations

import numpy as np

from client.model.training_rows import each_extracted
from shared.arrays import Floats, Ints
from shared.features import FeatureSpec, History

from .compiled import IS_COMPILED
from .living import few
from .people import People


def features_of(history: History, spec: FeatureSpec, *lists: Ints) -> tuple[Floats, ...]:
    """What `extract` says of a history (K, C, T) at the close of rising steps (S,) of several lists: features (K, S, C, F) of each. By
    loops the two averages of version 1 may differ from it in their last bit, which is then a device's own."""
    return (by_loops if IS_COMPILED else each_extracted)(history, spec, *lists)


def by_loops(history: History, spec: FeatureSpec, *lists: Ints) -> tuple[Floats, ...]:
    """`features_of`, a few users through the steps of all lists before the next ones."""
    every = np.unique(np.concatenate(lists))
    out = np.empty((len(history.active), every.size, history.n_categories, spec.n_features), np.float32)
    for users in few(history, every.size) if every.size else ():
        people = People(history[users], spec)
        people.close(every)
        out[users] = people.rows()
    return tuple(out if steps.size == every.size else out[:, np.searchsorted(every, steps)] for steps in lists)
