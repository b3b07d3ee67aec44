"""The devices of a run: written down before the first message, and never more than epsilon is stated for; and those of them
whose users had them forgotten. Nobody else is asked, in this run or when it is resumed.

If more are connected than have room, chance decides, by OS entropy, among all that are connected when the step of the
training closes: who came early, or chose an id, has no better chance than the others. Against somebody who brings many
devices of his own that is no help; who is to keep them out is who signs the list (`server/sums/enrolling.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from secrets import SystemRandom

from sqlalchemy import BigInteger, Engine, insert, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from shared.errors import RunError

from .database import Base, engine_of, signed, unsigned


class EnrolledNode(Base):
    """One device of the run, or one helper: the leaf of its public keys, and whether it is gone. Neither when, nor in which
    round: that it was in a cohort stays a secret."""

    __tablename__ = "enrolled"

    node: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    leaf: Mapped[bytes]
    helps: Mapped[bool]
    gone: Mapped[bool]


class Enrolment:
    """Flower's ids of the run's devices, and of those that are gone, as sets that survive power loss; in memory only
    without a file."""

    def __init__(self, file: Path | None = None) -> None:
        self._engine: Engine | None = None
        self._gone: dict[int, bool] = {}
        #: Nodes of devices by their leaf, gone ones as well; and of helpers.
        self.devices: dict[bytes, int] = {}
        self.helpers: dict[bytes, int] = {}
        if file is not None:
            self._engine = engine_of(file, EnrolledNode, durable=True)
            with Session(self._engine) as session:
                for row in session.execute(select(EnrolledNode)).scalars():
                    self._take_up(unsigned(row.node), row.leaf, row.helps, row.gone)

    def _take_up(self, node: int, leaf: bytes, helps: bool, gone: bool) -> None:
        if leaf:
            (self.helpers if helps else self.devices)[leaf] = node
        if not helps:
            self._gone[node] = gone

    @property
    def closed(self) -> bool:
        """Whether the devices of this run are written down: nobody new is enrolled then."""
        return bool(self._gone)

    @property
    def nodes(self) -> list[int]:
        """The run's devices that are not gone, sorted."""
        return sorted(node for node, gone in self._gone.items() if not gone)

    def has_left(self, node: int) -> bool:
        """Whether the user had this device forgotten."""
        return self._gone.get(node, False)

    def enrol(self, keys: Mapping[int, bytes], most: int, helpers: Mapping[int, bytes] | None = None) -> int:
        """Enrol nodes by the leaves of their keys, all of them or `most` by chance, and all `helpers`; how many found no room. On
        disk, in one transaction, when this returns. RunError if the run has its devices already."""
        if self.closed:
            raise RunError(f"expected a run without devices, got one of {len(self._gone)}")
        there = sorted(keys)
        chosen = SystemRandom().sample(there, most) if len(there) > most else there
        rows = [(node, keys[node], False) for node in chosen]
        rows += [(node, leaf, True) for node, leaf in (helpers or {}).items()]
        if self._engine is not None and rows:
            with Session(self._engine) as session:
                session.execute(
                    insert(EnrolledNode),
                    [{"node": signed(node), "leaf": leaf, "helps": helps, "gone": False} for node, leaf, helps in rows],
                )
                session.commit()
        for node, leaf, helps in rows:
            self._take_up(node, leaf, helps, gone=False)
        return len(there) - len(chosen)

    def renew(self, keys: Mapping[int, bytes], helpers: Mapping[int, bytes]) -> None:
        """Other keys of the same nodes, for another epoch; those without any are of this run, but of no sum in it. On disk, in one
        transaction, when this returns. RunError for a node that this run does not have."""
        if not set(keys) <= set(self._gone) or not set(helpers) <= set(self.helpers.values()):
            raise RunError("expected keys of devices and helpers of this run")
        leaves = {node: {**keys, **helpers}.get(node, b"") for node in (*self._gone, *self.helpers.values())}
        if self._engine is not None:
            with Session(self._engine) as session:
                rows = [{"node": signed(node), "leaf": leaf} for node, leaf in leaves.items()]
                session.execute(update(EnrolledNode), rows)
                session.commit()
        helping = set(self.helpers.values())
        self.devices = {leaf: node for node, leaf in leaves.items() if leaf and node not in helping}
        self.helpers = {leaf: node for node, leaf in leaves.items() if leaf and node in helping}

    def leave(self, node: int) -> None:
        """Never ask this node again; on disk when this returns."""
        if self.has_left(node):
            return
        if self._engine is not None:
            with Session(self._engine) as session:
                session.execute(update(EnrolledNode).where(EnrolledNode.node == signed(node)).values(gone=True))
                session.commit()
        self._gone[node] = True
