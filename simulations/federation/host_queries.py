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

#: The history (D, C, T) of some devices (D,) of a host.
HistoryOf = Callable[[Ints], History]


@as_declared
def query_sum(
    plan: Plan,
    recipe: str,
    history_of: HistoryOf,
    alerts: NDArray[np.int32],
    theta: Floats,
    request: Mapping[str, Any],
) -> Callable[[Ints, Ints, Entropy], Words]:
    """What sums the protected vectors of some hosted devices: of their rising positions, whose history (D, C, T) as of the step of the
    request `history_of` gives, their own numbers, and the noise's source: uint32 (n_values,). Each is clipped and noised on its own,
    as `Work.vector` does."""
    query = plan.query(recipe)
    assert query is not None, "a query of the plan"

    def score(x: Floats) -> Floats:
        return forward(plan.network, theta, x)

    by_user = alerts[np.argsort(alerts[:, USER], kind="stable")]

    def total(devices: Ints, numbers: Ints, entropy: Entropy) -> Words:
        def raw(chunk: slice) -> Doubles:
            mine = devices[chunk]
            told = by_user[slice(*np.searchsorted(by_user[:, USER], (mine[0], mine[-1] + 1)))].astype(np.int64)
            told = told[np.isin(told[:, USER], mine)]
            told[:, USER] = np.searchsorted(mine, told[:, USER])
            own = numbers[chunk]
            about = Seen(plan, query, history_of(mine), score, told, own, request["round"], request["step"])
            return VECTORS[recipe](about)

        return protected_sum(len(devices), raw, query.n_values, query.privacy, entropy)

    return total
