"""Rates of alerts from randomised bits: debiased, with an interval; and the table that the bits arrive in.

One bit is mostly noise; only rates over many devices mean something. Small groups give wide intervals, and that is all
they give.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from shared import rdp
from shared.errors import InputError
from shared.randomised_response import BitSchedule, truth_probability

from .database import Base, engine_of, signed

Z_95 = 1.959963984540054
#: Bits that go into the table at once.
BATCH = 10_000


@dataclass(frozen=True)
class Rate:
    """A share of devices: an unbiased estimate and its 95 % interval. Both may reach outside 0..1, unclipped: a mean of
    estimates stays unbiased, and an interval shows by its width how much of it is noise."""

    estimate: float
    low: float
    high: float
    answers: int


def rate_of_answering(ones: int, answers: int, epsilon_micro: int) -> Rate:
    """The share of alerted devices among those that answered.

    Which of them are alerted is fixed; only the coins are random, and each has variance p (1 - p), whatever its bit. So
    the interval inverts a test with a known variance.
    """
    truth = _checked(ones, answers, epsilon_micro)
    half = Z_95 * math.sqrt(truth * (1 - truth) / answers)
    share = ones / answers
    return _debiased(share, share - half, share + half, truth, answers)


def _checked(ones: int, answers: int, epsilon_micro: int) -> float:
    if not 0 <= ones <= answers or not answers:
        raise InputError(f"expected 0 <= ones <= answers and an answer at least, got {ones} of {answers}")
    return float(truth_probability(epsilon_micro))


def _debiased(share: float, low: float, high: float, truth: float, answers: int) -> Rate:
    """Shares of ones as shares of alerted devices: (s - q) / (p - q) with q = 1 - p."""
    estimate, least, most = ((s - (1 - truth)) / (2 * truth - 1) for s in (share, low, high))
    return Rate(estimate, least, most, answers)


class ReceivedBit(Base):
    """One randomised bit. `node` is Flower's id of the device that sent it."""

    __tablename__ = "bits"

    node: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    step: Mapped[int] = mapped_column(primary_key=True)
    epsilon_micro: Mapped[int]
    bit: Mapped[int]


class BitInbox:
    """Randomised bits in SQLite, beside the identified alerts; the first bit of a device for a step stands."""

    def __init__(self, file: Path) -> None:
        self._engine = engine_of(file, ReceivedBit)

    def add(self, node: int, step: int, epsilon_micro: int, bit: int) -> None:
        """Keep what one device sent."""
        self.add_all(step, epsilon_micro, [(node, bit)])

    def add_all(self, step: int, epsilon_micro: int, bits: Iterable[tuple[int, int]]) -> None:
        """Keep what devices sent for a step: (node, bit). All of them or none, in one transaction."""
        same, left = {"step": step, "epsilon_micro": epsilon_micro}, iter(bits)
        with Session(self._engine) as session:
            while rows := [{"node": signed(node), "bit": bit, **same} for node, bit in islice(left, BATCH)]:
                session.execute(insert(ReceivedBit).on_conflict_do_nothing(), rows)
            session.commit()

    def rates(self, epsilon_micro: int) -> dict[int, Rate]:
        """The share of alerted devices among those that answered, by step, from the bits of one coin."""
        query = (
            select(ReceivedBit.step, func.sum(ReceivedBit.bit), func.count())
            .where(ReceivedBit.epsilon_micro == epsilon_micro)
            .group_by(ReceivedBit.step)
            .order_by(ReceivedBit.step)
        )
        with Session(self._engine) as session:
            rows = session.execute(query).all()
        return {int(step): rate_of_answering(int(ones), int(answers), epsilon_micro) for step, ones, answers in rows}


def bits_account(file: Path, asked: BitSchedule, coins: int, delta: float) -> dict[str, Any]:
    """What was asked for so many times, what that cost a device that answered them all, and the rates by step."""
    rates = BitInbox(file).rates(asked.epsilon_micro)
    return {
        "epsilon": asked.epsilon,
        "every_steps": asked.every_steps,
        "coins": coins,
        "epsilon_together": rdp.gaussian_epsilon(0.0, delta, [(asked.epsilon, coins)]),
        "rates": [{"step": step, **asdict(rate)} for step, rate in rates.items()],
    }
