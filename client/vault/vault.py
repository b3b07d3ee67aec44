"""The device's vault: its tables, what each is for, and how long it keeps what.

`TABLES` is the register of what lies on the device; `docs/data-on-device.md` is held to it by a test.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from shared.arguments import real, truth, whole
from shared.arrays import Floats
from shared.errors import VaultFull
from shared.events import BehaviourEvent, EventKind
from shared.features import N_COUNTERS, N_KINDS

from ..turns import Turn
from .consent import Decisions
from .erasure import MARKER, expect_not_forgotten, take_over
from .journal import Journal
from .keys import KeyProvider
from .migrations import MIGRATIONS, ONLY, ROWS, expect_row, framed, unframed
from .outbox import Outbox
from .store import Durability, Store, Transaction

_EVENT = struct.Struct("<BHdd")
_CATEGORY_BYTES = 8 + N_KINDS


@dataclass(frozen=True)
class Table:
    """What a table holds, why, until when, and which of the two durability classes its writes have."""

    durability: Durability
    holds: str
    purpose: str
    until: str


TABLES: Mapping[str, Table] = MappingProxyType(
    {
        "profile": Table(
            Durability.POWER,
            "step, number of categories, the catalogue's hash, the server's public key, the deployment it was set up for, "
            "the enrolment's public key, the device's random number, origin of its calendar",
            "what the device is, from its first day on",
            "forget",
        ),
        "consent": Table(
            Durability.POWER, "every decision of the user, dated", "what may leave, and whether at all", "forget"
        ),
        "caps": Table(
            Durability.POWER,
            "the most epsilon, participations, norm and survivors that the app set for its user",
            "they hold whoever opens the device, and only the app loosens them",
            "replaced when the app sets others; forget",
        ),
        "policy": Table(
            Durability.POWER,
            "the table of interventions that the app set",
            "an alert is met alike whoever opens the device",
            "replaced when the app sets another; forget",
        ),
        "ledger": Table(
            Durability.POWER,
            "epsilon spent, by ledger line, period and lifetime",
            "caps that no server can raise",
            "forget",
        ),
        "heard": Table(
            Durability.POWER,
            "the last offer that was taken: the server's run, signed time, round, hash; by kind, the signed time of the last "
            "request that was answered; whether any said how the server's log stood",
            "what is played again changes nothing",
            "replaced by the next offer or answer",
        ),
        "members": Table(
            Durability.POWER,
            "by epoch of enrolment: two secret keys, the signed list, and for which list of devices this one answered as a seat",
            "its vector is sealed to seats, and it holds one when it is drawn",
            "the epoch is over, at the next request, opening or `close_until`; forget",
        ),
        "journal": Table(
            Durability.POWER,
            "what left: time, kind, bytes, hash, epsilon, purpose, content; how the server's log stood when it asked",
            "the user can see what was told",
            "the newest 1,000 entries; older ones fold into sums per kind",
        ),
        "refusals": Table(
            Durability.PROCESS,
            "how often each code was refused with",
            "the user can see it, however many there were",
            "forget",
        ),
        "outbox": Table(
            Durability.POWER,
            "replies that were paid for, by the request's hash",
            "asked again, the same bytes go out at no cost",
            "the newest 32; alerts and bits go when consent to them is revoked",
        ),
        "model": Table(
            Durability.POWER,
            "plan, model file, weights of p and of phi that the server offered last",
            "scoring and training",
            "replaced by the next offer",
        ),
        "events": Table(
            Durability.PROCESS,
            "raw events of the open step: kind, category, time, amount",
            "counters of the open step",
            "the step closes, the device wakes a day later, or 1,000 are there: they fold into one row of counters",
        ),
        "counters": Table(
            Durability.PROCESS,
            "per step and category: engagement, money, and how many events of each kind",
            "features, and labels of training",
            "forget; the oldest go first when the vault is full",
        ),
        "watch": Table(
            Durability.PROCESS,
            "number of closed steps, the detector's memory, since when it sees a change, quiet times, the false-alarm budget, "
            "the last scores",
            "detection goes on where it stopped",
            "replaced at the close of every step",
        ),
        "alerts": Table(
            Durability.PROCESS,
            "alerts raised, and the query that took each; for the app alone, the user's segment and the intervention chosen, "
            "when the change began, and the steps whose alerts it was not told of yet",
            "shown to the user; told under identified consent, or within a randomised bit",
            "366 steps later, or when 4,096 newer ones are there",
        ),
        "problems": Table(Durability.PROCESS, "what went wrong, counted by name", "the app can report it", "forget"),
        "gap": Table(
            Durability.PROCESS,
            "what watch and alerts held before several steps closed at once",
            "a clock that was ahead comes back, and those steps are taken back",
            "120 steps later, or when the clock came back",
        ),
        "place": Table(
            Durability.POWER,
            "a hash that names the place of the key's files",
            "a copy of the folder is noticed",
            "forget",
        ),
    }
)


_POWER = frozenset(name for name, table in TABLES.items() if table.durability is Durability.POWER)


@dataclass(frozen=True)
class Limits:
    """How much a vault keeps. Raw events fold into counters when their step closes, when the device wakes (an
    event, `close_until`) and one is older than `raw_seconds`, or when there are `raw_events`. What goes first when the
    file exceeds `max_bytes`: replies in the outbox but the newest 4, contents of journal entries but the newest 100, the
    oldest half of the counters. Ledger, consent and the journal's chain never go: a new event is refused first.
    `waits_for_disk=False` is for simulations: what is written survives a killed process, not power loss."""

    max_bytes: int = 1 << 26
    raw_seconds: float = 86_400.0
    raw_events: int = 1000
    journal_entries: int = 1000
    outbox_entries: int = 32
    waits_for_disk: bool = True

    def __post_init__(self) -> None:
        for name in ("max_bytes", "raw_events", "journal_entries", "outbox_entries"):
            object.__setattr__(self, name, whole(getattr(self, name), name, 1, 1 << 48))
        object.__setattr__(self, "raw_seconds", real(self.raw_seconds, "raw_seconds", 0.0, endless=True))
        truth(self.waits_for_disk, "waits_for_disk")


class Vault:
    """One device's sealed tables."""

    def __init__(self, folder: Path, keys: KeyProvider, limits: Limits, wait_s: float = 0.0) -> None:
        expect_not_forgotten(folder, keys)
        self.folder, self.keys, self.limits = folder, keys, limits
        self.turn = Turn()  # of the device whose vault it is
        self._oldest = 0, 0.0  # version and time of the first event of the open step
        self.store = Store(
            folder,
            tuple(TABLES),
            keys,
            migrations=MIGRATIONS,
            max_bytes=limits.max_bytes,
            waits_for_disk=limits.waits_for_disk,
            wait_s=wait_s,
        )
        try:
            expect_not_forgotten(folder, keys)  # by a process that held the vault until now
            for table in ROWS:
                if (payload := self.store.row(table, ONLY)) is not None:
                    expect_row(table, payload)
            self.decisions = Decisions(self.store)
            self.journal = Journal(self.store, limits.journal_entries)
            self.outbox = Outbox(self.store, limits.outbox_entries)
            take_over(self)
        except BaseException:
            self.store.close()
            raise

    @staticmethod
    def exists(folder: Path, keys: KeyProvider) -> bool:
        """Whether there is a vault, or was one: a key, a database, or the marker of a forgotten one."""
        return keys.exists() or (folder / Store.FILE).exists() or (folder / MARKER).exists()

    # ---- tables of one row

    def get(self, table: str) -> Any:
        """What the one row of a table holds, None if there is none."""
        payload = self.store.row(table, ONLY)
        return None if payload is None else unframed(table, payload)

    def put(self, table: str, value: Any) -> None:
        """Write the one row of a table, inside a transaction."""
        self.store.put(table, ONLY, framed(table, value))

    def drop(self, table: str) -> None:
        """Take the one row of a table out, inside a transaction."""
        self.store.delete(table, ONLY)

    def writing(self, *tables: str) -> Transaction:
        """A transaction with the strongest durability that one of the tables asks for."""
        power = not _POWER.isdisjoint(tables)
        return self.store.transaction(Durability.POWER if power else Durability.PROCESS)

    # ---- behaviour

    def add_event(self, event: BehaviourEvent) -> None:
        """Keep one event of the open step; it survives a killed process when this returns. VaultFull beyond the cap."""
        if self.store.count("events") % 64 == 0:
            self.expect_room()
        payload = _EVENT.pack(event.kind, event.category, event.time_s, event.amount)
        with self.writing("events"):
            self.store.append("events", payload)

    def events(self) -> list[BehaviourEvent]:
        """The open step's events that have not been folded, in the order in which they came."""
        found = (_EVENT.unpack(payload) for _, payload in self.store.rows("events"))
        return [BehaviourEvent(EventKind(kind), category, time_s, amount) for kind, category, time_s, amount in found]

    def fold_is_due(self, time_s: float) -> bool:
        """Whether the raw events so far fold at this time, on the device's calendar."""
        version = self.store.version("events", 1)
        if not version:
            return False
        if self._oldest[0] != version:
            payload = self.store.row("events", 1)
            assert payload is not None
            self._oldest = version, _EVENT.unpack(payload)[2]
        return (
            self.store.count("events") >= self.limits.raw_events or self._oldest[1] < time_s - self.limits.raw_seconds
        )

    def fold(self, step: int, counters: Floats) -> None:
        """Put the open step's counters (7, C) in place of its raw events, inside a transaction."""
        self.put_counters(step, counters)
        self.store.clear("events")

    def put_counters(self, step: int, counters: Floats) -> None:
        """Write one step's counters (7, C), inside a transaction: engagement and money in four bytes each, of each kind the
        number of its events, at most 255, in one."""
        self.store.put("counters", step, counters[:2].astype("<f4").tobytes() + counters[2:].astype("u1").tobytes())

    def counters(self, n_categories: int, n_steps: int) -> Floats:
        """Counters of steps 0 .. n_steps - 1: (7, C, n_steps); zero where there is no row."""
        out = np.zeros((N_COUNTERS, n_categories, n_steps), np.float32)
        rows: dict[int, dict[int, bytes]] = {}  # by how many categories they know: of before the catalogue grew, fewer
        for step, payload in self.store.rows("counters"):
            if step < n_steps:
                rows.setdefault(len(payload) // _CATEGORY_BYTES, {})[step] = payload
        for known, found in rows.items():
            data, steps = np.frombuffer(b"".join(found.values()), "u1").reshape(len(found), -1), list(found)
            sums = np.ascontiguousarray(data[:, : 8 * known]).view("<f4")
            out[:2, :known, steps] = sums.reshape(-1, 2, known).transpose(1, 2, 0)
            out[2:, :known, steps] = data[:, 8 * known :].reshape(-1, N_KINDS, known).transpose(1, 2, 0)
        return out

    def expect_room(self) -> None:
        """VaultFull if the vault is at its cap and nothing is left that may go."""
        if self.store.used_bytes <= self.limits.max_bytes:
            return
        if self.store.count("outbox") > 4 or self.store.count("journal") > 101:
            with self.writing("outbox", "journal"):
                self.outbox.shrink(4)
                self.journal.fold(100)
        steps = self.store.ids("counters")
        if self.store.used_bytes > self.limits.max_bytes and len(steps) > 1:
            with self.writing("counters"):
                for step in steps[: len(steps) // 2]:
                    self.store.delete("counters", step)
        if self.store.used_bytes > self.limits.max_bytes:
            raise VaultFull("expected room for one more event: the vault is at its cap")

    def close(self) -> None:
        self.store.close()
