"""What hosted devices add to a sum that trains nothing, all at once: by the functions of `client/model/recipes.py`, as a device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.model.recipes import USER, VECTORS, Seen
from shared.arrays import Doubles, Floats, Ints, Words, as_declared
from shared.features import History
from shared.mechanisms import Entropy
from shared.network import forward
from shared.plan import Plan

from .host_training import protected_sum


@as_declared
def query_sum(
    plan: Plan,
    recipe: str,
    history: History,
    alerts: NDArray[np.int32],
    theta: Floats,
    request: Mapping[str, Any],
) -> Callable[[Ints, Ints, Entropy], Words]:
    """What sums the protected vectors of some hosted devices: of positions in `history` (K, C, T), as of the step of the request, the
    devices' own numbers, and the noise's source: uint32 (n_values,). Each is clipped and noised on its own, as `Work.vector`
    does."""
    query = plan.query(recipe)
    assert query is not None, "a query of the plan"

    def score(x: Floats) -> Floats:
        return forward(plan.network, theta, x)

    def total(devices: Ints, numbers: Ints, entropy: Entropy) -> Words:
        told = alerts[np.argsort(alerts[:, USER], kind="stable")].astype(np.int64)
        first, end = (np.searchsorted(told[:, USER], devices, side) for side in ("left", "right"))

        def raw(chunk: slice) -> Doubles:
            mine = devices[chunk]
            count = end[chunk] - first[chunk]
            theirs = told[np.arange(count.sum()) + np.repeat(first[chunk] - np.cumsum(count) + count, count)]
            theirs[:, USER] = np.repeat(np.arange(len(mine)), count)
            about = Seen(plan, query, history[mine], score, theirs, numbers[chunk], request["round"], request["step"])
            return VECTORS[recipe](about)

        return protected_sum(len(devices), raw, query.n_values, query.privacy, entropy)

    return total
