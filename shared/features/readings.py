"""What features are made of: sums over windows, averages and the last active steps, as of the close of S steps.

Three ways lead here, and give the same: over arrays of whole histories, for any number of leading axes (`activity_read`,
`richer_read`), one step after the other, in room that does not grow (`shared.features.running`), and in loops over the cells of many
users (`simulations.life.people`). From here on there is one way only (`shared.features.columns`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..arrays import Bools, Doubles, Floats, Ints, as_declared
from ..errors import InputError
from .counters import N_KINDS, History
from .spec import FeatureSpec
from .windows import cumulative, ewma, first_active, last_active, window


class Activity(NamedTuple):
    """What version 1 is made of, as of steps `at` (S,). Of every category (..., C, S): active steps in the five windows,
    engagement and money in the middle and the longest one, the last and the first active step (-1: none), active steps in all,
    two averages. Of the user (..., S): the same of any category's activity."""

    at: Ints
    active: tuple[Floats, ...]
    counts: tuple[Floats, Floats]
    amounts: tuple[Floats, Floats]
    last: Ints
    first: Ints
    total: Floats
    averages: tuple[Floats, Floats]
    user_active: tuple[Floats, ...]
    user_last: Ints
    user_amount: Floats


class RicherRead(NamedTuple):
    """What version 2 is made of besides. Averages are those of a level that begins at 0, not corrected yet.

    Of every category: `averages` (4, ..., C, S) of activity over `FeatureSpec.spans`, `log_counts` and `log_amounts`
    (2, ..., C, S) over W and 2 W. Of the user: `user_averages` and `user_breadths` (3, ..., S) over 4, W, 2 W, the first active
    step, active steps in all (..., S). Of each kind: `kind_averages` (3, 5, ..., C, S), events in the middle and the longest
    window `kind_counts` (2, 5, ..., C, S), the last step with one `kind_last` (5, ..., C, S); -1: none.
    """

    averages: Doubles
    log_counts: Doubles
    log_amounts: Doubles
    user_averages: Doubles
    user_breadths: Doubles
    user_first: Ints
    user_total: Doubles
    kind_averages: Doubles
    kind_counts: Doubles
    kind_last: Ints


@as_declared
def activity_read(history: History, spec: FeatureSpec, at: Ints) -> Activity:
    """See `Activity`, of closed steps `at` of a history (..., C, T)."""
    windows, mid, long = (*spec.short_steps, spec.window_steps), spec.mid_steps, spec.window_steps
    active, count, amount = (cumulative(values) for values in (history.active, history.count, history.amount))
    user_active: Bools = np.asarray(history.active.any(axis=-2))
    user_sums = cumulative(user_active)
    fast, slow = (ewma(history.active, at, span) for span in spec.ewma_steps)
    return Activity(
        at=at,
        active=tuple(window(active, at, k) for k in windows),
        counts=(window(count, at, mid), window(count, at, long)),
        amounts=(window(amount, at, mid), window(amount, at, long)),
        last=last_active(history.active)[..., at],
        first=first_active(history.active, at),
        total=active[..., at + 1].astype(np.float32),
        averages=(fast, slow),
        user_active=tuple(window(user_sums, at, k) for k in windows),
        user_last=last_active(user_active)[..., at],
        user_amount=window(amount.sum(axis=-2), at, mid),
    )


@as_declared
def richer_read(history: History, spec: FeatureSpec, at: Ints) -> RicherRead:
    """See `RicherRead`, of closed steps `at` of a history (..., C, T). InputError for one whose kinds nobody counted, if the spec
    uses kinds."""
    history = history.until(int(at.max(initial=-1)))
    user, decays = np.asarray(history.active.any(axis=-2)), _decays(history.n_steps, at, spec.spans)
    shape = (N_KINDS, *history.active.shape[:-1], at.size)
    averages, counts, last = np.zeros((3, *shape)), np.zeros((2, *shape)), np.full(shape, -1)
    for kind in kinds_used(history, spec):
        assert history.kinds is not None
        events = history.kinds[kind]
        happened, sums = events > 0, cumulative(events)
        averages[:, kind] = _levels(happened, decays[:, :3])
        counts[:, kind] = [window(sums, at, k) for k in (spec.mid_steps, spec.window_steps)]
        last[kind] = last_active(happened)[..., at]
    return RicherRead(
        averages=_levels(history.active, decays),
        log_counts=_levels(log_of(history.count), decays[:, 1:3]),
        log_amounts=_levels(log_of(history.amount), decays[:, 1:3]),
        user_averages=_levels(user, decays[:, :3]),
        user_breadths=_levels(history.active.sum(axis=-2), decays[:, :3]),
        user_first=first_active(user, at),
        user_total=cumulative(user)[..., at + 1],
        kind_averages=averages,
        kind_counts=counts,
        kind_last=last,
    )


def kinds_used(history: History, spec: FeatureSpec) -> tuple[int, ...]:
    """The kinds of events that a spec uses; InputError if it uses any, and nobody counted them."""
    assert spec.more is not None
    if spec.more.kinds and history.kinds is None:
        raise InputError("expected a history whose events are counted by kind, as features of version 2 are made of")
    return spec.more.kinds


@as_declared
def log_of(values: Floats) -> Doubles:
    """log(1 + values), of negative ones as of 0."""
    return np.log1p(np.maximum(values, 0).astype(np.float64))


@as_declared
def levels(values: NDArray[Any], at: Ints, spans: tuple[int, ...]) -> Doubles:
    """Exponentially weighted means of values (..., T) as of steps `at`, one for each span: (n, ..., S). The recursion
    level += w (value - level), w = 2 / (span + 1), from level 0, as one matrix product."""
    return _levels(values, _decays(values.shape[-1], at, spans))


def _decays(n_steps: int, at: Ints, spans: tuple[int, ...]) -> Doubles:
    """What each step weighs in the average over each span, as of each step `at`: (T, n, S)."""
    age = at - np.arange(n_steps)[:, None]
    out = np.zeros((n_steps, len(spans), at.size))
    for i, span in enumerate(spans):
        weight = 2 / (span + 1)
        powers = weight * (1 - weight) ** np.arange(n_steps + 1)
        out[:, i] = np.where(age >= 0, powers[np.maximum(age, 0)], 0)
    return out


def _levels(values: NDArray[np.generic], decays: Doubles) -> Doubles:
    """`levels` by what each step weighs, (T, n, S)."""
    n_steps, *wanted = decays.shape
    streams = values.reshape(math.prod(values.shape[:-1]), n_steps).astype(np.float64)
    out = streams @ decays.reshape(n_steps, math.prod(wanted))
    return np.moveaxis(out.reshape(*values.shape[:-1], *wanted), -2, 0)
