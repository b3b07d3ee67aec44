"""The two ways through a training step: over arrays of many devices, and in compiled loops, one device after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Floats, Ints, Words
from shared.mechanisms import Entropy, protect
from shared.network import NetworkSpec

from ..life.compiled import IS_COMPILED
from .by_arrays import deltas_by_arrays, draws_by_arrays
from .draws import draws_in_loops
from .fitting import deltas_in_loops
from .protection import protect_in_loops


class Draws(Protocol):
    """The row numbers of each device, (D, S, B), -1 for padding."""

    def __call__(self, n_rows: Ints, numbers: Ints, shape: tuple[int, int], seed: int, round_number: int) -> Ints: ...


class Deltas(Protocol):
    """What local training adds to theta, of each device: float32 (D, P)."""

    def __call__(
        self,
        spec: NetworkSpec,
        theta: Floats,
        x: Floats,
        y: Floats,
        weight: Floats,
        *,
        learning_rate: float,
        l2: float,
        masks: Floats | None,
    ) -> Floats: ...


class Protect(Protocol):
    """What each device hands to the sum, of its raw vector: uint32 (..., P)."""

    def __call__(
        self,
        raw_delta: NDArray[np.floating],
        *,
        clip_norm: float,
        steps_per_clip: int,
        share_sigma: float,
        entropy: Entropy,
    ) -> Words: ...


@dataclass(frozen=True)
class Way:
    """How rows are drawn, theta is fitted, and vectors are clipped and noised."""

    draws: Draws
    deltas: Deltas
    protect: Protect


#: The reference: the devices' own code.
BY_ARRAYS: Final = Way(draws_by_arrays, deltas_by_arrays, protect)
#: The same rows, noise and sums; what is fitted differs in its last bits, as `deltas_in_loops` says.
IN_LOOPS: Final = Way(draws_in_loops, deltas_in_loops, protect_in_loops)
#: The quicker one here.
WAY: Final = IN_LOOPS if IS_COMPILED else BY_ARRAYS


def way_for(share_sigma: float) -> Way:
    """The one that hosts go under so much noise. Without any it is the reference, so that what is learned is the same to the last bit
    wherever it is learned: rounds of training make thousandths of last bits."""
    return WAY if share_sigma else BY_ARRAYS
