"""What is remembered of every category and closed step: counters, never events.

A device has counters of shape (C, T), a simulated host (K, C, T): C categories, T closed steps, K users.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import Bools, Floats, as_declared, as_ints
from ..errors import InputError
from ..events import ENGAGEMENT, EventKind

N_KINDS = len(EventKind)
#: As many events of one kind as a step remembers of a category; more say nothing more.
MOST_EVENTS = 255
#: What is counted of a step: engagement, money, and the events of each kind.
N_COUNTERS = 2 + N_KINDS


class History:
    """What a device remembers of each category and closed step. Raw behaviour: its repr shows only the shape.

    `active` bool, `count` float32 (events weighted by `ENGAGEMENT`), `amount` float32 (money): all (..., C, T). `kinds` uint8
    (5, ..., C, T): how many events of each `EventKind`, up to `MOST_EVENTS`; None where nobody counted them, for features of
    version 1 do without.
    """

    __slots__ = ("active", "amount", "count", "kinds")

    @as_declared
    def __init__(self, active: Bools, count: Floats, amount: Floats, kinds: NDArray[np.uint8] | None = None) -> None:
        if not active.shape == count.shape == amount.shape or active.ndim < 2:
            raise InputError(
                f"expected three equal shapes (..., C, T), got {active.shape} {count.shape} {amount.shape}"
            )
        if kinds is not None and kinds.shape != (N_KINDS, *active.shape):
            raise InputError(f"expected kinds of shape {(N_KINDS, *active.shape)}, got {kinds.shape}")
        self.active, self.count, self.amount, self.kinds = active, count, amount, kinds

    def __repr__(self) -> str:
        return f"History(<raw> shape={self.active.shape})"

    def __getitem__(self, where: Any) -> History:
        """The history of some users, categories or steps, indexed as numpy's arrays are: a view where theirs is one.

        >>> History.empty(3)[:2]
        History(<raw> shape=(2, 0))
        """
        of_kinds = (slice(None), *where) if isinstance(where, tuple) else (slice(None), where)
        kinds = None if self.kinds is None else self.kinds[of_kinds]
        return History(self.active[where], self.count[where], self.amount[where], kinds)

    @property
    def n_categories(self) -> int:
        return int(self.active.shape[-2])

    @property
    def n_steps(self) -> int:
        return int(self.active.shape[-1])

    @classmethod
    def empty(cls, n_categories: int) -> History:
        """A device's history before its first closed step."""
        return cls.of_counters(np.zeros((N_COUNTERS, n_categories, 0), np.float32))

    @classmethod
    @as_declared
    def of_counters(cls, counters: Floats) -> History:
        """The history of `counters`."""
        count, amount = counters[0].copy(), counters[1].copy()
        return cls(count > 0, count, amount, counters[2:].astype(np.uint8))

    def counters(self) -> Floats:
        """Engagement, money and the events of each kind: (7, ..., C, T), copied. Where kinds were not counted, none of any."""
        out = np.zeros((N_COUNTERS, *self.active.shape), np.float32)
        out[0], out[1] = self.count, self.amount
        if self.kinds is not None:
            out[2:] = self.kinds
        return out

    def copy(self) -> History:
        """A history that shares nothing with this one."""
        kinds = None if self.kinds is None else self.kinds.copy()
        return History(self.active.copy(), self.count.copy(), self.amount.copy(), kinds)

    @classmethod
    @as_declared
    def from_events(
        cls,
        shape: tuple[int, ...],
        index: tuple[NDArray[np.integer], ...],
        kind: NDArray[np.integer],
        amount: NDArray[np.floating],
        *,
        with_kinds: bool = False,
    ) -> History:
        """Counters of `shape` (..., C, T) from n events, by kind as well if `with_kinds`; `index` holds one int array (n,) per axis
        of `shape`. InputError for a place outside of it, a kind that is none, or columns of several lengths."""
        axes = [as_ints(f"index {axis}", values) for axis, values in enumerate(index)]
        if len(axes) != len(shape) or any(values.shape != kind.shape for values in (*axes, amount)):
            raise InputError(f"expected an index for each of {len(shape)} axes, and columns of {kind.shape}")
        if kind.size and not (kind.min() >= 0 and kind.max() < N_KINDS):
            raise InputError(f"expected kinds in 0..{N_KINDS - 1}")
        try:
            flat = np.ravel_multi_index(tuple(axes), shape)
        except ValueError:
            raise InputError(f"expected places inside of {shape}") from None
        size = int(np.prod(shape))
        count = np.bincount(flat, weights=ENGAGEMENT[kind], minlength=size).astype(np.float32).reshape(shape)
        total = np.bincount(flat, weights=amount, minlength=size).astype(np.float32).reshape(shape)
        return cls(count > 0, count, total, _by_kind(flat, kind, shape) if with_kinds else None)

    def until(self, step: int) -> History:
        """This history as it was at the close of `step`."""
        return self[..., : step + 1]

    @as_declared
    def then(self, count: Floats, amount: Floats, kinds: NDArray[np.uint8] | None = None) -> History:
        """This history with one more closed step; `count` and `amount` (..., C), `kinds` (5, ..., C). What was not counted by
        kind in every step is not counted by kind."""
        every = None if self.kinds is None or kinds is None else np.concatenate([self.kinds, kinds[..., None]], axis=-1)
        return History(
            np.concatenate([self.active, (count > 0)[..., None]], axis=-1),
            np.concatenate([self.count, count[..., None].astype(np.float32)], axis=-1),
            np.concatenate([self.amount, amount[..., None].astype(np.float32)], axis=-1),
            every,
        )

    def of_kinds(self, kinds: Sequence[int]) -> History:
        """This history as if events of these kinds alone were interest: active steps, engagement and money are theirs, and what was
        counted by kind stays. InputError if nobody counted that.

        Beyond `MOST_EVENTS` of a kind in a step there is no more engagement. What is of these kinds already stays as it is.
        """
        if self.kinds is None:
            raise InputError("expected a history whose events are counted by kind, of which some are interest")
        count = engagement(self.kinds, kinds)
        amount = self.amount if EventKind.PURCHASE in kinds else np.zeros_like(self.amount)
        return History(count > 0, count, amount, self.kinds)

    def then_silent(self, n_steps: int) -> History:
        """This history with `n_steps` more steps in which nothing was done."""

        def longer(column: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([column, np.zeros((*column.shape[:-1], n_steps), column.dtype)], axis=-1)

        kinds = None if self.kinds is None else longer(self.kinds)
        return History(longer(self.active), longer(self.count), longer(self.amount), kinds)


@as_declared
def engagement(events: NDArray[np.uint8], kinds: Sequence[int]) -> Floats:
    """What events by kind (5, ...) of some kinds add up to, weighted by `ENGAGEMENT`: (...)."""
    out = np.zeros(events.shape[1:], np.float32)
    for kind in kinds:
        out += ENGAGEMENT[kind] * events[kind]
    return out


def _by_kind(flat: NDArray[np.integer], kind: NDArray[np.integer], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """How many of n events at the places `flat` of `shape` are of each kind: (5, *shape)."""
    out = np.empty((N_KINDS, *shape), np.uint8)
    for one in range(N_KINDS):
        n = np.bincount(flat[kind == one], minlength=int(np.prod(shape)))
        out[one] = np.minimum(n, MOST_EVENTS).reshape(shape)
    return out
