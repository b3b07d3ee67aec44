"""Which windows, and which groups of inputs, describe an interest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property, lru_cache

import numpy as np

from ..arrays import Doubles, as_declared
from ..errors import ConfigError
from ..events import EventKind
from ..register.bounds import MAX_STEP
from ..register.parts import LATER
from .counters import History


class Group(IntEnum):
    """The groups of features that version 2 adds; what a plan does not use is 0 in every row."""

    AVERAGES = 0  #: long averages, corrected for how long the user is known
    RATES = 1  #: how often, against how long it is silent
    LEAVING = 2  #: what BG/NBD says under planted parameters
    KINDS = 3  #: each kind of event on its own
    FUNNEL = 4  #: from views over carts to purchases
    CROWD = 5  #: what private sums tell of other people


@dataclass(frozen=True)
class Richer:
    """What features of version 2 are made with.

    `r`, `alpha`, `a`, `b`: parameters of BG/NBD in the plan's steps, from planted people (simulations/scenarios/planted_rates.py);
    what is read from them looks `lapse_steps` ahead. `groups` and `kinds` say which are used, each once, rising: what a shop
    does not have is 0 in any case, and costs nothing.
    """

    lapse_steps: int
    r: float
    alpha: float
    a: float
    b: float
    groups: tuple[int, ...] = tuple(range(len(Group)))
    kinds: tuple[int, ...] = tuple(range(len(EventKind)))

    def __post_init__(self) -> None:
        if not 1 <= self.lapse_steps <= MAX_STEP:
            raise ConfigError(f"expected lapse_steps in 1..{MAX_STEP}, got {self.lapse_steps}")
        for name in ("r", "alpha", "a", "b"):
            if not (0 < getattr(self, name) < math.inf):
                raise ConfigError(f"expected a finite {name} > 0, got {getattr(self, name)}")
        for name, most in (("groups", len(Group)), ("kinds", len(EventKind))):
            _expect_rising(name, getattr(self, name), most)


@dataclass(frozen=True)
class FeatureSpec:
    """Which windows (in steps) describe an interest.

    `window_steps` is W, the longest look back; `short_steps` four windows below it, rising; `ewma_steps` the spans of
    the two slow averages (weight 2 / (span + 1) for the newest step). With `more`, the features are those of version 2.

    `interest`: the kinds of events that are interest, rising; without any, all of them are. What others say stands in the groups KINDS
    and FUNNEL of version 2 alone, and in no label: who bought nothing has no interest where purchases alone are interest.
    """

    window_steps: int
    short_steps: tuple[int, int, int, int] = (1, 2, 4, 8)
    ewma_steps: tuple[int, int] = (2, 8)
    more: Richer | None = field(default=None, metadata={LATER: True})
    interest: tuple[int, ...] = field(default=(), metadata={LATER: True})

    def __post_init__(self) -> None:
        if len(self.short_steps) != 4 or len(self.ewma_steps) != 2:
            raise ConfigError(
                f"expected 4 short_steps and 2 ewma_steps, got {len(self.short_steps)} and {len(self.ewma_steps)}"
            )
        windows = (*self.short_steps, self.window_steps)
        if min(windows) < 1 or max(windows) > MAX_STEP or sorted(set(windows)) != list(windows):
            raise ConfigError(f"expected five rising windows of 1..{MAX_STEP} steps, got {windows}")
        if not all(1 <= span <= MAX_STEP for span in self.ewma_steps):
            raise ConfigError(f"expected ewma_steps in 1..{MAX_STEP}, got {self.ewma_steps}")
        _expect_rising("kinds in interest", self.interest, len(EventKind))
        if len(self.interest) == len(EventKind):
            raise ConfigError(f"expected fewer than all kinds in interest, or none said, got {self.interest}")

    def of(self, history: History) -> History:
        """The history that this spec's interest is in: what features, labels, and which interests are watched, are made of."""
        return history.of_kinds(self.interest) if self.interest else history

    @property
    def counts_kinds(self) -> bool:
        """Whether what is made of a history asks for events by kind."""
        return self.more is not None or bool(self.interest)

    @property
    def version(self) -> int:
        """1: activity and money alone; 2: with what kinds of events there were, and how long they have been."""
        return 1 if self.more is None else 2

    @property
    def n_of_version_1(self) -> int:
        """How many features come before those that version 2 adds."""
        return self.n_features - sum(len(self.names_of(group)) for group in (Group if self.more else ()))

    @property
    def has_long_averages(self) -> bool:
        """Whether heads can be read from them (`shared/heads/inputs.py`)."""
        return self.more is not None and {Group.AVERAGES, Group.RATES, Group.LEAVING} <= set(self.more.groups)

    @property
    def mid_steps(self) -> int:
        """The window in the middle, in which lately is counted."""
        return self.short_steps[2]

    @property
    def spans(self) -> tuple[int, int, int, int]:
        """What the long averages span, in steps: 4, W, 2 W, 4 W."""
        return 4, self.window_steps, 2 * self.window_steps, 4 * self.window_steps

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The features in the order of `extract`'s last axis: 27, and in version 2 those of every `Group` behind them."""
        windows, mid, long = (*self.short_steps, self.window_steps), self.mid_steps, self.window_steps
        return (
            *(f"active_{k}" for k in windows),
            *(f"log_count_{k}" for k in (mid, long)),
            *(f"log_amount_{k}" for k in (mid, long)),
            *("recency", "log_recency", "tenure", "interval", "recency_per_interval", "active_total"),
            *(f"ewma_{k}" for k in self.ewma_steps),
            "ewma_difference",
            *(f"user_active_{k}" for k in windows),
            *("user_recency", f"user_log_amount_{mid}", "user_breadth", "share_of_user"),
            *(name for group in (Group if self.more else ()) for name in self.names_of(group)),
        )

    def names_of(self, group: Group) -> tuple[str, ...]:
        """The features of one group of version 2."""
        return _names_of(self.mid_steps, self.spans)[group]

    @property
    def n_features(self) -> int:
        return len(self.names)


def _expect_rising(name: str, chosen: tuple[int, ...], most: int) -> None:
    if sorted(set(chosen)) != list(chosen) or not all(0 <= one < most for one in chosen):
        raise ConfigError(f"expected rising {name} of 0..{most - 1}, got {chosen[:8]}")


@lru_cache(maxsize=16)
def _names_of(mid: int, spans: tuple[int, int, int, int]) -> Mapping[Group, tuple[str, ...]]:
    """The features of each group of version 2, for the window in the middle and the spans of the long averages."""
    counted = (*(f"average_{k}" for k in spans[:3]), f"log_count_{mid}", f"log_count_{spans[1]}", "freshness")
    return {
        Group.AVERAGES: (
            *(f"average_{k}" for k in spans),
            *(f"average_log_{what}_{k}" for what in ("count", "amount") for k in spans[1:3]),
            *(f"user_average{what}_{k}" for what in ("", "_breadth") for k in spans[:3]),
            *("log_average", "user_log_age"),
        ),
        Group.RATES: ("log_rate", "rate_silence", "silent_by_rate", "user_log_rate"),
        Group.LEAVING: ("bgnbd_silent", "bgnbd_gone"),
        Group.KINDS: tuple(f"{kind.name.lower()}_{what}" for kind in EventKind for what in counted),
        Group.FUNNEL: (
            *("cart_per_view", "purchase_per_cart", "purchase_per_view"),
            *(f"abandoned_{k}" for k in (mid, spans[1])),
            "open_cart",
        ),
        Group.CROWD: ("popularity", "neighbours"),
    }


@as_declared
def log_age_of(age: Doubles) -> Doubles:
    """The feature "user_log_age" of users who were first seen `age` steps ago."""
    out: Doubles = np.log1p(age) / 3
    return out


@as_declared
def age_of(log_age: Doubles) -> Doubles:
    """And back: the age in steps that a feature says."""
    out: Doubles = np.expm1(3 * log_age)
    return out
