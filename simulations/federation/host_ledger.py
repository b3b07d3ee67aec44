"""What the devices of a host have spent: the rules of `client.privacy.ledger`, over all of them at once.

A ledger of curves for each of K devices would be 3.5 KB a device. But devices that have spent alike have equal ledgers:
they share one account, so a host holds a number for each device and as many accounts as there are different ones (after
rounds of one plan: one for each number of participations). `charge_all` runs over the accounts.

Saved in one move: a process killed at any moment leaves the old ledger or the new one. As with a simulated device's
vault no write waits for the disk. Hosted devices keep no journal, and no outbox: a host is asked once for each round, so
that the rule against answering one twice (`client.privacy.ledger`) has nothing to do here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.privacy.caps import OF_A_PLAN, Caps, LedgerLine
from client.privacy.ledger import ALLOWED, Spent, advance_all, charge_all
from shared.arrays import Ints, as_declared, hold_declared
from shared.errors import InputError
from shared.files import replacing
from shared.rdp import Curve

Codes = NDArray[np.uint8]


@dataclass(frozen=True)
class HostLedger:
    """Accounts of K devices. A value: `charge` and `advance` return the next one.

    `account` (K,): which of the A accounts each device has. `spent`: of the accounts, (A, ...). `plans`: the lines and
    plan hashes that anybody took part in; `participations` (A, plans): how often.
    """

    caps: Caps
    account: NDArray[np.int32]
    spent: Spent
    plans: tuple[tuple[LedgerLine, bytes], ...]
    participations: NDArray[np.int32]

    def __post_init__(self) -> None:
        hold_declared(self)

    @classmethod
    def empty(cls, n_devices: int, caps: Caps) -> HostLedger:
        """Nobody has spent anything."""
        return cls(caps, np.zeros(n_devices, np.int32), Spent.nothing(1), (), np.zeros((1, 0), np.int32))

    @classmethod
    def load(cls, file: Path, n_devices: int, caps: Caps) -> HostLedger:
        """The ledger that `save` left in a file; an empty one if there is none."""
        if not file.exists():
            return cls.empty(n_devices, caps)
        with np.load(file) as found:
            lines, hashes = found["lines"].tolist(), found["plans"]
            plans = tuple((LedgerLine(line), row.tobytes()) for line, row in zip(lines, hashes, strict=True))
            spent = Spent(found["curves"], found["period_start_s"])
            return cls(caps, found["account"], spent, plans, found["participations"])

    def save(self, file: Path) -> None:
        """Replace what is in the file, in one move."""
        with replacing(file) as out:
            np.savez(
                out,
                account=self.account,
                curves=self.spent.curves,
                period_start_s=self.spent.period_start_s,
                lines=np.array([str(line) for line, _ in self.plans], np.str_),
                plans=np.frombuffer(b"".join(plan for _, plan in self.plans), np.uint8).reshape(-1, 32),
                participations=self.participations,
            )

    @as_declared
    def charge(
        self, devices: Ints, line: LedgerLine, cost: Curve, plan_sha256: bytes | None = None
    ) -> tuple[HostLedger, Codes]:
        """The ledger after one release on `line` of each of `devices` (D,), and what each says: `ALLOWED` or a
        RefusalCode, uint8 (D,). Rules, codes and guarantees are those of `charge_all`.

        `plan_sha256`: 32 bytes for lines whose releases are rounds of a plan, None for the others. InputError for a
        device that is asked twice at once.
        """
        if (line in OF_A_PLAN) != (plan_sha256 is not None and len(plan_sha256) == 32):
            raise InputError(f"expected a plan's hash for lines of a plan alone, line {line}")
        if len(devices) and np.bincount(devices).max() > 1:
            raise InputError("expected each device once in a round")
        ledger = self if plan_sha256 is None else self._knowing(line, plan_sha256)
        of = ledger.account[devices]
        asked = np.flatnonzero(np.bincount(of))
        counts, column = ledger.participations[asked].astype(np.int64), None
        if plan_sha256 is not None:
            column = ledger.plans.index((line, plan_sha256))
        spent, code = charge_all(
            _take(ledger.spent, asked),
            np.zeros(len(asked), np.int64) if column is None else counts[:, column],
            line,
            cost,
            self.caps,
            n_plans=(counts > 0).sum(axis=1),
        )
        if column is not None:
            counts[:, column] += code == ALLOWED
        codes: Codes = code[np.searchsorted(asked, of)]
        return ledger._moved(devices[codes == ALLOWED], asked, spent, counts.astype(np.int32)), codes

    @as_declared
    def advance(self, devices: Ints, now_s: float, signed_time_s: float) -> HostLedger:
        """The ledger once the clocks of `devices` (D,), which all show the same, met a time that the server signed; this
        same object if nothing changed. Rules and guarantees are those of `advance_all`."""
        asked = np.flatnonzero(np.bincount(self.account[devices]))
        before = _take(self.spent, asked)
        spent = advance_all(before, np.full(len(asked), now_s, np.float64), signed_time_s, self.caps)
        if (spent.period_start_s == before.period_start_s).all():
            return self
        return self._moved(devices, asked, spent, self.participations[asked])

    def _knowing(self, line: LedgerLine, plan_sha256: bytes) -> HostLedger:
        """This ledger with a column for a plan's line."""
        if (line, plan_sha256) in self.plans:
            return self
        unused = np.zeros((len(self.participations), 1), np.int32)
        wider = np.concatenate([self.participations, unused], axis=1)
        return replace(self, plans=(*self.plans, (line, plan_sha256)), participations=wider)

    def _moved(self, devices: Ints, asked: Ints, spent: Spent, participations: NDArray[np.int32]) -> HostLedger:
        """This ledger with `devices` moved from their accounts, which are among `asked` (sorted), to what these became."""
        account = self.account.copy()
        account[devices] = len(self.participations) + np.searchsorted(asked, self.account[devices])
        pairs = zip(_columns(self.spent), _columns(spent), strict=True)
        together = Spent(*(np.concatenate(pair) for pair in pairs))
        counts = np.concatenate([self.participations, participations])
        return HostLedger(self.caps, account, together, self.plans, counts)._merged()

    def _merged(self) -> HostLedger:
        """Equal accounts as one, and none that nobody has."""
        used = np.flatnonzero(np.bincount(self.account, minlength=len(self.participations)))
        rows: list[NDArray[Any]] = [*_columns(_take(self.spent, used)), self.participations[used]]
        first: dict[bytes, int] = {}
        number = np.zeros(len(self.participations), np.int32)
        for i, at in enumerate(used.tolist()):
            key = b"".join(column[i].tobytes() for column in rows)
            number[at] = first.setdefault(key, len(first))
        kept = used[np.unique(number[used], return_index=True)[1]]
        return replace(
            self,
            account=number[self.account],
            spent=_take(self.spent, kept),
            participations=self.participations[kept],
        )


def _columns(spent: Spent) -> tuple[Curve, Ints]:
    return spent.curves, spent.period_start_s


def _take(spent: Spent, accounts: Ints | NDArray[np.int32]) -> Spent:
    return Spent(spent.curves[accounts], spent.period_start_s[accounts])


def refused_of(codes: Codes) -> dict[int, int]:
    """How many of `codes` (D,) are refusals, by code."""
    found, counts = np.unique(codes[codes != ALLOWED], return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))
