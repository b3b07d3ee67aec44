"""What devices chose to tell: identified alerts, in a table. Outside epsilon, and counted apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, UniqueConstraint, delete, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from shared.register.bounds import MAX_ALERTS

from .database import Base, engine_of, signed


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


class Inbox:
    """Alerts in SQLite; the same alert received twice is kept once. Of each device the newest `MAX_ALERTS` are kept: as many
    as it keeps itself, so that no device fills the table."""

    def __init__(self, file: Path) -> None:
        self._engine = engine_of(file, ReceivedAlert)

    def add(self, node: int, alerts: list[dict[str, Any]]) -> None:
        """Keep what one device sent."""
        if not alerts:
            return
        rows = [{"node": signed(node), **alert} for alert in alerts]
        its = select(ReceivedAlert.id).where(ReceivedAlert.node == signed(node))
        oldest = its.order_by(ReceivedAlert.step.desc(), ReceivedAlert.id.desc()).offset(MAX_ALERTS)
        with Session(self._engine) as session:
            session.execute(insert(ReceivedAlert).on_conflict_do_nothing(), rows)
            session.execute(delete(ReceivedAlert).where(ReceivedAlert.id.in_(oldest)))
            session.commit()

    def count(self) -> int:
        with Session(self._engine) as session:
            return int(session.execute(select(func.count()).select_from(ReceivedAlert)).scalar_one())
