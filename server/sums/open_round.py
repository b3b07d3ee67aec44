"""The one round that is open: on disk until it ends, so that a server that goes on asks for the very same, and sums the same list.

What is kept holds who is in the round and what they sealed, to seats and not to this server. All of it goes when the round ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import delete, event, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from shared.clock import Clock

from ..database import Base, engine_of

#: Between two times that who holds a seat is asked the same there is a second, then twice as long each time, and at most so long.
LONGEST_PAUSE_S = 300.0


class OpenRow(Base):
    """The round that is open. Without `body` nobody was asked yet; without `entries` no list is final yet."""

    __tablename__ = "open_round"

    round_number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    opened_s: Mapped[float]
    n_models: Mapped[int]
    body: Mapped[bytes]
    entries: Mapped[bytes]
    boxes: Mapped[bytes]
    places: Mapped[bytes]


@dataclass(frozen=True)
class LeftOpen:
    """A round that an earlier process opened: its number, and how many models were published before it."""

    number: int
    n_models: int


@dataclass(frozen=True)
class FinalList:
    """A list that no other may follow: its entries, their boxes one device behind the other, and the places of those who are asked
    to add them up."""

    entries: bytes
    boxes: bytes
    places: tuple[int, ...]


class OpenRounds:
    """The rounds of a run, of which one at most is open, for `open_s` seconds by `clock`. What is written is on disk, power loss
    included, when a call returns; what is taken away is overwritten."""

    def __init__(self, file: Path, clock: Clock, open_s: float) -> None:
        self._engine = engine_of(file, OpenRow, durable=True)
        self._clock, self._open_s = clock, open_s

        @event.listens_for(self._engine, "connect")
        def overwrite(connection: Any, record: object) -> None:
            connection.execute("PRAGMA secure_delete=ON")

        self._engine.dispose()  # the connection that made the table did not know that yet
        file.chmod(0o600)

    def left(self) -> LeftOpen | None:
        """The round that is open, if its time is not over; one whose time is goes."""
        with Session(self._engine) as session:
            row = session.scalars(select(OpenRow)).first()
            if row is not None and self._clock.now_s() < row.opened_s + self._open_s:
                return LeftOpen(row.round_number, row.n_models)
        self.end()
        return None

    def begin(self, number: int, n_models: int) -> None:
        """Open a round, before it is charged; the one before it is over."""
        nothing = {"body": b"", "entries": b"", "boxes": b"", "places": b""}
        with Session(self._engine) as session:
            session.execute(delete(OpenRow))
            session.add(OpenRow(round_number=number, opened_s=self._clock.now_s(), n_models=n_models, **nothing))
            session.commit()

    def end(self) -> None:
        """The round is over: nothing of it is left."""
        with Session(self._engine) as session:
            session.execute(delete(OpenRow))
            session.commit()

    def body(self, number: int) -> bytes:
        """The request that devices were asked in this round; empty if none was."""
        with Session(self._engine) as session:
            row = session.get(OpenRow, number)
            return row.body if row else b""

    def keep_body(self, number: int, body: bytes) -> None:
        """Write the request down, before the first device hears it."""
        with Session(self._engine) as session:
            if (row := session.get(OpenRow, number)) is not None:
                row.body = body
                session.commit()

    def final_list(self, number: int) -> FinalList | None:
        """The list that this round is summed over; None while there is none."""
        with Session(self._engine) as session:
            row = session.get(OpenRow, number)
            if row is None or not row.entries:
                return None
            return FinalList(row.entries, row.boxes, tuple(np.frombuffer(row.places, ">u4").tolist()))

    def keep_list(self, number: int, final: FinalList) -> None:
        """Write the list down, before the first seat sees it as final."""
        with Session(self._engine) as session:
            if (row := session.get(OpenRow, number)) is not None:
                row.entries, row.boxes = final.entries, final.boxes
                row.places = np.array(final.places, ">u4").tobytes()
                session.commit()

    def wait(self, number: int, attempt: int) -> bool:
        """Wait before somebody is asked the same for another time, the `attempt`-th, from 0; False, at once, if the round would be
        over by then."""
        with Session(self._engine) as session:
            row = session.get(OpenRow, number)
            end_s = row.opened_s + self._open_s if row else 0.0
        then_s = self._clock.now_s() + min(2.0**attempt, LONGEST_PAUSE_S)
        if then_s >= end_s:
            return False
        self._clock.wait_until(then_s)
        return True
