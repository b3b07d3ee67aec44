"""What a user agreed to tell: dated, revocable, journalled. Updates of training have their own protection
and their own switch (`Device.pause`)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum

from shared.errors import InputError

from .store import Store

TABLE = "consent"
_ROW = struct.Struct("<dB?")  #: of one length, whatever was decided


class Consent(StrEnum):
    """`local`: nothing but training leaves the device (the default). `summed`: its bounded counts and histograms may go into
    noisy sums over many devices, inside epsilon. `randomised`: one bit of alerts a period, too, through a coin, inside epsilon.
    `identified`: the alerts themselves may leave, outside epsilon; no coin is thrown for them then."""

    LOCAL = "local"
    RANDOMISED = "randomised"
    IDENTIFIED = "identified"
    SUMMED = "summed"

    def covers(self, needed: str) -> bool:
        """Whether who decided so agreed to what needs this consent ("": to anything does).

        The rule: whoever tells something of themselves alone, a bit or their alerts, agreed to less being told of them among
        many: both cover `summed`. Neither covers the other. A sum rests on helpers or seats, as every round of training does.
        """
        return not needed or needed == self or (needed == Consent.SUMMED and self is not Consent.LOCAL)


def choice_of(choice: object) -> Consent:
    """A Consent, or what its word stands for; InputError for anything else."""
    if not isinstance(choice, str) or choice not in tuple(Consent):
        raise InputError("expected a Consent, or its word")
    return Consent(choice)


#: In the order of their numbers in a row: only ever append.
CHOICES = (Consent.LOCAL, Consent.RANDOMISED, Consent.IDENTIFIED, Consent.SUMMED)


@dataclass(frozen=True)
class Decision:
    """One decision of the user: from when on, what they agreed to, and whether the device is paused."""

    time_s: float
    consent: Consent
    paused: bool = False


def stricter(a: Decision, b: Decision) -> Decision:
    """What both allow: paused if either is; where they differ `summed` if both cover it, else `local`."""
    differing = Consent.SUMMED if all(one.consent.covers(Consent.SUMMED) for one in (a, b)) else Consent.LOCAL
    return Decision(max(a.time_s, b.time_s), a.consent if a.consent is b.consent else differing, a.paused or b.paused)


class Decisions:
    """Every decision, the last of which holds. `add` belongs inside a transaction that survives power loss."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> list[Decision]:
        """The decisions, the oldest first."""
        return [_decision(payload) for _, payload in self._store.rows(TABLE)]

    @property
    def now(self) -> Decision:
        """What holds; `local` before anybody decided."""
        rows = self._store.ids(TABLE)
        payload = self._store.row(TABLE, rows[-1]) if rows else None
        return Decision(0.0, Consent.LOCAL) if payload is None else _decision(payload)

    def add(self, decision: Decision) -> None:
        """Write a decision down, to hold from now on."""
        self._store.append(TABLE, _ROW.pack(decision.time_s, CHOICES.index(decision.consent), decision.paused))


def _decision(payload: bytes) -> Decision:
    time_s, choice, paused = _ROW.unpack(payload)
    return Decision(time_s, CHOICES[choice], paused)
