"""What a device heard last of its server: offers and rounds only move forward, whoever delivers them, and in whatever order.

A signature says that the server asked once, not that it asks now: what somebody kept can be sent again. So a device
remembers, in its vault, the last offer that it took and when it last answered a request of each other kind, by the time that
was signed. Nothing here is I/O: a `Heard` is a value with a map of its own, as the ledger is.

A server's run has a number, the second at which it began; a server that lost its folder begins another, later one. Its
offer lets rounds be counted from 1 again (`Ledger.begun_anew`); what was spent stays spent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from shared.envelope import Head
from shared.errors import Refusal, RefusalCode

from .caps import DAY_S

OFFER = "model_offer"
#: Stands in a request of a kind that names no run.
NO_RUN = -1


class Asked(NamedTuple):
    """One request, as the server signed it: its kind, the SHA-256 of its body, when it was signed, and the run and round
    that it names (0 where its kind names no round); and how the server's log stood, if the envelope says so."""

    name: str
    sha256: bytes
    time_s: int
    run: int = NO_RUN
    round_number: int = 0
    head: Head | None = None


class Taken(NamedTuple):
    """The offer that was taken last. `run` is the one that it names; `run_s` and `time_s`, what later ones are compared
    with, are no later than the device's own clock a day on."""

    run: int
    run_s: int
    time_s: int
    round_number: int
    sha256: bytes


@dataclass(frozen=True)
class Heard:
    """What one device heard last: the `offer` that it took, None before the first; by kind of any other request, the signed
    time of the last one that was `answered`."""

    offer: Taken | None = None
    answered: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    witnessed: bool = False  #: whether any request said how the server's log stood

    def is_again(self, asked: Asked) -> bool:
        """Whether a request is the very offer that was taken last."""
        return self.offer is not None and asked.name == OFFER and asked.sha256 == self.offer.sha256

    def is_new_run(self, asked: Asked) -> bool:
        """Whether an offer is of another run than the one before it."""
        return self.offer is not None and asked.run != self.offer.run

    def expect_in_order(self, asked: Asked) -> None:
        """Refusal unless a request comes after what was heard. STALE: an offer whose (run, signed time, round) lies before
        that of the last one, unless it is that very one; a round of an earlier run, or signed before the offer of its run;
        any request signed before the last of its kind that was answered; one that says nothing of the server's log, after any that
        did: who keeps a log does not stop. PLAN_MISMATCH: a round of a run of which no offer was taken.

        Guarantees. What was taken or answered and is played again changes nothing, except the last offer of all, which
        changes nothing either: it is there. Edge cases. Requests of the same second may come in any order; a round is
        answered once, whatever its time (`Ledger.charge`). A round that this device was never asked for, signed since the
        last one that it answered, is one that anybody may deliver to it: it is charged as any other.
        """
        last = self.offer
        if self.witnessed and asked.head is None:
            raise Refusal(RefusalCode.STALE)
        if asked.name == OFFER:
            if last is not None and not self.is_again(asked) and self._is_before(asked, last):
                raise Refusal(RefusalCode.STALE)
            return
        if asked.run != NO_RUN:
            if last is None or asked.run > last.run:
                raise Refusal(RefusalCode.PLAN_MISMATCH)
            if asked.run < last.run or asked.time_s < last.time_s:
                raise Refusal(RefusalCode.STALE)
        if asked.time_s < self.answered.get(asked.name, 0):
            raise Refusal(RefusalCode.STALE)

    @staticmethod
    def _is_before(asked: Asked, last: Taken) -> bool:
        if asked.run != last.run:
            return asked.run < last.run_s
        return (asked.time_s, asked.round_number) < (last.time_s, last.round_number)

    def after(self, asked: Asked, now_s: float) -> Self:
        """What has been heard once a request was taken or answered, at `now_s` by the device's own clock.

        A time that was signed too far ahead, by accident, is remembered as the device's own clock a day on, further apart
        than which two clocks do not agree in the ledger, either: it may not lock a device for ever. Until the clock has
        passed it, what was signed so can be played again; with a device's clock that is far behind, so can anything.
        """
        witnessed = self.witnessed or asked.head is not None
        latest_s = int(max(now_s, 0.0)) + DAY_S
        time_s = min(asked.time_s, latest_s)
        if asked.name != OFFER:
            last_s = max(time_s, self.answered.get(asked.name, 0))
            answered = MappingProxyType({**self.answered, asked.name: last_s})
            return replace(self, answered=answered, witnessed=witnessed)
        run_s, last = min(asked.run, latest_s), self.offer
        if last is not None:
            run_s = max(run_s, last.run_s)
            time_s = max(time_s, last.time_s) if asked.run == last.run else time_s
        taken = Taken(asked.run, run_s, time_s, asked.round_number, asked.sha256)
        return replace(self, offer=taken, witnessed=witnessed)

    # ---- kept between two calls

    def plain(self) -> dict[str, Any]:
        """What is kept of it, for `of`."""
        return {"offer": self.offer and list(self.offer), "answered": dict(self.answered), "witnessed": self.witnessed}

    @classmethod
    def of(cls, fields: dict[str, Any] | None) -> Self:
        """What `plain` said; nothing heard for None."""
        if fields is None:
            return cls()
        offer, answered = fields["offer"], MappingProxyType(dict(fields["answered"]))
        return cls(offer and Taken(*offer), answered, fields["witnessed"])
