"""From per-step counters to the network's inputs and labels, for any number of leading axes.

A device has counters of shape (C, T), a simulated host (K, C, T): C categories, T closed steps, K users. Everything
here works on `(..., C, T)` and looks only at steps <= t to describe step t.

Policy for missing values (fixed by design, never learned from pooled data):
- a step without events is a step without interest: zeros, since the device itself does the recording;
- recency of something that never happened is 3 W (clipped by its scale); an interval with fewer than two active
  steps is 2 W;
- an amount that is missing counts as 0 (`shared.events` refuses one that is not a number).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Bools, Doubles, Floats, Ints, as_declared, as_ints
from .errors import ConfigError, InputError
from .events import ENGAGEMENT
from .register.bounds import MAX_STEP


@dataclass(frozen=True)
class FeatureSpec:
    """Which windows (in steps) describe an interest.

    `window_steps` is W, the longest look back; `short_steps` four windows below it, rising; `ewma_steps` the spans of
    the two slow averages (weight 2 / (span + 1) for the newest step).
    """

    window_steps: int
    short_steps: tuple[int, int, int, int] = (1, 2, 4, 8)
    ewma_steps: tuple[int, int] = (2, 8)

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

    @property
    def names(self) -> tuple[str, ...]:
        """The 27 features in the order of `extract`'s last axis."""
        windows, mid, long = (*self.short_steps, self.window_steps), self.short_steps[2], self.window_steps
        return (
            *(f"active_{k}" for k in windows),
            *(f"log_count_{k}" for k in (mid, long)),
            *(f"log_amount_{k}" for k in (mid, long)),
            *("recency", "log_recency", "tenure", "interval", "recency_per_interval", "active_total"),
            *(f"ewma_{k}" for k in self.ewma_steps),
            "ewma_difference",
            *(f"user_active_{k}" for k in windows),
            *("user_recency", f"user_log_amount_{mid}", "user_breadth", "share_of_user"),
        )

    @property
    def n_features(self) -> int:
        return len(self.names)


class History:
    """What a device remembers of each category and closed step. Raw behaviour: its repr shows only the shape.

    `active` bool, `count` float32 (events weighted by `ENGAGEMENT`), `amount` float32 (money): all (..., C, T).
    """

    __slots__ = ("active", "amount", "count")

    @as_declared
    def __init__(self, active: Bools, count: Floats, amount: Floats) -> None:
        if not active.shape == count.shape == amount.shape or active.ndim < 2:
            raise InputError(
                f"expected three equal shapes (..., C, T), got {active.shape} {count.shape} {amount.shape}"
            )
        self.active, self.count, self.amount = active, count, amount

    def __repr__(self) -> str:
        return f"History(<raw> shape={self.active.shape})"

    def __getitem__(self, where: Any) -> History:
        """The history of some users, categories or steps, indexed as numpy's arrays are: a view where theirs is one.

        >>> History.empty(3)[:2]
        History(<raw> shape=(2, 0))
        """
        return History(self.active[where], self.count[where], self.amount[where])

    @property
    def n_categories(self) -> int:
        return int(self.active.shape[-2])

    @property
    def n_steps(self) -> int:
        return int(self.active.shape[-1])

    @classmethod
    def empty(cls, n_categories: int) -> History:
        """A device's history before its first closed step."""
        zeros = np.zeros((n_categories, 0), np.float32)
        return cls(zeros.astype(bool), zeros, zeros.copy())

    @classmethod
    @as_declared
    def from_events(
        cls,
        shape: tuple[int, ...],
        index: tuple[NDArray[np.integer], ...],
        kind: NDArray[np.integer],
        amount: NDArray[np.floating],
    ) -> History:
        """Counters of `shape` (..., C, T) from n events; `index` holds one int array (n,) per axis of `shape`. InputError for
        a place outside of it, a kind that is none, or columns of several lengths."""
        axes = [as_ints(f"index {axis}", values) for axis, values in enumerate(index)]
        if len(axes) != len(shape) or any(values.shape != kind.shape for values in (*axes, amount)):
            raise InputError(f"expected an index for each of {len(shape)} axes, and columns of {kind.shape}")
        if kind.size and not (kind.min() >= 0 and kind.max() < len(ENGAGEMENT)):
            raise InputError(f"expected kinds in 0..{len(ENGAGEMENT) - 1}")
        try:
            flat = np.ravel_multi_index(tuple(axes), shape)
        except ValueError:
            raise InputError(f"expected places inside of {shape}") from None
        size = int(np.prod(shape))
        count = np.bincount(flat, weights=ENGAGEMENT[kind], minlength=size).astype(np.float32).reshape(shape)
        total = np.bincount(flat, weights=amount, minlength=size).astype(np.float32).reshape(shape)
        return cls(count > 0, count, total)

    def until(self, step: int) -> History:
        """This history as it was at the close of `step`."""
        return self[..., : step + 1]

    @as_declared
    def then(self, count: Floats, amount: Floats) -> History:
        """This history with one more closed step; `count` and `amount` (..., C)."""
        return History(
            np.concatenate([self.active, (count > 0)[..., None]], axis=-1),
            np.concatenate([self.count, count[..., None].astype(np.float32)], axis=-1),
            np.concatenate([self.amount, amount[..., None].astype(np.float32)], axis=-1),
        )


def _steps(history: History, steps: Sequence[int] | Ints, last: int) -> Ints:
    """The steps as an int array, each in 0..last."""
    out = np.asarray(steps, dtype=np.int64)
    if out.ndim != 1 or (out.size and not (out.min() >= 0 and out.max() <= last)):
        raise InputError(f"expected steps in 0..{last} of {history.n_steps} closed ones, got {out.tolist()}")
    return out


def _cumulative(values: NDArray[np.generic]) -> Doubles:
    """Running sums over T with a leading zero: (..., T) -> (..., T + 1)."""
    out = np.zeros((*values.shape[:-1], values.shape[-1] + 1))
    np.cumsum(values, axis=-1, dtype=np.float64, out=out[..., 1:])
    return out


def _window(sums: Doubles, steps: Ints, width: int) -> Floats:
    """Sum over the last `width` steps up to each step: (..., T + 1) -> (..., S)."""
    out: Floats = (sums[..., steps + 1] - sums[..., np.maximum(steps + 1 - width, 0)]).astype(np.float32)
    return out


@as_declared
def last_active(active: Bools) -> Ints:
    """Index of the last active step at or before each step, -1 if none: (..., T) -> (..., T).

    >>> last_active(np.array([False, True, False, False, True])).tolist()
    [-1, 1, 1, 1, 4]
    """
    index = np.where(active, np.arange(active.shape[-1]), -1)
    out: Ints = np.maximum.accumulate(index, axis=-1)
    return out


def _first_active(active: Bools, steps: Ints) -> Ints:
    """Index of the first active step if it is <= step, else -1: (..., T) -> (..., S)."""
    if not active.shape[-1]:
        return np.full((*active.shape[:-1], steps.size), -1)
    first = np.where(active.any(axis=-1), active.argmax(axis=-1), active.shape[-1])[..., None]
    return np.where(first <= steps, first, -1)


def _ewma(active: Bools, steps: Ints, span: int) -> Floats:
    """Exponentially weighted share of active steps, as of each step: (..., T) -> (..., S).

    The recursion level += w (active - level), w = 2 / (span + 1), from level 0, written as one matrix product.
    """
    weight = 2 / (span + 1)
    age = steps - np.arange(active.shape[-1])[:, None]
    powers = weight * (1 - weight) ** np.arange(active.shape[-1] + 1)
    decay = np.where(age >= 0, powers[np.maximum(age, 0)], 0).astype(np.float32)
    out: Floats = active.astype(np.float32) @ decay
    return out


@as_declared
def seen(history: History, steps: Sequence[int] | Ints) -> Bools:
    """Whether the user had engaged with the category at or before each step: (..., S, C)."""
    at = _steps(history, steps, history.n_steps - 1)
    return np.moveaxis(_first_active(history.active, at) >= 0, -1, -2)


@as_declared
def labels(history: History, steps: Sequence[int] | Ints, horizon_steps: int) -> Bools:
    """Whether the user engages in (t, t + horizon]: (..., S, C).

    InputError unless t + horizon is closed for every step: a label that is not known yet is no label.

    One category, active at steps 1 and 4; does the user come within two steps?

    >>> active = np.array([[False, True, False, False, True]])
    >>> history = History(active, active * np.float32(1), active * np.float32(0))
    >>> labels(history, [0, 1, 2], horizon_steps=2).tolist()
    [[True], [False], [True]]
    """
    at = _steps(history, steps, history.n_steps - 1 - horizon_steps)
    sums = _cumulative(history.active)
    return np.moveaxis((sums[..., at + horizon_steps + 1] - sums[..., at + 1]) > 0, -1, -2)


@as_declared
def extract(history: History, spec: FeatureSpec, steps: Sequence[int] | Ints) -> Floats:
    """Features as of the close of each step: float32 (..., S, C, F), each in [-7, 5], scales fixed by design.

    `steps` are S indices of closed steps. Uses counters of steps <= t only.

    Active at steps 1 and 4 of five. Features lie in [-7, 5]: an activity share of .5 is 0, of 1 is 1.

    >>> active = np.array([[False, True, False, False, True]])
    >>> history = History(active, active * np.float32(1), active * np.float32(0))
    >>> spec = FeatureSpec(window_steps=12)
    >>> row = extract(history, spec, [4])[0, 0]
    >>> {name: float(row[spec.names.index(name)].round(2)) for name in ("active_1", "active_4", "interval")}
    {'active_1': 1.0, 'active_4': 0.0, 'interval': -0.5}
    """
    at = _steps(history, steps, history.n_steps - 1)
    w = spec.window_steps
    windows, mid = (*spec.short_steps, w), spec.short_steps[2]
    active = _cumulative(history.active)
    count = _cumulative(history.count)
    amount = _cumulative(history.amount)
    user_active: Bools = np.asarray(history.active.any(axis=-2))
    user_sums = _cumulative(user_active)
    user_amount = amount.sum(axis=-2)

    last = last_active(history.active)[..., at]
    first = _first_active(history.active, at)
    total = active[..., at + 1].astype(np.float32)
    recency = np.where(last >= 0, at - last, 3 * w).astype(np.float32)
    tenure = np.where(first >= 0, at - first, 0).astype(np.float32)
    interval = np.where(total >= 2, (last - first) / np.maximum(total - 1, 1), 2 * w).astype(np.float32)
    long = _window(active, at, w)
    fast, slow = (_ewma(history.active, at, span) for span in spec.ewma_steps)

    own: list[NDArray[np.floating]] = [_window(active, at, k) / k for k in windows]
    own += [np.log1p(_window(count, at, k)) / scale for k, scale in ((mid, 3), (w, 4))]
    own += [np.log1p(np.maximum(_window(amount, at, k), 0)) / scale for k, scale in ((mid, 4), (w, 5))]
    own += [recency / w, np.log1p(recency) / 3, tenure / (2 * w), interval / w]
    own += [np.minimum(recency / np.maximum(interval, 0.5), 20) / 5, total / w, fast, slow, fast - slow]

    user_last = last_active(user_active)[..., at]
    user: list[NDArray[np.floating]] = [_window(user_sums, at, k) / k for k in windows]
    user += [np.where(user_last >= 0, at - user_last, 3 * w) / w]
    user += [np.log1p(np.maximum(_window(user_amount, at, mid), 0)) / 5]
    user += [(long > 0).sum(axis=-2) / 10]
    share = long / np.maximum(_window(user_sums, at, w), 1)[..., None, :]

    out = np.empty((*history.active.shape[:-1], at.size, spec.n_features), np.float32)
    for j, values in enumerate(own):
        out[..., j] = values
    for j, values in enumerate(user, start=len(own)):
        out[..., j] = values[..., None, :]
    out[..., -1] = share
    np.clip(out, -3, 3, out=out)
    out -= np.float32(0.5)
    out *= np.float32(2)
    return np.moveaxis(out, -2, -3)


@as_declared
def established(
    history: History, steps: Sequence[int] | Ints, *, window_steps: int, min_active: int, lapse_steps: int
) -> Bools:
    """Which interests are worth watching for a lapse at each step: (..., S, C).

    Those whose last active step saw >= `min_active` active steps in the `window_steps` up to it, came fewer than
    `lapse_steps` ago, and whose first lies at least window_steps // 2 back (docs/protocol.md: "watched").
    """
    at = _steps(history, steps, history.n_steps - 1)
    sums = _cumulative(history.active)
    last = last_active(history.active)[..., at]
    end = np.maximum(last, 0) + 1
    busy = np.take_along_axis(sums, end, -1) - np.take_along_axis(sums, np.maximum(end - window_steps, 0), -1)
    first = _first_active(history.active, at)
    old = (first >= 0) & (first <= at - window_steps // 2)
    return np.moveaxis((last >= 0) & (busy >= min_active) & (at - last < lapse_steps) & old, -1, -2)
