"""What the server keeps on disk: charges, checkpoints, the progress that a person may watch, the account of the run.

Two durability classes. A charge survives power loss before anything else of its round happens. A checkpoint is replaced
in one move: a process killed at any moment leaves the old one or the new one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from shared.arrays import Floats, as_declared
from shared.clock import Clock
from shared.errors import ConfigError, SumError
from shared.files import append_line, private_folder, replace_content, replacing, text_of
from shared.secure_sum.entry import SumList

from .database import Base, engine_of
from .heads import CROWD, CURVATURE, HEADS
from .optimizer import ServerOptimizer

#: Checkpoints of the parts of a training: p, phi, and what heads are learned by.
INTEREST, RISK = "checkpoint", "risk"
PARTS = (INTEREST, RISK, CROWD, CURVATURE, HEADS)
#: What a run cost, for people: where it is, the run has ended.
ACCOUNT_FILE = "account.json"
#: What its messages came to: the server's own.
TRAFFIC_FILE = "traffic.json"


class ChargedRound(Base):
    """A round whose epsilon is spent, whether it ended or not."""

    __tablename__ = "charged_rounds"

    round_number: Mapped[int] = mapped_column(primary_key=True)
    plan_sha256: Mapped[bytes]


class SummedList(Base):
    """Which list of devices a round was summed over, by its hash. Never two for one header."""

    __tablename__ = "summed_lists"

    header_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    list_sha256: Mapped[bytes]


class SummedLists:
    """The lists that seats were asked for, written down before the first of them sees one as final."""

    def __init__(self, file: Path) -> None:
        self._engine = engine_of(file, SummedList, durable=True)

    def keep(self, listed: SumList) -> None:
        """On disk, power loss included, when this returns. SumError("second_list") for another list under the same header."""
        header = listed.header.sha256
        with Session(self._engine) as session:
            found = session.get(SummedList, header)
            if found is None:
                session.add(SummedList(header_sha256=header, list_sha256=listed.sha256))
                session.commit()
            elif found.list_sha256 != listed.sha256:
                raise SumError("second_list", "expected the list that this round was summed over before")


class Charges:
    """The write-ahead ledger of rounds. A round number can be charged once only."""

    def __init__(self, file: Path, plan_sha256: bytes) -> None:
        self._engine = engine_of(file, ChargedRound, durable=True)
        self._plan = plan_sha256
        with Session(self._engine) as session:
            plans = set(session.execute(select(ChargedRound.plan_sha256).distinct()).scalars())
        if plans - {plan_sha256}:
            raise ConfigError("expected to go on under the plan that this run began with, got another one")

    def add(self, round_number: int) -> None:
        """Charge one round; on disk, power loss included, when this returns."""
        with Session(self._engine) as session:
            session.add(ChargedRound(round_number=round_number, plan_sha256=self._plan))
            session.commit()

    def has(self, round_number: int) -> bool:
        """Whether a round is charged."""
        return self.count(after=round_number - 1, until=round_number) > 0

    def numbers(self, after: int = 0, until: int = 2**31) -> list[int]:
        """The charged rounds of numbers after + 1 to `until`, rising."""
        number = ChargedRound.round_number
        query = select(number).where(number > after, number <= until).order_by(number)
        with Session(self._engine) as session:
            return list(session.scalars(query))

    def count(self, after: int = 0, until: int = 2**31) -> int:
        """How many rounds of numbers after + 1 to `until` are charged."""
        number = ChargedRound.round_number
        query = select(func.count()).select_from(ChargedRound).where(number > after, number <= until)
        with Session(self._engine) as session:
            return int(session.execute(query).scalar_one())


class ServerFolder:
    """One run's folder on the server. Holds no seed, and no cohort but that of the round that is open (`open_round.py`).
    Amplification rests on their secrecy, and on that of realised sizes, which `traffic.json` adds up: it is the server's own,
    not to be published; `account.json` is for people. The key that signs requests may lie here, readable by its owner only
    (`server/signing.py`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = private_folder(folder)
        self.progress_file = folder / "progress.jsonl"
        self.account_file = folder / ACCOUNT_FILE
        self.traffic_file = folder / TRAFFIC_FILE
        self.inbox_file = folder / "inbox.db"
        self.enrolment_file = folder / "enrolment.db"
        self.begun_file = folder / "begun_s"
        self.enrolment_list = folder / "enrolment.list"
        self.signed_epoch = folder / "epoch.signed"
        self.lists_file = folder / "lists.db"
        self.open_round_file = folder / "open_round.db"
        self.sums_file = folder / "sums.jsonl"

    def begun_s(self, key_file: Path, clock: Clock) -> int:
        """The second at which this run began: the same whichever process goes on with it. Devices follow no run that began
        before the one that they follow, so it is later than any that began under the same key, as far as is known: the last
        of them is kept beside the key, which outlives a folder that is lost."""
        last_file = key_file.with_name(f"{key_file.name}.begun_s")
        if not self.begun_file.exists():
            last = _second_in(last_file) if last_file.exists() else -1
            run = max(int(clock.now_s()), last + 1)
            for file in (last_file, self.begun_file):  # in this order: killed in between, the next one is later
                replace_content(file, str(run), durable=True)
        return _second_in(self.begun_file)

    def charges(self, plan_sha256: bytes) -> Charges:
        """The run's charged rounds; ConfigError if they belong to another plan."""
        return Charges(self.folder / "charges.db", plan_sha256)

    def lists(self) -> SummedLists:
        """The lists that the run's rounds were summed over."""
        return SummedLists(self.lists_file)

    def report(self, phase: str, done: int, total: int, **numbers: float | None) -> None:
        """One line of progress: `done` of `total` in a phase."""
        line = json.dumps({"phase": phase, "done": done, "total": total, **numbers})
        append_line(self.progress_file, line)

    @as_declared
    def save_checkpoint(self, optimizer: ServerOptimizer, models: list[Floats], name: str = INTEREST) -> None:
        """Keep the optimiser of one part of the training, and what it published after every round that ended:
        float32 (R + 1, P), row 0 the first."""
        with replacing(self.folder / f"{name}.npz", durable=True) as file:
            np.savez(file, allow_pickle=False, models=np.stack(models), **optimizer.to_arrays())

    def load_checkpoint(self, optimizer: ServerOptimizer, name: str = INTEREST) -> list[Floats]:
        """Restore the optimiser and return the models so far; none, and nothing restored, without a checkpoint."""
        if not self.has_models(name):
            return []
        with np.load(self.folder / f"{name}.npz") as arrays:
            optimizer.restore(arrays)
            return list(arrays["models"])

    def has_models(self, name: str = INTEREST) -> bool:
        """Whether any round of one part ended."""
        return (self.folder / f"{name}.npz").exists()

    def models(self, name: str = INTEREST) -> Floats:
        """The published models of one part, of R rounds that ended: float32 (R + 1, P). An interrupted round has none."""
        with np.load(self.folder / f"{name}.npz") as arrays:
            models: Floats = arrays["models"]
            return models

    def keep_traffic(self, traffic: Mapping[str, Mapping[str, int]]) -> None:
        """Keep what the run's messages came to so far, for a process that goes on with it; what moved after the last
        time, before an interruption, is not in it."""
        replace_content(self.traffic_file, json.dumps(traffic, indent=1))

    def traffic(self) -> dict[str, dict[str, int]]:
        """What `keep_traffic` kept last, by any process of the run; empty before the first time."""
        if not self.traffic_file.exists():
            return {}
        found: dict[str, dict[str, int]] = json.loads(text_of(self.traffic_file))
        return found

    def published(self) -> dict[str, Path]:
        """What of the folder a reviewer may see, by the name that the run's log gives it: no cohort, no size of one, no key."""
        shown = (self.account_file, self.sums_file, *(self.folder / f"{name}.npz" for name in PARTS))
        return {f"server/{file.name}": file for file in shown if file.exists()}

    def keep_account(self, account: Mapping[str, Any]) -> None:
        """Write what the run cost, for people: the last thing of a run."""
        replace_content(self.account_file, json.dumps(account, indent=1))


def _second_in(file: Path) -> int:
    """The second that a file names; ConfigError if it holds anything else."""
    try:
        return int(text_of(file))
    except ValueError:
        raise ConfigError(f"expected {file} to hold the second at which a run began, got something else") from None
