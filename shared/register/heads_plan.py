"""The part of a plan that says how heads of lapses and take-offs are learned (`shared/heads/`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .bounds import MAX_STEP
from .sum_plan import expect

if TYPE_CHECKING:
    from ..features import FeatureSpec
    from ..plan import PrivacyPlan

#: Of the list of inputs (`shared/heads/inputs.py`).
INPUTS_VERSION = 1
#: How many inputs that list has, and how many heads there are.
N_INPUTS, N_HEADS = 28, 2
#: As many as an event may name (`shared/events.py`).
MOST_CATEGORIES = 512


@dataclass(frozen=True)
class HeadPlan:
    """What a device does for one head in a round.

    It looks at no more than `rows` of its own rows, of the last `history_steps` steps of which it is known what followed; its loss is
    summed and divided by the constant `per`. Its curvature is clipped at `curvature_clip` (Frobenius norm), its gradient in whitened
    coefficients at `gradient_clip`; clipped ones count `share` of the contribution's square.
    """

    rows: int
    per: float
    history_steps: int
    curvature_clip: float
    gradient_clip: float
    share: float

    def __post_init__(self) -> None:
        expect(1 <= self.rows <= 4096, "rows in 1..4096", self.rows)
        expect(1 <= self.per <= 65536, "per in 1..65536", self.per)
        expect(1 <= self.history_steps <= MAX_STEP, f"history_steps in 1..{MAX_STEP}", self.history_steps)
        for name in ("curvature_clip", "gradient_clip"):
            value = getattr(self, name)
            expect(0 < value <= 1e6 and math.isfinite(value), f"{name} in (0, 1e6]", value)
        expect(0 < self.share <= 1, "a share in (0, 1]", self.share)


@dataclass(frozen=True)
class HeadsPlan:
    """How heads are learned, after p: one sum of what everybody does, one of curvature, then rounds of gradients.

    `features`: what they look at, those of version 2; p goes on with the plan's own, which are the first columns of these.
    `start_sha256` names where they start (`shared.heads.HeadsStart`); `inputs_version` the list of their inputs; `n_categories`, the
    catalogue that the first sum is over. In each of the sums a device counts for at most 1: that is their `clip_norm`.
    """

    features: FeatureSpec
    inputs_version: int
    start_sha256: bytes
    n_categories: int
    lapse: HeadPlan
    takeoff: HeadPlan
    crowd: PrivacyPlan
    curvature: PrivacyPlan
    updates: PrivacyPlan

    def __post_init__(self) -> None:
        expect(self.features.has_long_averages, "features of version 2, with averages and rates, for heads", "others")
        expect(self.inputs_version == INPUTS_VERSION, f"inputs of version {INPUTS_VERSION}", self.inputs_version)
        expect(len(self.start_sha256) == 32, "start_sha256 of 32 bytes", f"{len(self.start_sha256)} bytes")
        expect(1 <= self.n_categories <= MOST_CATEGORIES, f"n_categories in 1..{MOST_CATEGORIES}", self.n_categories)
        shares = self.lapse.share + self.takeoff.share
        expect(shares <= 1 + 1e-9, "shares of heads that add up to 1 at most", round(shares, 6))
        for name in ("crowd", "curvature"):
            expect(getattr(self, name).rounds == 1, f"one sum of {name}", getattr(self, name).rounds)
        for name in ("crowd", "curvature", "updates"):
            expect(getattr(self, name).clip_norm == 1, f"clip_norm 1 of {name}", getattr(self, name).clip_norm)

    @property
    def heads(self) -> tuple[HeadPlan, HeadPlan]:
        """In the order of `shared.heads.TASKS`."""
        return self.lapse, self.takeoff

    @property
    def lengths(self) -> tuple[int, int, int]:
        """How many values a vector of crowd, curvature and updates has."""
        categories, inputs = self.n_categories, N_INPUTS
        return categories * (categories + 1) // 2, N_HEADS * inputs * (inputs + 1) // 2, N_HEADS * inputs
