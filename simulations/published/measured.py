"""A published number: its value, its spread over seeds, its unit, and what it stands beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Measured:
    """One number: its mean, its spread (standard deviation over seeds, or None), the baseline that it is compared with."""

    value: float
    spread: float | None
    unit: str
    baseline: str = ""

    @classmethod
    def over(cls, values: Sequence[float], unit: str, baseline: str = "") -> Measured:
        """Mean and spread of one value for each seed."""
        spread = round(float(np.std(values, ddof=1)), 5) if len(values) > 1 else None
        return cls(round(float(np.mean(values)), 5), spread, unit, baseline)


def known(value: float | None) -> float:
    """A value that has to be there, such as an AUC where both classes are."""
    assert value is not None, "a value that can be computed"
    return value
