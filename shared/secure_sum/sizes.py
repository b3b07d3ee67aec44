"""How many devices a sum can count on, and how many seats it takes: from exact tails of who comes, colludes and stays silent.

Seats are drawn from all enrolled devices. Some of those drawn may be skipped, because they are absent; who names the absent ones may
be hostile and skip honest ones only. So corrupt devices are counted among all that are *drawn*. Two lists of one round cannot
both be opened, nor anything of the second be learned, if t_priv >= (seats + corrupt) / 2. And a round must not fail for want of
answers though corrupt seats stay silent and honest ones are lost.

Binomial and hypergeometric probabilities go from the mode outwards by the ratio of neighbours, so that far tails keep their digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..arrays import Doubles
from ..attendance import expect_rate, fewer_than, more_than
from ..errors import ConfigError
from .packed_shamir import SPARE, TESTS

#: A round is abandoned, for want of answers, with at most this probability.
ABANDONED: Final = 1e-3
#: With what probability a cohort may hold more colluders than a plan allows for.
MORE_COLLUDERS: Final = 1e-6
#: Of the devices, the share whose noise is not counted on, and which may be corrupt seats, unless a plan says otherwise.
COLLUDING_SHARE: Final = 0.05
#: Seats are looked for in steps of so many, and no more than one of so many devices holds one, unless all do: then others are
#: left when seats are absent, and nobody is asked in every round.
SEAT_STEP, DEVICES_PER_SEAT = 10, 3
#: What an encrypted box is longer than what is in it (RFC 8439, section 2.8).
TAG_BYTES: Final = 16


def min_survivors(population: int, sampling_rate: float, dropout: float, tail: float = ABANDONED) -> int:
    """The largest number that a round's answers fall short of with probability at most `tail`, if each sampled device
    stays silent with probability `dropout`; at least 1.

    >>> min_survivors(300, 1.0, 0.1)
    253
    """
    expect_rate(sampling_rate)
    below = fewer_than(population, sampling_rate * (1 - dropout))
    return max(int(np.searchsorted(below, tail, side="right")) - 1, 1)


def max_colluders(
    population: int, sampling_rate: float, share: float = COLLUDING_SHARE, tail: float = MORE_COLLUDERS
) -> int:
    """How many of a share of the devices a cohort holds at most: all of them if everybody is in every round, else what it
    exceeds with probability at most `tail`.

    >>> max_colluders(300, 1.0), max_colluders(300, 0.2)
    (15, 12)
    """
    expect_rate(sampling_rate)
    members = members_of(share, population)
    if sampling_rate == 1:
        return members
    return int(np.flatnonzero(more_than(members, sampling_rate) <= tail)[0])


def colluders_behind(most: int, population: int, sampling_rate: float) -> int:
    """The largest number of colluding devices of which a cohort holds more than `most` with probability at most
    `MORE_COLLUDERS`: what `max_colluders` of them would be."""
    expect_rate(sampling_rate)
    if sampling_rate == 1:
        return most
    low, high = most, population + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if more_than(middle, sampling_rate)[most] <= MORE_COLLUDERS else (low, middle)
    return low


def members_of(share: float, population: int) -> int:
    """A share of the devices in whole ones, rounded up; 5 % of 60 are 3, whatever floats make of that."""
    if not 0 <= share < 1:
        raise ConfigError(f"expected a share in [0, 1), got {share}")
    return math.ceil(share * population - 1e-9)


def hypergeometric(population: int, members: int, n_drawn: int) -> Doubles:
    """P(exactly k members among the drawn) for k = 0 .. n_drawn, without replacement: float64 (n_drawn + 1,), summing to 1."""
    if not (0 <= members <= population and 0 <= n_drawn <= population):
        raise ConfigError(f"expected members and drawn within {population} devices, got {members} and {n_drawn}")
    out = np.zeros(n_drawn + 1)
    low, high = max(0, n_drawn + members - population), min(n_drawn, members)
    mode = min(max((n_drawn + 1) * (members + 1) // (population + 2), low), high)
    up, down = np.arange(mode + 1, high + 1), np.arange(mode, low, -1)
    out[mode] = 1.0
    out[mode + 1 : high + 1] = np.exp(np.cumsum(_log_ratios(up, population, members, n_drawn)))
    out[low:mode] = np.exp(np.cumsum(-_log_ratios(down, population, members, n_drawn)))[::-1]
    chances: Doubles = out / out.sum()
    return chances


def _log_ratios(k: np.ndarray, population: int, members: int, n_drawn: int) -> Doubles:
    """log of P(k) / P(k - 1)."""
    grows = (members - k + 1) * (n_drawn - k + 1.0)
    ratios: Doubles = np.log(grows / (k * (population - members - n_drawn + k)))
    return ratios


@dataclass(frozen=True)
class Assumed:
    """What sizes rest on. `corrupt_share` of the enrolled devices is hostile; `seat_loss` is how often an honest seat that was
    not named absent gives no answer; up to `skip` of the drawn may be named absent. `draws` is how often an epoch
    draws seats; in one of them more devices than allowed for are corrupt with probability at most `corrupt_tail`. A round is
    abandoned with probability at most `abandon`. `most` seats at most. `spare` answers are needed beyond t_rec."""

    corrupt_share: float = COLLUDING_SHARE
    seat_loss: float = 0.1
    skip: float = 0.3
    draws: int = 64
    abandon: float = ABANDONED
    corrupt_tail: float = 1e-9
    most: int = 200
    spare: int = SPARE

    def __post_init__(self) -> None:
        for name in ("corrupt_share", "seat_loss", "skip"):
            if not 0 <= (value := getattr(self, name)) < 1:
                raise ConfigError(f"expected {name} in [0, 1), got {value}")
        for name in ("abandon", "corrupt_tail"):
            if not 0 < (value := getattr(self, name)) < 1:
                raise ConfigError(f"expected {name} in (0, 1), got {value}")
        for name, least in (("draws", 1), ("most", 2), ("spare", 0)):
            if (value := getattr(self, name)) < least:
                raise ConfigError(f"expected {name} >= {least}, got {value}")


DEFAULTS: Final = Assumed()


@dataclass(frozen=True)
class Seats:
    """So many devices are drawn, the first `n_seats` of them that are not named absent are seats; `most_corrupt` of the drawn may be
    hostile. t_priv shares tell nothing, t_rec open."""

    n_seats: int
    n_drawn: int
    most_corrupt: int
    t_priv: int
    t_rec: int

    @property
    def packing(self) -> int:
        return self.t_rec - self.t_priv

    def sealed_bytes(self, n_values: int, word_bytes: int) -> int:
        """What a device sends in boxes, tests included; keys, signature and proof come on top."""
        n_words = -(-n_values // self.packing) + (TESTS if self.n_seats > self.t_rec else 0)
        return (self.n_seats - self.t_priv) * (n_words * word_bytes + TAG_BYTES)


def most_corrupt(enrolled: int, n_drawn: int, assumed: Assumed = DEFAULTS) -> int:
    """What the corrupt ones among the drawn exceed, in any of an epoch's draws, with probability at most `corrupt_tail`."""
    chances = hypergeometric(enrolled, members_of(assumed.corrupt_share, enrolled), n_drawn)
    above = np.append(np.cumsum(chances[::-1])[::-1], 0.0)[1:]  # P(more than k), from the small end
    return int(np.flatnonzero(above <= assumed.corrupt_tail / assumed.draws)[0])


def fewer_answers(enrolled: int, n_seats: int, assumed: Assumed = DEFAULTS) -> Doubles:
    """P(fewer than k seats answer) for k = 0 .. n_seats + 1, corrupt ones all silent: float64 (n_seats + 2,). Seats are as likely to
    be corrupt as devices are: who skips honest ones on purpose, or has them accused, can make any round fail."""
    out = np.zeros(n_seats + 2)
    corrupt = hypergeometric(enrolled, members_of(assumed.corrupt_share, enrolled), n_seats)
    for n_silent in np.flatnonzero(corrupt > assumed.abandon * 1e-12).tolist():
        below = fewer_than(n_seats - n_silent, 1 - assumed.seat_loss)
        out[: below.size] += corrupt[n_silent] * below
        out[below.size :] += corrupt[n_silent]
    return out


def sized(n_seats: int, enrolled: int, assumed: Assumed = DEFAULTS) -> Seats | None:
    """The thresholds for so many seats of so many enrolled devices; None where none are sound. Where everybody holds a seat, or
    more would have to be drawn than are enrolled, nobody can be skipped: `seat_loss` then has to hold of the absent ones too."""
    if not 1 <= n_seats <= enrolled:
        raise ConfigError(f"expected seats in 1..{enrolled}, the devices that are enrolled, got {n_seats}")
    n_drawn = math.ceil(n_seats / (1 - assumed.skip) - 1e-9)
    if n_drawn > enrolled:
        n_drawn = n_seats
    corrupt = most_corrupt(enrolled, n_drawn, assumed)
    t_priv = max(-(-(n_seats + corrupt) // 2), 1)
    likely = int(np.searchsorted(fewer_answers(enrolled, n_seats, assumed), assumed.abandon, side="right")) - 1
    t_rec = min(likely, n_seats) - assumed.spare
    return Seats(n_seats, n_drawn, corrupt, t_priv, t_rec) if t_rec > t_priv else None


def seats(enrolled: int, n_values: int, word_bytes: int, assumed: Assumed = DEFAULTS) -> Seats:
    """The seats with which a device sends least; ConfigError where none are sound, for then helpers are needed.

    Looked at are `SEAT_STEP`, twice as many .. up to `most`, of at least `DEVICES_PER_SEAT` times as many devices; and
    everybody, up to `most`.

    >>> seats(5000, 1601, 3)
    Seats(n_seats=200, n_drawn=286, most_corrupt=43, t_priv=122, t_rec=153)
    """
    sizes = list(range(SEAT_STEP, min(assumed.most, enrolled // DEVICES_PER_SEAT) + 1, SEAT_STEP))
    if enrolled <= assumed.most:
        sizes.append(enrolled)
    sound = [found for n_seats in sizes if (found := sized(n_seats, enrolled, assumed))]
    if not sound:
        raise ConfigError(f"expected devices enough for sound seats, or helpers, got {enrolled}")
    return min(sound, key=lambda found: found.sealed_bytes(n_values, word_bytes))


def expect_sound(chosen: Seats, enrolled: int, assumed: Assumed = DEFAULTS) -> None:
    """ConfigError for device seats that are looser than what they are to hold under these assumptions."""
    if not 1 <= chosen.n_seats <= chosen.n_drawn <= enrolled:
        raise ConfigError(
            f"expected seats <= drawn <= {enrolled} enrolled devices, got {chosen.n_seats} and {chosen.n_drawn}"
        )
    if not chosen.n_seats <= assumed.most:
        raise ConfigError(f"expected at most {assumed.most} seats, got {chosen.n_seats}")
    corrupt = most_corrupt(enrolled, chosen.n_drawn, assumed)
    if chosen.most_corrupt < corrupt:
        raise ConfigError(f"expected at least {corrupt} corrupt devices allowed for, got {chosen.most_corrupt}")
    if 2 * chosen.t_priv < chosen.n_seats + chosen.most_corrupt:
        raise ConfigError(
            f"expected t_priv >= ({chosen.n_seats} seats + {chosen.most_corrupt} corrupt) / 2, got {chosen.t_priv}"
        )
    if not chosen.t_priv < chosen.t_rec <= chosen.n_seats - assumed.spare:
        raise ConfigError(
            f"expected t_rec in {chosen.t_priv + 1}..{chosen.n_seats - assumed.spare}, got {chosen.t_rec}"
        )
    fails = float(fewer_answers(enrolled, chosen.n_seats, assumed)[chosen.t_rec + assumed.spare])
    if fails > assumed.abandon:
        raise ConfigError(f"expected rounds abandoned with probability <= {assumed.abandon:g}, got {fails:.3g}")
