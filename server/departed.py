"""The devices whose users had them forgotten: they are asked no more, in this run or when it is resumed."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import BigInteger, Engine, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from .database import Base, engine_of, signed, unsigned


class DepartedNode(Base):
    """One device that is gone. Neither when, nor in which round: that it was in a cohort stays a secret."""

    __tablename__ = "departed"

    node: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class Departed:
    """Flower's ids of devices that are gone, as a set that survives power loss; in memory only without a file."""

    def __init__(self, file: Path | None = None) -> None:
        self._engine: Engine | None = None
        self._nodes: set[int] = set()
        if file is not None:
            self._engine = engine_of(file, DepartedNode, durable=True)
            with Session(self._engine) as session:
                self._nodes = {unsigned(node) for node in session.execute(select(DepartedNode.node)).scalars()}

    def __contains__(self, node: int) -> bool:
        return node in self._nodes

    def __len__(self) -> int:
        return len(self._nodes)

    def add(self, node: int) -> None:
        """Never ask this node again; on disk when this returns."""
        if node in self._nodes:
            return
        if self._engine is not None:
            with Session(self._engine) as session:
                session.execute(insert(DepartedNode).on_conflict_do_nothing(), [{"node": signed(node)}])
                session.commit()
        self._nodes.add(node)
