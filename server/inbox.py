"""What devices chose to tell: identified alerts, in a table. Outside epsilon, and counted apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Select, UniqueConstraint, delete, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from shared.register.bounds import MAX_ALERTS

from .database import Base, engine_of, signed

#: From so many alerts on, what devices told is written in one transaction, so that memory does not grow with the devices.
BATCH = 5000


class ReceivedAlert(Base):
    """One identified alert. `node` is Flower's id of the device that sent it."""

    __tablename__ = "alerts"
    __table_args__ = (UniqueConstraint("node", "direction", "category", "step", name="one_alert_once"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    node: Mapped[int] = mapped_column(BigInteger)
    direction: Mapped[int]
    category: Mapped[int]
    level: Mapped[int]
    step: Mapped[int]
    model_round: Mapped[int]


#: A row of the table, by column.
_Row = dict[str, int]


class Inbox:
    """Alerts in SQLite; the same alert received twice is kept once. Of each device the newest `MAX_ALERTS` are kept: as many
    as it keeps itself, so that no device fills the table."""

    def __init__(self, file: Path) -> None:
        self._engine = engine_of(file, ReceivedAlert)

    def add(self, node: int, alerts: list[dict[str, Any]]) -> None:
        """Keep what one device sent."""
        self.add_all([(node, alerts)])

    def add_all(self, told: Iterable[tuple[int, list[dict[str, Any]]]]) -> None:
        """Keep what devices sent: (node, alerts). In transactions of about `BATCH` alerts, each of whole devices; all is kept
        when this returns, and where something raises in between, no more than the last of them is not: who goes on with a
        run asks for it again."""
        for rows in _batches(told):
            with Session(self._engine) as session:
                session.execute(insert(ReceivedAlert).on_conflict_do_nothing(), rows)
                for node in session.scalars(_of_too_many({row["node"] for row in rows})).all():
                    its = select(ReceivedAlert.id).where(ReceivedAlert.node == node)
                    oldest = its.order_by(ReceivedAlert.step.desc(), ReceivedAlert.id.desc()).offset(MAX_ALERTS)
                    session.execute(delete(ReceivedAlert).where(ReceivedAlert.id.in_(oldest)))
                session.commit()

    def count(self) -> int:
        with Session(self._engine) as session:
            return int(session.execute(select(func.count()).select_from(ReceivedAlert)).scalar_one())


def _batches(told: Iterable[tuple[int, list[dict[str, Any]]]]) -> Iterator[list[_Row]]:
    """Rows of devices' alerts, some thousand at a time."""
    rows: list[_Row] = []
    for node, alerts in told:
        rows += [{"node": signed(node), **alert} for alert in alerts]
        if len(rows) >= BATCH:
            yield rows
            rows = []
    if rows:
        yield rows


def _of_too_many(nodes: set[int]) -> Select[Any]:
    """Which of the nodes have more than `MAX_ALERTS` rows."""
    kept = select(ReceivedAlert.node).where(ReceivedAlert.node.in_(nodes)).group_by(ReceivedAlert.node)
    return kept.having(func.count() > MAX_ALERTS)
