"""What local training adds to theta, of many devices: `shared.network.fit`, one device after the other."""

from __future__ import annotations

import numpy as np

from shared.arrays import Floats, as_declared
from shared.errors import InputError
from shared.network import NetworkSpec

from .by_arrays import deltas_by_arrays
from .lanes import MOST_LANES
from .layers import train


@as_declared
def deltas_in_loops(
    spec: NetworkSpec,
    theta: Floats,
    x: Floats,
    y: Floats,
    weight: Floats,
    *,
    learning_rate: float,
    l2: float = 0.0,
    masks: Floats | None = None,
) -> Floats:
    """What `fit` adds to the theta (P,) that it begins with, of each device: float32 (D, P); with dropout, by arrays.

    x (D, S, B, F), y and weight (D, S, B): step s uses slice s. Sums of float32 are made in another order than numpy makes them, and
    products may go into them unrounded: the last bits are others, and on another processor yet others.
    """
    if masks is not None:
        return deltas_by_arrays(spec, theta, x, y, weight, learning_rate=learning_rate, l2=l2, masks=masks)
    n_devices, n_values = len(x), spec.n_parameters
    given = (theta.shape, x.shape, y.shape)
    if given != (wanted := ((n_values,), (*weight.shape, spec.n_features), weight.shape)):  # loops look after no bounds
        raise InputError(f"expected theta, x and y as {wanted}, got {given}")
    out = np.empty(n_devices * n_values + MOST_LANES, np.float32)
    sizes = np.array((spec.n_features, *spec.hidden, 1))
    flat = [np.ascontiguousarray(part).reshape(-1) for part in (theta, x, y, weight)]
    train(sizes, flat[0], flat[1], flat[2], flat[3], np.array(weight.shape), learning_rate, l2, out)
    return out[: n_devices * n_values].reshape(n_devices, n_values)
