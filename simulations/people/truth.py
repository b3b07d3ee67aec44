"""What was planted in simulated people: the changes of interest that a detector is to find."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.arrays import Bools, Floats, Ints, as_declared
from shared.errors import InputError

from .population_files import TRUTH, TRUTH_FIELDS


class ChangeKind(IntEnum):
    """What was planted. Only the first three change the level for good; a burst passes and is never churn."""

    DROP = 0
    RISE = 1
    GRADUAL = 2
    BURST = 3


@dataclass(frozen=True, eq=False, repr=False)
class Truth:
    """What was planted, where and when. Every field is an array of shape (n_changes,).

    `step` is the first step that is affected. From `end_step` on the level is settled: at its new value for
    DROP, RISE and GRADUAL, back at the old one for BURST. `size` is the change of the log-rate of events:
    negative for a fall.
    """

    user: Ints
    category: npt.NDArray[np.int16]
    kind: npt.NDArray[np.int8]
    step: npt.NDArray[np.int32]
    size: Floats
    end_step: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        for field in TRUTH_FIELDS:
            expect_array(f"truth {field}", getattr(self, field), TRUTH[field], len(self.user))

    def __len__(self) -> int:
        return len(self.user)

    def __repr__(self) -> str:
        return f"Truth({len(self)} planted changes)"

    @as_declared
    def where(self, mask: Bools | Ints) -> Truth:
        """The changes where `mask`, bool (n_changes,), is true, or at these positions, in their order."""
        return Truth(**{field: getattr(self, field)[mask] for field in TRUTH_FIELDS})

    def rows(self) -> npt.NDArray[np.void]:
        """The same as records (n_changes,)."""
        out = np.empty(len(self), TRUTH)
        for field in TRUTH_FIELDS:
            out[field] = getattr(self, field)
        return out

    def of_kind(self, *kinds: ChangeKind) -> Truth:
        return self.where(np.isin(self.kind, kinds))


def expect_array(name: str, array: npt.NDArray[Any], dtype: np.dtype[Any], n_rows: int) -> None:
    """InputError unless a column is of this type and length."""
    if array.dtype != dtype or array.shape != (n_rows,):
        got = f"{array.dtype} {array.shape}"
        raise InputError(f"expected {name} of {dtype.name} and shape ({n_rows},), got {got}")
