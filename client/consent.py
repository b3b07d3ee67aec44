"""What a user agreed to tell about alerts: dated, revocable, journalled. Updates of training have their own protection
and their own switch (`Device.pause`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cbor2

from .store import Store

TABLE = "consent"


class Consent(StrEnum):
    """`local`: alerts never leave the device (the default). `randomised`: one bit a period, through a coin, inside
    epsilon. `identified`: the alerts themselves may leave, outside epsilon."""

    LOCAL = "local"
    RANDOMISED = "randomised"
    IDENTIFIED = "identified"


@dataclass(frozen=True)
class Decision:
    """One decision of the user: from when on, what they agreed to, and whether the device is paused."""

    time_s: float
    consent: Consent
    paused: bool = False


class Decisions:
    """Every decision, the last of which holds. `add` belongs inside a transaction that survives power loss."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> list[Decision]:
        """The decisions, the oldest first."""
        found = (cbor2.loads(payload) for _, payload in self._store.rows(TABLE))
        return [Decision(time_s, Consent(consent), paused) for time_s, consent, paused in found]

    @property
    def now(self) -> Decision:
        """What holds; `local` before anybody decided."""
        rows = self._store.ids(TABLE)
        payload = self._store.row(TABLE, rows[-1]) if rows else None
        if payload is None:
            return Decision(0.0, Consent.LOCAL)
        time_s, consent, paused = cbor2.loads(payload)
        return Decision(time_s, Consent(consent), paused)

    def add(self, decision: Decision) -> None:
        """Write a decision down, to hold from now on."""
        self._store.append(TABLE, cbor2.dumps([decision.time_s, str(decision.consent), decision.paused]))
