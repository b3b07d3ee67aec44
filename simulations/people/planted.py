"""The planted population: made-up shoppers whose changes of interest are known. Always labelled simulated.

A user visits the shop on some days (own level, weekday rhythm, a mood that lasts from day to day). On a visit
the number of views in a category is Poisson, with a log-rate of: the user's liveliness + the user's taste +
the category's weekday + a mood of this user for this category + what was planted. Views lead to clicks,
clicks to favourites and carts, carts to purchases. Most users are light, and some are sparse: they come on
few days.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shared.arrays import Bools, Doubles, Floats, Ints
from shared.errors import DataError, InputError
from shared.events import MAX_CATEGORIES, Catalogue, EventKind, Step
from shared.files import private_folder

from .population import Population
from .population_files import COLUMNS, OFFSETS, TRUTH_FIELDS, ColumnFile, write_index
from .truth import ChangeKind, Truth

MIN_STEPS: Final = 28
N_CATEGORIES: Final = 12
SPARSE_SHARE: Final = 0.25
CHANGE_SHARE: Final = 0.4
BURSTS_PER_100_STEPS: Final = 0.5
# fmt: off
NAMES: Final = (
    "shoes", "dresses", "shirts", "coats", "bags", "jewellery", "beauty", "books", "toys", "garden",
    "kitchen", "audio", "phones", "cameras", "games", "sports", "cycling", "pets", "baby", "bedding", "tools",
)
# fmt: on

_CHUNK_CELLS: Final = 4_000_000  # user x step x category cells that are in memory at once
_SLOT_STEPS: Final = 28  # at most one burst in each slot, so that bursts stay apart
_RAMP_STEPS: Final = (14, 28)
_DROP: Final = (1.5, 3.0)
_STOP: Final = (4.0, 5.0)  # nearly stops
_STOP_SHARE: Final = 0.3
_RISE: Final = (1.2, 2.8)
_BURST: Final = (1.0, 2.5)
_PAUSE: Final = -4.0  # a burst of silence
_PAUSE_SHARE: Final = 0.25
_KINDS: Final = (0.4, 0.25, 0.35)  # of the changes: drops, rises, gradual drifts
# A change is planted only where the expected numbers of active days in three weeks (six for a sparse user)
# before and after it differ by this many standard deviations.
_VISIBLE: Final = 2.0
_VISIBLE_SPARSE: Final = 1.5


@dataclass(frozen=True)
class _Users:
    """What K users are like."""

    sparse: Bools  # (K,)
    visit: Floats  # (K,) logit of the probability to visit on a day
    rhythm: Floats  # (K, 7) added to it by weekday
    rate: Floats  # (K, C) log of views in a category on a visit
    click: Floats  # (K,) share of views that become clicks
    spend: Floats  # (K,) factor on prices


@dataclass(frozen=True)
class _Shop:
    """What the shop's C categories are like: the same for everybody."""

    popularity: Floats  # (C,) added to everybody's taste
    rhythm: Floats  # (C, 7) added to the log-rate by weekday
    price: Floats  # (C,) money


def plant(
    n_users: int,
    n_steps: int,
    *,
    seed: int,
    n_categories: int = N_CATEGORIES,
    sparse_share: float = SPARSE_SHARE,
    change_share: float = CHANGE_SHARE,
    bursts_per_100_steps: float = BURSTS_PER_100_STEPS,
) -> Population:
    """A simulated population of `n_users` over `n_steps` days, with its truth. Same arguments, same bytes.

    `sparse_share` of the users come on few days. `change_share` of the (user, category) pairs on which a
    change would be visible have one: a sudden drop, a rise or a gradual drift, at any step but the first
    weeks. Every pair with some activity has `bursts_per_100_steps` bursts of 1-3 days (of much or of no
    activity), at least four days apart. Day 0 is a Monday. Every user has at least one event. An argument out
    of its range is an InputError.
    """
    _expect_whole("n_users", n_users, 1, None)
    _expect_whole("n_steps", n_steps, MIN_STEPS, None)
    _expect_whole("seed", seed, 0, None)
    _expect_whole("n_categories", n_categories, 1, MAX_CATEGORIES)
    _expect_number("sparse_share", sparse_share, 0, 1)
    _expect_number("change_share", change_share, 0, 1)
    _expect_number("bursts_per_100_steps", bursts_per_100_steps, 0, 3)
    parts = list(_parts(n_users, n_steps, seed, n_categories, sparse_share, change_share, bursts_per_100_steps))
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Any] = {key: np.concatenate([getattr(part, key) for part in parts]) for key in COLUMNS}
    for key in OFFSETS:
        counts = np.concatenate([np.diff(getattr(part, key)) for part in parts])
        columns[key] = np.concatenate([[0], np.cumsum(counts)])
    for column in columns.values():
        column.flags.writeable = False
    truths, firsts = (
        [part.truth for part in parts if part.truth is not None],
        np.cumsum([0, *(part.n_users for part in parts)]),
    )
    moved = [replace(truth, user=truth.user + first) for truth, first in zip(truths, firsts[:-1], strict=True)]
    truth = Truth(*(np.concatenate([getattr(one, field) for one in moved]) for field in TRUTH_FIELDS))
    return replace(parts[0], **columns, truth=truth)


@dataclass(frozen=True)
class ToPlant:
    """The people of `plant`, before they are made: how many, and what they know. `save` makes them where they are to lie, some at a
    time, so that a million need no more memory than some thousand."""

    n_users: int
    n_steps: int
    seed: int

    @property
    def catalogue(self) -> Catalogue:
        return _catalogue(N_CATEGORIES)

    def save(self, folder: Path) -> None:
        """Leave in `folder` what `plant(...).save(folder)` leaves. A folder that cannot be written is a DataError."""
        try:
            private_folder(folder)
            with ExitStack() as stack:
                files = {key: stack.enter_context(ColumnFile(folder, key)) for key in (*COLUMNS, "truth")}
                before = dict.fromkeys(OFFSETS, 0)
                for key in OFFSETS:
                    files[key].add(np.zeros(1, np.int64))
                first_user = 0
                for part in _parts(self.n_users, self.n_steps, self.seed):
                    assert part.truth is not None, "planted people have a truth"
                    for key in COLUMNS:
                        rows = getattr(part, key)
                        if key in before:
                            rows = rows[1:] + before[key]
                            before[key] = int(rows[-1])
                        files[key].add(rows)
                    files["truth"].add(replace(part.truth, user=part.truth.user + first_user).rows())
                    first_user += part.n_users
                write_index(folder, part.about(), {key: file.finish() for key, file in files.items()})
        except OSError as error:
            raise DataError(f"cannot save the population in {folder}: {error.strerror}") from error


#: People who can be left in a folder, whether they are made already or not.
Saved = Population | ToPlant


def _parts(
    n_users: int,
    n_steps: int,
    seed: int,
    n_categories: int = N_CATEGORIES,
    sparse_share: float = SPARSE_SHARE,
    change_share: float = CHANGE_SHARE,
    bursts_per_100_steps: float = BURSTS_PER_100_STEPS,
) -> Iterator[Population]:
    """The people of `plant`, some at a time, each part counted from 0."""
    rng = np.random.Generator(np.random.Philox(seed))
    shop = _draw_shop(rng, n_categories)
    chunk = max(1, _CHUNK_CELLS // (n_steps * n_categories))
    for first in range(0, n_users, chunk):
        users = _draw_users(rng, min(chunk, n_users - first), shop, sparse_share)
        effect, truth = _draw_changes(rng, users, n_steps, change_share=change_share, bursts=bursts_per_100_steps)
        user, category, kind, time_s, amount = _draw_events(rng, users, shop, effect)
        yield Population.from_events(
            name="planted",
            catalogue=_catalogue(n_categories),
            step=Step.DAY,
            n_steps=n_steps,
            simulated=True,
            n_users=min(chunk, n_users - first),
            user=user,
            category=category,
            kind=kind,
            time_s=time_s,
            amount=amount,
            truth=truth,
        )


def _catalogue(n_categories: int) -> Catalogue:
    return Catalogue(tuple(NAMES[i] if i < len(NAMES) else f"category {i}" for i in range(n_categories)))


def _draw_shop(rng: np.random.Generator, n_categories: int) -> _Shop:
    weekday = np.arange(7)[None] - rng.uniform(0, 7, (n_categories, 1))
    rhythm = rng.uniform(0.1, 0.5, (n_categories, 1)) * np.cos(2 * np.pi * weekday / 7)
    return _Shop(
        popularity=rng.normal(0, 0.5, n_categories).astype(np.float32),
        rhythm=rhythm.astype(np.float32),
        price=np.exp(rng.normal(math.log(25), 0.9, n_categories)).astype(np.float32),
    )


def _draw_users(rng: np.random.Generator, n: int, shop: _Shop, sparse_share: float) -> _Users:
    sparse = rng.random(n) < sparse_share
    visit = np.where(sparse, rng.uniform(-2.8, -1.6, n), rng.normal(0.0, 0.9, n))
    weekend = np.where(np.arange(7) >= 5, 1.0, -0.4)
    rhythm = rng.uniform(-0.5, 1.0, (n, 1)) * weekend
    taste = shop.popularity + rng.normal(0, 1.3, (n, len(shop.popularity)))
    taste -= np.log(np.exp(taste).sum(1, keepdims=True))
    liveliness = rng.normal(1.6, 0.8, (n, 1))
    return _Users(
        sparse=sparse,
        visit=visit.astype(np.float32),
        rhythm=rhythm.astype(np.float32),
        rate=(liveliness + taste).astype(np.float32),
        click=rng.beta(4, 6, n).astype(np.float32),
        spend=np.exp(rng.normal(0, 0.4, n)).astype(np.float32),
    )


def _daily_odds(users: _Users, shift: Floats | float = 0.0) -> Floats:
    """Probability of an active day, by user and category (K, C), when the log-rate is shifted by `shift`."""
    visit = 1 / (1 + np.exp(-users.visit))[:, None]
    odds: Floats = visit * -np.expm1(-np.exp(users.rate + shift))
    return odds


def _draw_changes(
    rng: np.random.Generator,
    users: _Users,
    n_steps: int,
    *,
    change_share: float,
    bursts: float,
) -> tuple[Floats, Truth]:
    """What to add to the log-rate, float32 (K, n_steps, C), and the truth about it."""
    shape = users.rate.shape
    kind = rng.choice(3, shape, p=_KINDS)
    falls = np.where(rng.random(shape) < _STOP_SHARE, rng.uniform(*_STOP, shape), rng.uniform(*_DROP, shape))
    falling = (kind == ChangeKind.DROP) | ((kind == ChangeKind.GRADUAL) & (rng.random(shape) < 0.5))
    size = np.where(falling, -falls, rng.uniform(*_RISE, shape)).astype(np.float32)
    before, after = _daily_odds(users), _daily_odds(users, size)
    n_days = np.where(users.sparse, 42, 21)[:, None]
    spread = np.sqrt((before * (1 - before) + after * (1 - after) + 1e-9) / n_days)
    needed = np.where(users.sparse, _VISIBLE_SPARSE, _VISIBLE)[:, None]
    visible = (np.abs(after - before) >= needed * spread) & (before * n_days >= 1)
    ramp = np.where(kind == ChangeKind.GRADUAL, rng.integers(_RAMP_STEPS[0], _RAMP_STEPS[1] + 1, shape), 1)
    ramp = np.minimum(ramp, n_steps // 4)
    earliest = min(21, n_steps // 4)
    latest = n_steps - np.maximum(ramp, min(14, n_steps // 8))
    start = (earliest + rng.random(shape) * (latest - earliest + 1)).astype(np.int64)
    user, category = np.nonzero(visible & (rng.random(shape) < change_share))

    effect = np.zeros((shape[0], n_steps, shape[1]), np.float32)
    at = (user, category)
    done = (np.arange(n_steps) - start[at][:, None] + 1) / ramp[at][:, None]
    effect[user, :, category] = size[at][:, None] * np.clip(done, 0, 1)
    changed = np.zeros(shape, bool)
    changed[at] = True
    b_user, b_category, b_start, b_size, b_length = _draw_bursts(rng, before, n_steps, bursts)
    b_at = (b_user, b_category)
    clear = (b_start + b_length <= start[b_at] - 7) | (b_start >= (start + ramp)[b_at] + 7) | ~changed[b_at]
    b_user, b_category, b_start, b_size, b_length = (a[clear] for a in (b_user, b_category, b_start, b_size, b_length))
    for day in range(3):
        lasts = b_length > day
        effect[b_user[lasts], b_start[lasts] + day, b_category[lasts]] += b_size[lasts]
    truth = Truth(
        user=np.concatenate([user, b_user]),
        category=np.concatenate([category, b_category]).astype(np.int16),
        kind=np.concatenate([kind[at], np.full(len(b_user), ChangeKind.BURST)]).astype(np.int8),
        step=np.concatenate([start[at], b_start]).astype(np.int32),
        size=np.concatenate([size[at], b_size]).astype(np.float32),
        end_step=np.concatenate([(start + ramp)[at], b_start + b_length]).astype(np.int32),
    )
    order = np.lexsort((truth.step, truth.user))
    return effect, truth.where(order)


def _draw_bursts(
    rng: np.random.Generator, odds: Floats, n_steps: int, per_100_steps: float
) -> tuple[Ints, Ints, Ints, Floats, Ints]:
    """Bursts on pairs with some activity: user, category, first step, size and length in steps, (n_bursts,)
    each."""
    n_slots = -(-n_steps // _SLOT_STEPS)
    here = rng.random((odds.shape[0], n_slots, odds.shape[1])) < per_100_steps * _SLOT_STEPS / 100
    user, slot, category = np.nonzero(here & (odds >= 0.05)[:, None])
    n = len(user)
    start = slot * _SLOT_STEPS + rng.integers(0, _SLOT_STEPS - 6, n)
    length = rng.integers(1, 4, n)
    size = np.where(rng.random(n) < _PAUSE_SHARE, _PAUSE, rng.uniform(*_BURST, n)).astype(np.float32)
    inside = start + length <= n_steps
    return user[inside], category[inside], start[inside], size[inside], length[inside]


def _mood(rng: np.random.Generator, shape: tuple[int, ...], memory: float, sd: float) -> Floats:
    """AR(1) along axis 1 with that memory and stationary standard deviation: float32 of `shape`."""
    noise = rng.standard_normal(shape, dtype=np.float32) * np.float32(sd)
    fresh = np.float32(math.sqrt(1 - memory**2))
    for step in range(1, shape[1]):
        noise[:, step] = np.float32(memory) * noise[:, step - 1] + fresh * noise[:, step]
    return noise


def _draw_events(
    rng: np.random.Generator, users: _Users, shop: _Shop, effect: Floats
) -> tuple[Ints, npt.NDArray[np.int16], npt.NDArray[np.int8], Doubles, Floats]:
    """Events sorted by user and time: user, category, kind, time_s, amount, (n_events,) each."""
    n_users, n_steps = effect.shape[:2]
    weekday = np.arange(n_steps) % 7
    logit = users.visit[:, None] + users.rhythm[:, weekday] + _mood(rng, (n_users, n_steps), 0.7, 0.6)
    visit_user, visit_step = np.nonzero(rng.random((n_users, n_steps)) < 1 / (1 + np.exp(-logit)))
    effect += _mood(rng, effect.shape, 0.8, 0.4)
    log_rate = users.rate[visit_user] + shop.rhythm[:, visit_step % 7].T + effect[visit_user, visit_step]
    views_all = rng.poisson(np.exp(np.minimum(log_rate, 5)))
    visit, category = np.nonzero(views_all)
    views = views_all[visit, category]
    user, step = visit_user[visit], visit_step[visit]
    session_s = np.clip(rng.normal(18, 3.5, len(visit_user)) * 3600, 0, 86_400 - 1800)[visit]

    idle = np.setdiff1d(np.arange(n_users), user)  # a device without any event is not a device: one view
    views = np.concatenate([views, np.ones(len(idle), np.int64)])
    user, step = np.concatenate([user, idle]), np.concatenate([step, rng.integers(0, n_steps, len(idle))])
    category = np.concatenate([category, users.rate[idle].argmax(1)])
    session_s = np.concatenate([session_s, np.full(len(idle), 43_200.0)])

    clicks = rng.binomial(views, users.click[user])
    carts = rng.binomial(clicks, 0.2)
    counts = [views, clicks, rng.binomial(clicks, 0.3), carts, rng.binomial(carts, 0.5)]
    cell = np.concatenate([np.repeat(np.arange(len(views)), n) for n in counts])
    kind = np.repeat(np.array(EventKind, np.int8), [int(n.sum()) for n in counts])
    time_s = step[cell] * 86_400.0 + np.floor(session_s[cell] + (kind + rng.random(len(cell))) * 300)
    amount = np.zeros(len(cell), np.float32)
    bought = cell[kind == EventKind.PURCHASE]
    price = shop.price[category[bought]] * users.spend[user[bought]] * np.exp(rng.normal(0, 0.5, len(bought)))
    amount[kind == EventKind.PURCHASE] = np.clip(np.round(price, 2), 0.5, 10_000)
    order = np.argsort(user[cell] * (n_steps * 86_400.0) + time_s, kind="stable")
    cell = cell[order]
    return user[cell], category[cell].astype(np.int16), kind[order], time_s[order], amount[order]


def _expect_whole(name: str, value: int, low: int, high: int | None) -> None:
    expected = f"{name} >= {low}" if high is None else f"{name} in {low}..{high}"
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InputError(f"expected {expected}, got {value!r}")
    if value < low or (high is not None and value > high):
        raise InputError(f"expected {expected}, got {value}")


def _expect_number(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise InputError(f"expected {name} in {low}..{high}, got {value}")
