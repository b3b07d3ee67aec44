"""What devices chose to tell: identified alerts, in a table. Outside epsilon, and counted apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, UniqueConstraint, create_engine, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


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
    """Alerts in SQLite; the same alert received twice is kept once."""

    def __init__(self, file: Path) -> None:
        self._engine = create_engine(f"sqlite:///{file}")
        Base.metadata.create_all(self._engine)

    def add(self, node: int, alerts: list[dict[str, Any]]) -> None:
        """Keep what one device sent. Node ids are unsigned 64 bits; SQLite's integers are signed."""
        if not alerts:
            return
        signed = node - (1 << 64) if node >= 1 << 63 else node
        with Session(self._engine) as session:
            session.execute(
                insert(ReceivedAlert).on_conflict_do_nothing(), [{"node": signed, **alert} for alert in alerts]
            )
            session.commit()

    def count(self) -> int:
        with Session(self._engine) as session:
            return int(session.execute(select(func.count()).select_from(ReceivedAlert)).scalar_one())
