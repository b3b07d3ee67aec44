"""The randomised bit: whether a device raised any alert lately, told through a coin, at steps that are fixed beforehand.

A bit is sent at every step of the schedule, whether or not there was an alert, and nothing else decides whether it is
sent: silence tells nothing about the device's behaviour. Fresh coins for every bit: a coin that is kept for good
(as in RAPPOR) would not protect alerts that come and go. Randomised response: Warner 1965; the optimal symmetric form
for one bit, Kairouz, Oh and Viswanath 2014.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import rdp
from .errors import ConfigError, InputError
from .mechanisms import Entropy
from .plan import MICRO, BitsPlan
from .register.bounds import MAX_BIT_EPSILON_MICRO
from .register.queries import due_steps as due_steps

DRAW_BITS = 62


@lru_cache(maxsize=64)
def truth_weight(epsilon_micro: int) -> int:
    """Out of 2^62 draws, how many tell the truth: just under 2^62 e^epsilon / (1 + e^epsilon), epsilon in millionths.

    Guarantees. weight / (2^62 - weight) <= e^epsilon exactly, and >= 1: rounded down by at least one whole draw, from
    60 decimal digits.
    """
    if type(epsilon_micro) is not int or not 1 <= epsilon_micro <= MAX_BIT_EPSILON_MICRO:
        raise ConfigError(f"expected epsilon in 1..{MAX_BIT_EPSILON_MICRO} millionths, got {epsilon_micro}")
    with localcontext() as context:
        context.prec = 60
        odds = (Decimal(epsilon_micro) / MICRO).exp()
        exact = odds / (1 + odds) * 2**DRAW_BITS
        return int(exact.to_integral_value(ROUND_FLOOR)) - 1


def truth_probability(epsilon_micro: int) -> Fraction:
    """The exact probability with which `randomised_response` tells the truth.

    >>> float(round(truth_probability(1_000_000), 4))  # e / (1 + e)
    0.7311
    """
    return Fraction(truth_weight(epsilon_micro), 2**DRAW_BITS)


def randomised_response(bit: ArrayLike, epsilon_micro: int, entropy: Entropy = os.urandom) -> NDArray[np.uint8]:
    """Each bit (...), or its opposite, with odds e^epsilon to 1: uint8 (...). Epsilon in millionths.

    Guarantees. Whatever the output, its probabilities under the two inputs are within a factor e^epsilon, exactly: a
    draw compares 62 random bits with an integer. Input and draw meet in one exclusive or; no branch depends on them.
    Edge cases. A source that gives too few bytes is an InputError for either input.
    """
    bits = np.asarray(bit)
    if bits.dtype != np.bool_:
        raise InputError(f"expected bits as booleans, got {bits.dtype}")
    weight = np.uint64(truth_weight(epsilon_micro))
    raw = entropy(8 * bits.size)
    if len(raw) != 8 * bits.size:
        raise InputError(f"expected {8 * bits.size} bytes of entropy, got {len(raw)}")
    draw = np.frombuffer(raw, dtype="<u8").reshape(bits.shape) >> np.uint64(64 - DRAW_BITS)
    return (bits ^ (draw >= weight)).astype(np.uint8)


@dataclass(frozen=True)
class BitSchedule:
    """Which steps a bit goes out at, and how loudly. Public, and the same for every device that keeps it.

    A bit goes out at the close of every `every_steps`-th step, and stands for the alerts of these steps.

    >>> weekly = BitSchedule(epsilon_micro=1_000_000, every_steps=7)
    >>> [step for step in range(30) if weekly.is_due(step)], weekly.covered(13)
    ([6, 13, 20, 27], range(7, 14))
    """

    epsilon_micro: int
    every_steps: int

    def __post_init__(self) -> None:
        truth_weight(self.epsilon_micro)
        if self.every_steps < 1:
            raise ConfigError(f"expected every_steps >= 1, got {self.every_steps}")

    @classmethod
    def of(cls, bits: BitsPlan | None) -> BitSchedule | None:
        """The schedule that a plan asks for; None if it asks for no bit."""
        return cls(bits.epsilon_micro, bits.every_steps) if bits else None

    @property
    def epsilon(self) -> float:
        return self.epsilon_micro / MICRO

    def is_due(self, step: int) -> bool:
        """Whether a bit goes out when this step closes. Depends on the calendar alone."""
        return (step + 1) % self.every_steps == 0

    def covered(self, step: int) -> range:
        """The steps that the bit of a due step stands for."""
        return range(step + 1 - self.every_steps, step + 1)

    def grants(self, asked: BitSchedule, step: int) -> bool:
        """Whether a device that keeps this schedule answers a server that asks for another at a step: not louder, not
        more often, and at a due step only."""
        return (
            asked.epsilon_micro <= self.epsilon_micro
            and asked.every_steps >= self.every_steps
            and step >= 0
            and asked.is_due(step)
        )


@lru_cache(maxsize=64)
def bit_schedule(cap_epsilon: float, delta: float, period_steps: int, least_epsilon: float = 1.0) -> BitSchedule:
    """The schedule that a cap of epsilon per period pays for: as many bits as can have `least_epsilon` each, evenly
    spread over `period_steps`, and then each as loud as the cap allows. At least one bit a period.

    The cap comes first, the coin follows: a weekly coin at epsilon 2 would cost 52 in half a year.

    Epsilon 2 for half a year pays for two coins of a little more than 1 each:

    >>> bit_schedule(cap_epsilon=2.0, delta=1e-5, period_steps=182)
    BitSchedule(epsilon_micro=1000007, every_steps=91)
    """
    if not (cap_epsilon > 0 and least_epsilon > 0 and period_steps >= 1):
        raise ConfigError(
            f"expected cap_epsilon, least_epsilon > 0 and period_steps >= 1, got {cap_epsilon}, {least_epsilon}, "
            f"{period_steps}"
        )
    bits, beyond = 1, period_steps + 1  # the more bits, the quieter each: halve what is left to look at
    while beyond - bits > 1:
        middle = (bits + beyond) // 2
        loud_enough = _loudest(cap_epsilon, delta, middle) >= least_epsilon * MICRO
        bits, beyond = (middle, beyond) if loud_enough else (bits, middle)
    every_steps = -(-period_steps // bits)
    loudest = _loudest(cap_epsilon, delta, -(-period_steps // every_steps))
    if not loudest:
        raise ConfigError(f"expected a cap that pays for one coin, got {cap_epsilon}")
    return BitSchedule(loudest, every_steps)


def _loudest(cap_epsilon: float, delta: float, bits: int) -> int:
    """The largest epsilon, in millionths, of which `bits` coins stay within the cap; 0 if there is none."""
    low, high = 0, MAX_BIT_EPSILON_MICRO + 1
    room = cap_epsilon * (1 - 1e-9)  # a sum of curves may round differently from a product
    while high - low > 1:
        middle = (low + high) // 2
        if rdp.epsilon(bits * rdp.coin(middle / MICRO), delta) <= room:
            low = middle
        else:
            high = middle
    return low
