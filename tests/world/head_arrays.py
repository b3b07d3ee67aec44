"""Examples of every entry of heads that takes arrays: small whole numbers, and what is made of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from shared.features import FeatureSpec, Richer
from shared.heads import (
    Heads,
    HeadsStart,
    crowd_of,
    curvature_vectors,
    inputs,
    learning,
    packed,
    pair_shares,
    unpacked,
    update_vectors,
)
from shared.heads.crowd import without_noise
from shared.network import NetworkSpec, forward

from .heads import make_heads, make_start

FEATURES = FeatureSpec(5, (1, 2, 3, 4), (2, 3), Richer(4, 0.5, 2.0, 1.0, 3.0))
NETWORK = NetworkSpec(FEATURES.n_of_version_1, (2,))
START = make_start(NETWORK)
PLAN = make_heads(START)
X = np.arange(2 * FEATURES.n_features).reshape(2, -1) % 4
Z = np.arange(3 * 28).reshape(3, 28) % 3
Y, REAL = np.array([0, 1, 1]), np.array([1, 1, 0])
WEIGHTS = np.arange(2 * 28).reshape(2, 28) % 2
BASIS = np.arange(2 * 28 * 28).reshape(2, 28, 28) % 2
SYMMETRIC = np.array([[1, 2], [2, 3]])
ACTIVE = np.array([[[0, 1, 0], [1, 0, 1]]], bool)


def score(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    return forward(NETWORK, theta, x)


def rows(z: Any, y: Any, real: Any) -> list[learning.HeadRows]:
    return [learning.HeadRows(z, y, real)] * 2


def of_crowd(values: Any) -> np.ndarray:
    crowd = crowd_of(values, 2, 0.5)
    return np.concatenate([crowd.popularity, crowd.neighbours.ravel()])


HEADS = Heads(START, np.zeros(2, np.float32), START.weights)
PARTS_OF_HEADS: dict[str, tuple[tuple[np.ndarray, ...], Callable[..., Any]]] = {
    "shared.heads.symmetric.packed": ((SYMMETRIC,), packed),
    "shared.heads.symmetric.unpacked": ((np.array([1, 2, 3]),), lambda v: unpacked(v, 2)),
    "shared.heads.crowd.pair_shares": ((), lambda: pair_shares(ACTIVE, 2)),
    "shared.heads.crowd.crowd_of": ((np.array([4, 2, 1]),), of_crowd),
    "shared.heads.crowd.without_noise": ((SYMMETRIC,), lambda m: without_noise(m, 0.5)),
    "shared.heads.inputs.raw_inputs": (
        (X, np.array([[0, 1]] * 3), np.array([1, 0])),
        lambda x, p, popularity: inputs.raw_inputs(FEATURES, x, p, popularity),
    ),
    "shared.heads.inputs.log_level": ((X,), lambda x: inputs.log_level(FEATURES, x)),
    "shared.heads.learning.HeadRows.__init__": (
        (Z, Y, REAL),
        lambda *a: np.concatenate([np.ravel(one) for one in vars(learning.HeadRows(*a)).values()]),
    ),
    "shared.heads.learning.clipped": ((np.array([1, 2, 2]),), lambda v: learning.clipped(v, 1.0, 0.5)),
    "shared.heads.learning.raw_curvature": ((Z, WEIGHTS[0], REAL), lambda *a: learning.raw_curvature(*a, 4.0)),
    "shared.heads.learning.raw_update": (
        (Z, Y, WEIGHTS[0], BASIS[0], WEIGHTS[1], REAL),
        lambda *a: learning.raw_update(*a, 4.0),
    ),
    "shared.heads.learning.curvature_vectors": (
        (Z, Y, REAL, WEIGHTS),
        lambda z, y, real, weights: curvature_vectors(PLAN, rows(z, y, real), weights),
    ),
    "shared.heads.learning.update_vectors": (
        (Z, Y, REAL, WEIGHTS, BASIS, WEIGHTS),
        lambda z, y, real, *at: update_vectors(PLAN, rows(z, y, real), *at),
    ),
    "shared.heads.start.HeadsStart.__init__": (
        (np.ones((3, 4)), np.arange(27), np.arange(27) % 3 + 1, WEIGHTS),
        lambda *a: np.concatenate([part.ravel() for part in vars(HeadsStart(*a)).values()]),
    ),
    "shared.heads.model.Heads.__init__": (
        (np.array([1, 0]), WEIGHTS),
        lambda popularity, weights: Heads(START, popularity, weights).weights + popularity[0],
    ),
    "shared.heads.model.Heads.inputs": (
        (X, np.array([1, 0])),
        lambda x, popularity: HEADS.inputs(FEATURES, score, x, popularity),
    ),
    "shared.heads.model.Heads.chances": ((Z,), HEADS.chances),
    "shared.heads.model.Heads.read": ((X,), lambda x: replace(HEADS).read(FEATURES, score, x)),
}
