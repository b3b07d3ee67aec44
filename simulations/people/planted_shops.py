"""Planted shops: weekly purchases of made-up people in a world whose laws are known. Always labelled simulated.

Two kinds, each with numbers of its own that its seed draws. In a **steady** shop everybody buys in a category at a rate of
their own, more or less regularly, until they drop out at a moment that nothing foretells: silence against one's own rhythm, or
BG/NBD, says all that can be known. In a **fading** shop an end announces itself, and silence alone does not: baskets shrink to
little in the weeks before the last purchase, while whole people pause half of the time and come back, and single interests burst. People
arrive all the time, so that late weeks are much like early ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from shared.arrays import Bools, Floats, Ints, hold_declared
from shared.errors import InputError
from shared.events import Catalogue, EventKind, Step

from .planted import NAMES
from .population import Population

ShopKind = Literal["steady", "fading"]
KINDS: Final[tuple[ShopKind, ...]] = ("steady", "fading")

#: Weeks that pass before the first one that is kept: long enough for the first customers to have dropped out.
_BEFORE: Final = 60
#: People who live through the weeks together.
_AT_ONCE: Final = 5000


@dataclass(frozen=True)
class Shop:
    """What a shop is like. Times in weeks; ranges are uniform over people or streams.

    `interval`: weeks between two purchases, of each category (C, 2) low and high; `regular`: shape of the gamma law of these
    intervals, 1 is chance alone; `end_rate`: chance in a week that an interest ends. `fade`: how long an end takes, 0 at once;
    `fade_rate`, `fade_basket`: what is left of the rate when it is over, and of baskets half way. `pause_rate`: chance in a week
    that a person pauses, for `pause` weeks; `burst_rate`: that an interest bursts, for two or three weeks.
    """

    kind: ShopKind
    interval: Floats
    regular: float
    end_rate: float
    interests: float
    basket: float
    fade: tuple[int, int] = (0, 0)
    fade_rate: float = 1.0
    fade_basket: float = 1.0
    pause_rate: float = 0.0
    pause: tuple[int, int] = (0, 0)
    burst_rate: float = 0.0

    def __post_init__(self) -> None:
        hold_declared(self)

    @property
    def n_categories(self) -> int:
        return len(self.interval)


def draw_shop(kind: ShopKind, seed: int) -> Shop:
    """The shop of a kind and a seed; the same for the same arguments. InputError for another kind."""
    if kind not in KINDS:
        raise InputError(f"expected a kind of shop of {', '.join(KINDS)}, got {kind!r}")
    random = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, KINDS.index(kind) + 1]))
    n_categories = int(random.integers(4, 7))
    fast = random.uniform(1.05, 1.6, n_categories)
    interval = np.stack([fast, fast * random.uniform(1.4, 2.2, n_categories)], axis=1).astype(np.float32)
    common: dict[str, Any] = {
        "interval": interval,
        "interests": float(random.uniform(0.6, 0.9)),
        "basket": float(random.uniform(6.0, 12.0)),
    }
    if kind == "steady":
        return Shop(
            kind, regular=float(random.uniform(1.0, 3.0)), end_rate=float(random.uniform(0.01, 0.025)), **common
        )
    return Shop(
        kind,
        regular=float(random.uniform(1.5, 2.5)),
        end_rate=float(random.uniform(0.008, 0.012)),
        fade=(3, int(random.integers(4, 6))),
        fade_rate=float(random.uniform(0.9, 1.0)),
        fade_basket=float(random.uniform(0.02, 0.04)),
        pause_rate=float(random.uniform(0.08, 0.12)),
        pause=(5, 7),
        burst_rate=float(random.uniform(0.0, 0.015)),
        **{**common, "basket": float(random.uniform(10.0, 16.0))},
    )


def plant_shop(shop: Shop, n_users: int, n_weeks: int, *, seed: int) -> Population:
    """`n_users` people of `shop` who were there at some time in `n_weeks` weeks: purchases only. Same arguments, same bytes."""
    if n_users < 1 or n_weeks < 8:
        raise InputError(f"expected n_users >= 1 and n_weeks >= 8, got {n_users} and {n_weeks}")
    random = np.random.Generator(np.random.Philox(seed))
    parts: list[tuple[Ints, Ints, Ints, Floats]] = []
    for first in range(0, n_users, _AT_ONCE):
        size = min(_AT_ONCE, n_users - first)
        bought, basket = _live(random, shop, size, n_weeks)
        user, category, week = np.nonzero(bought)
        parts.append((user + first, category, week, basket[user, category, week]))
    user, category, week, size_of = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    lines = np.maximum(random.poisson(size_of), 1)
    cell = np.repeat(np.arange(len(user)), lines)
    amount = np.round(np.exp(random.normal(2.0, 0.4, len(cell))), 2).astype(np.float32)
    return Population.from_events(
        name=f"planted {shop.kind} shop",
        catalogue=Catalogue(NAMES[: shop.n_categories]),
        step=Step.WEEK,
        n_steps=n_weeks,
        simulated=True,
        n_users=n_users,
        user=user[cell],
        category=category[cell].astype(np.int16),
        kind=np.full(len(cell), EventKind.PURCHASE, np.int8),
        time_s=(week[cell] + random.random(len(cell)) * 0.999) * float(Step.WEEK.seconds),
        amount=amount,
        truth=None,
    )


def _live(random: np.random.Generator, shop: Shop, n: int, n_weeks: int) -> tuple[Bools, Floats]:
    """In which weeks n people buy in each category, and the mean size of these baskets: (n, C, n_weeks) both. An interest that
    ended is not taken up again."""
    total, shape = _BEFORE + n_weeks, (n, shop.n_categories)
    arrives = random.integers(0, total - 8, n)
    arrives[random.random(n) < 0.5] = 0
    held = random.random(shape) < shop.interests
    held[np.arange(n), random.integers(0, shop.n_categories, n)] = True
    low, high = shop.interval.T
    interval = low + (high - low) * random.random(shape)
    begins = arrives[:, None] + np.where(random.random(shape) < 0.5, 0, random.integers(0, 30, shape))
    waits = random.gamma(shop.regular, 1 / shop.regular, shape) * interval
    own_basket = shop.basket * np.exp(random.normal(0, 0.3, shape))
    fade_weeks = random.integers(shop.fade[0], shop.fade[1] + 1, shape)
    ends = begins + random.geometric(shop.end_rate, shape)
    pause_left, burst_left = np.zeros(n, np.int64), np.zeros(shape, np.int64)
    bought, basket = np.zeros((*shape, n_weeks), bool), np.zeros((*shape, n_weeks), np.float32)
    for week in range(total):
        pause_left = np.maximum(pause_left - 1, 0)
        starts = (random.random(n) < shop.pause_rate) & (pause_left == 0)
        pause_left[starts] = random.integers(shop.pause[0], shop.pause[1] + 1, n)[starts]
        burst_left = np.maximum(burst_left - 1, 0)
        bursts = random.random(shape) < shop.burst_rate
        burst_left[bursts] = random.integers(2, 4, shape)[bursts]
        gone = np.clip((week - (ends - fade_weeks)) / np.maximum(fade_weeks, 1), 0, 1)
        pace = 1 - (1 - shop.fade_rate) * gone
        alive = held & (week >= begins) & (week < ends) & (pause_left == 0)[:, None]
        waits = waits - np.where(alive, pace, 0)
        now = alive & ((waits <= 0) | (burst_left > 0))
        again = random.gamma(shop.regular, 1 / shop.regular, shape) * interval
        waits = np.where(now, np.where(waits <= 0, np.maximum(waits + again, 0.01), waits), waits)
        if week >= _BEFORE:
            bought[..., week - _BEFORE] = now
            basket[..., week - _BEFORE] = own_basket * (1 - (1 - shop.fade_basket) * np.minimum(2 * gone, 1))
    idle = ~bought.any(axis=(1, 2))  # nobody is a device without ever buying
    bought[idle, 0, random.integers(0, n_weeks, n)[idle]] = True
    basket[idle, 0] = shop.basket
    return bought, basket
