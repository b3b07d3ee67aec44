"""What a helper keeps: a seat key for each epoch, the signed epoch, and for which list it answered in each sum."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from shared.errors import SumError
from shared.files import private_folder
from shared.secure_sum.duty import Slot

from ..database import Base, engine_of

FILE = "helper.db"


class HelperEpoch(Base):
    """The seat key of one epoch, and the epoch as it was signed; empty until it came."""

    __tablename__ = "helper_epochs"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seat: Mapped[bytes]
    signed: Mapped[bytes]


class HelperAnswer(Base):
    """The one list that was answered for in a sum."""

    __tablename__ = "helper_answers"

    slot: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int]
    list_sha256: Mapped[bytes]


class HelperStore:
    """The tables of one helper, in a folder that its owner alone can read. What is written survives power loss when the call
    returns. Keys and answers of an epoch go with it: a copy of the file made later gives neither back."""

    def __init__(self, folder: Path) -> None:
        private_folder(folder)
        self._engine = engine_of(folder / FILE, HelperEpoch, HelperAnswer, durable=True)
        (folder / FILE).chmod(0o600)

    def seat_key(self, number: int) -> X25519PrivateKey:
        """The key for this epoch: made now if it is later than all before; SumError("epoch") for one that is over."""
        with Session(self._engine) as session:
            found = session.get(HelperEpoch, number)
            if found is None:
                last = session.scalars(select(HelperEpoch.number).order_by(HelperEpoch.number.desc()).limit(1)).first()
                if last is not None and number < last:
                    raise SumError("epoch", "expected an epoch after the last one")
                found = HelperEpoch(number=number, seat=X25519PrivateKey.generate().private_bytes_raw(), signed=b"")
                session.add(found)
                session.commit()
            return X25519PrivateKey.from_private_bytes(found.seat)

    def keep_epoch(self, number: int, signed: bytes) -> None:
        """Keep an epoch that was verified; earlier ones go, keys and all. SumError("epoch") if another list of the same epoch is
        there, or no key was made for it."""
        with Session(self._engine) as session:
            found = session.get(HelperEpoch, number)
            if found is None or (found.signed and found.signed != signed):
                raise SumError("epoch", "expected an epoch that this helper made a key for, and one list of it")
            found.signed = signed
            session.execute(delete(HelperEpoch).where(HelperEpoch.number < number))
            session.execute(delete(HelperAnswer).where(HelperAnswer.epoch < number))
            session.commit()

    def signed_epoch(self, number: int) -> bytes:
        """The epoch as it was signed; empty if it is not there."""
        with Session(self._engine) as session:
            found = session.get(HelperEpoch, number)
            return found.signed if found else b""

    def answered(self, slot: Slot) -> bytes | None:
        """See `shared.secure_sum.duty.SeatRegister`."""
        with Session(self._engine) as session:
            found = session.get(HelperAnswer, _name(slot))
            return found.list_sha256 if found else None

    def write_answer(self, number: int, slot: Slot, list_sha256: bytes) -> None:
        """Write down for which list this helper answers. SumError("second_list") if another process did so for another one
        meanwhile."""
        with Session(self._engine) as session:
            found = session.get(HelperAnswer, _name(slot))
            if found is None:
                session.add(HelperAnswer(slot=_name(slot), epoch=number, list_sha256=list_sha256))
                session.commit()  # its key is unique: of two processes one fails
            elif found.list_sha256 != list_sha256:
                raise SumError("second_list", "expected the list that this helper answered for before")


def _name(slot: Slot) -> str:
    epoch, plan, kind, number = slot
    return f"{epoch.hex()} {plan.hex()} {kind} {number}"
