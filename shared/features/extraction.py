"""From per-step counters to the network's inputs, for any number of leading axes.

A device has counters of shape (C, T), a simulated host (K, C, T): C categories, T closed steps, K users. Everything
here works on `(..., C, T)` and looks only at steps <= t to describe step t.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import Floats, Ints, as_declared
from .columns import of_activity, of_richer
from .counters import History
from .crowd import Crowd
from .readings import activity_read, richer_read
from .spec import FeatureSpec
from .windows import steps_of


@as_declared
def extract(history: History, spec: FeatureSpec, steps: Sequence[int] | Ints, crowd: Crowd | None = None) -> Floats:
    """Features as of the close of each step: float32 (..., S, C, F), scales fixed by design; those of version 1 in [-7, 5], those
    that version 2 adds in [-3, 3].

    `steps` are S indices of closed steps. Uses counters of steps <= t only. `crowd`: what private sums told of other people;
    without it those columns are 0. InputError for a spec that asks for kinds and a history whose kinds nobody counted.

    Active at steps 1 and 4 of five. An activity share of .5 is 0, of 1 is 1.

    >>> active = np.array([[False, True, False, False, True]])
    >>> history = History(active, active * np.float32(1), active * np.float32(0))
    >>> spec = FeatureSpec(window_steps=12)
    >>> row = extract(history, spec, [4])[0, 0]
    >>> {name: float(row[spec.names.index(name)].round(2)) for name in ("active_1", "active_4", "interval")}
    {'active_1': 1.0, 'active_4': 0.0, 'interval': -0.5}
    """
    at, history = steps_of(history, steps, history.n_steps - 1), spec.of(history)
    read = activity_read(history, spec, at)
    out = of_activity(read, spec)
    if spec.more is not None:
        out = np.concatenate([out, of_richer(read, richer_read(history, spec, at), spec, crowd)], axis=-1)
    return np.moveaxis(out, -2, -3)
