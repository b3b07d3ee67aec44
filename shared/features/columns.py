"""From readings to the columns that the network is given: bounded whatever was counted, scaled by design.

Policy for missing values (fixed by design, never learned from pooled data):
- a step without events is a step without interest: zeros, since the device itself does the recording;
- recency of something that never happened is 3 W (clipped by its scale); an interval with fewer than two active
  steps is 2 W;
- an amount that is missing counts as 0 (`shared.events` refuses one that is not a number);
- what version 2 adds is 0 where there is nothing to say: a category never seen, a kind that a shop does not have, a group that
  the plan does not use, a sum that nobody told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..arrays import Doubles, Floats
from ..events import EventKind
from .crowd import Crowd
from .readings import Activity, RicherRead
from .spec import FeatureSpec, Group, Richer, log_age_of

#: What a column of version 2 is held in.
BOUND = 3.0
#: BG/NBD's chances are held in this and one minus it before they become logits; steps added to an age, and active ones to a
#: number of them, before one is divided by the other (the prototypes' own, fixed by design).
LEAST_CHANCE, MORE_STEPS, MORE_ACTIVE = 0.002, 5.0, 0.5

Columns = Sequence[NDArray[np.floating]]


def of_activity(read: Activity, spec: FeatureSpec) -> Floats:
    """The 27 columns of version 1: float32 (..., C, S, 27), each in [-7, 5]."""
    w = spec.window_steps
    long, at = read.active[-1], read.at
    recency = np.where(read.last >= 0, at - read.last, 3 * w).astype(np.float32)
    tenure = np.where(read.first >= 0, at - read.first, 0).astype(np.float32)
    often = np.maximum(read.total - 1, 1)
    interval = np.where(read.total >= 2, (read.last - read.first) / often, 2 * w).astype(np.float32)
    fast, slow = read.averages
    windows = (*spec.short_steps, w)

    own: list[NDArray[np.floating]] = [active / k for active, k in zip(read.active, windows, strict=True)]
    own += [np.log1p(count) / scale for count, scale in zip(read.counts, (3, 4), strict=True)]
    own += [np.log1p(np.maximum(amount, 0)) / scale for amount, scale in zip(read.amounts, (4, 5), strict=True)]
    own += [recency / w, np.log1p(recency) / 3, tenure / (2 * w), interval / w]
    own += [np.minimum(recency / np.maximum(interval, 0.5), 20) / 5, read.total / w, fast, slow, fast - slow]

    user: list[NDArray[np.floating]] = [active / k for active, k in zip(read.user_active, windows, strict=True)]
    user += [np.where(read.user_last >= 0, at - read.user_last, 3 * w) / w]
    user += [np.log1p(np.maximum(read.user_amount, 0)) / 5]
    user += [(long > 0).sum(axis=-2) / 10]
    share = long / np.maximum(read.user_active[-1], 1)[..., None, :]

    out = np.empty((*long.shape, len(own) + len(user) + 1), np.float32)
    for j, values in enumerate(own):
        out[..., j] = values
    for j, values in enumerate(user, start=len(own)):
        out[..., j] = values[..., None, :]
    out[..., -1] = share
    np.clip(out, -3, 3, out=out)
    out -= np.float32(0.5)
    out *= np.float32(2)
    return out


def of_richer(read: Activity, more: RicherRead, spec: FeatureSpec, crowd: Crowd | None) -> Floats:
    """The columns that version 2 adds, those of each group in the order of `FeatureSpec.names_of`: float32 (..., C, S, F), each
    in -BOUND..BOUND."""
    richer = spec.more
    assert richer is not None
    age = np.where(more.user_first >= 0, read.at - more.user_first, 0).astype(np.float64)
    averages = _corrected(more.averages, age[..., None, :], spec.spans)
    columns: dict[Group, Callable[[], Columns]] = {
        Group.AVERAGES: lambda: _averages(averages, more, age, spec),
        Group.RATES: lambda: _rates(read, more, age, richer),
        Group.LEAVING: lambda: _leaving(read, richer),
        Group.KINDS: lambda: _kinds(read, more, age, spec),
        Group.FUNNEL: lambda: _funnel(read, more, spec),
        Group.CROWD: lambda: _crowd(averages[1], crowd),
    }
    out = np.zeros((*read.total.shape, sum(len(spec.names_of(group)) for group in columns)), np.float32)
    first = 0
    for group, made in columns.items():
        last = first + len(spec.names_of(group))
        if group in richer.groups:
            for j, values in zip(range(first, last), made(), strict=True):
                out[..., j] = values
        first = last
    np.clip(out, -BOUND, BOUND, out=out)
    return out


def _corrected(levels: Doubles, age: Doubles, spans: Sequence[int]) -> Doubles:
    """Levels (n, ...) that began at 0 when a user was first seen, `age` steps ago: as if they had begun at the mean."""
    weights = [2 / (span + 1) for span in spans]
    return np.stack([level / (1 - (1 - w) ** (age + 1)) for level, w in zip(levels, weights, strict=True)])


def _averages(averages: Doubles, more: RicherRead, age: Doubles, spec: FeatureSpec) -> Columns:
    spans, of_all = spec.spans, age[..., None, :]
    users = [
        *_corrected(more.user_averages, age, spans[:3]),
        *(_corrected(more.user_breadths, age, spans[:3]) / 5),
    ]
    return (
        *averages,
        *_corrected(more.log_counts, of_all, spans[1:3]),
        *(_corrected(more.log_amounts, of_all, spans[1:3]) / 3),
        *(user[..., None, :] for user in users),
        np.log1p(100 * averages[2]) / 2,
        log_age_of(of_all),
    )


def _rates(read: Activity, more: RicherRead, age: Doubles, richer: Richer) -> Columns:
    known = read.first >= 0
    rate = (read.total + MORE_ACTIVE) / (read.at - read.first + MORE_STEPS)
    user_rate = (more.user_total + MORE_ACTIVE) / (age + MORE_STEPS)
    return (
        np.where(known, np.log(rate) / 2, 0),
        np.where(known, np.minimum(rate * (read.at - read.last), 6) / 2, 0),
        np.where(known, np.exp(-np.minimum(rate * richer.lapse_steps, 6)), 0),
        np.where(more.user_first >= 0, np.log(user_rate) / 2, 0)[..., None, :],
    )


def _leaving(read: Activity, richer: Richer) -> Columns:
    """Logits of what BG/NBD says of the next `lapse_steps` steps, and of having left (Fader, Hardie and Lee 2005, eq. 6, and their
    note on P(alive), 2008); the same as simulations/baselines/bgnbd.py, in functions that a device has."""
    known = read.first >= 0
    repeats = np.where(known, read.total - 1, 0).astype(np.float64)
    last, age = (np.where(known, steps - read.first, 0).astype(np.float64) for steps in (read.last, read.at))
    shape, begun = richer.r + repeats, richer.alpha + age
    left = np.log(richer.a / (richer.b + np.maximum(repeats, 1) - 1)) - shape * np.log(richer.alpha + last)
    gone = np.where(repeats > 0, 1 / (1 + np.exp(np.clip(-shape * np.log(begun) - left, -50, 50))), 0)
    silent = 1 - (1 - gone) * (1 - (begun / (begun + richer.lapse_steps)) ** shape)
    return [np.where(known, _logit(chance) / 2, 0) for chance in (silent, gone)]


def _logit(chance: Doubles) -> Doubles:
    held = np.clip(chance, LEAST_CHANCE, 1 - LEAST_CHANCE)
    out: Doubles = np.log(held / (1 - held))
    return out


def _kinds(read: Activity, more: RicherRead, age: Doubles, spec: FeatureSpec) -> Columns:
    averages = _corrected(more.kind_averages, age[..., None, :], spec.spans[:3])
    lately, long = np.log1p(more.kind_counts[0]) / 2, np.log1p(more.kind_counts[1]) / 3
    fresh = _freshness(read, more.kind_last, spec)
    return [one for kind in EventKind for one in (*averages[:, kind], lately[kind], long[kind], fresh[kind])]


def _freshness(read: Activity, last: NDArray[np.integer], spec: FeatureSpec) -> Doubles:
    """1 at the last step with something, falling with the log of time to 0 at 3 W steps; 0 for never."""
    longest = 3 * spec.window_steps
    since = np.where(last >= 0, np.minimum(read.at - last, longest), longest)
    out: Doubles = 1 - np.log1p(since) / np.log1p(longest)
    return out


def _funnel(read: Activity, more: RicherRead, spec: FeatureSpec) -> Columns:
    """Ratios n / (n + others + 1) within the longest window, 0 where either never happened; carts beyond purchases; a cart behind
    the last purchase."""
    view, cart, purchase = (more.kind_counts[1, kind] for kind in _FUNNEL)
    steps = ((cart, view), (purchase, cart), (purchase, view))
    abandoned = more.kind_counts[:, EventKind.CART] - more.kind_counts[:, EventKind.PURCHASE]
    carted, bought = more.kind_last[EventKind.CART], more.kind_last[EventKind.PURCHASE]
    return (
        *(np.where(before > 0, after / (after + before + 1), 0) for after, before in steps),
        *(np.log1p(np.maximum(abandoned, 0)) / 2),
        np.where(carted > bought, _freshness(read, carted, spec), 0),
    )


_FUNNEL = (EventKind.VIEW, EventKind.CART, EventKind.PURCHASE)


def _crowd(averages: Doubles, crowd: Crowd | None) -> Columns:
    if crowd is None:
        return list(np.zeros((2, *averages.shape)))
    return (np.broadcast_to(crowd.popularity[:, None], averages.shape), crowd.neighbours @ averages)
