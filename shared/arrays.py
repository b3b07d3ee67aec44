"""The kinds of arrays that everybody here speaks of. Shapes stand in the docstrings of those who take and give them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]  #: p, features, weights, counters
Doubles = NDArray[np.float64]  #: what is summed or accounted: deltas before the grid, Renyi curves
Bools = NDArray[np.bool_]  #: masks
Ints = NDArray[np.int64]  #: steps, users, row numbers
Words = NDArray[np.uint32]  #: vectors modulo 2^32, as they travel
