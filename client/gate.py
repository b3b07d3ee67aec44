"""THE ONLY DOOR OUT: whatever leaves a device is declared, consented to, paid for, written down, and only then bytes.

release:  register -> consent -> ledger -> one transaction (ledger, journal, outbox, what was heard) -> anchor -> bytes
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from shared.clock import Clock
from shared.codec import decode, encode
from shared.envelope import Head
from shared.errors import Refusal, RefusalCode, SumError, WireError
from shared.messages import REGISTER
from shared.rdp import Curve, epsilon
from shared.register.kinds import MessageKind, Spends

from .privacy.caps import Caps
from .privacy.heard import Asked, Heard
from .privacy.ledger import Ledger
from .privacy.membership import Members
from .refusals import bare_refusal, code_of, last_words, past_words
from .turns import TakesTurns
from .vault.consent import Consent, Decision, stricter
from .vault.vault import Vault

Fields = Mapping[str, Any]


def declared(name: str, fields: Fields, consent: Consent) -> bytes:
    """Bytes of one reply as the register and consent allow them; Refusal otherwise.

    Without the consent that its kind needs it does not leave; or, where the register names a list that is emptied then
    (alerts), it leaves in the form of a device that saw nothing.
    """
    kind = REGISTER.get(name)
    if kind and not allows(consent, kind):
        if not kind.emptied:
            raise Refusal(RefusalCode.CONSENT)
        fields = {**fields, kind.emptied: []}
    try:
        return encode(REGISTER, name, fields)
    except WireError:
        raise Refusal(RefusalCode.INTERNAL) from None


def allows(consent: Consent, kind: MessageKind) -> bool:
    """Whether a reply of this kind may leave under this consent."""
    return consent.covers(kind.consent)


class Gate(TakesTurns):
    """The door of one vault.

    Guarantees. Every byte string it returns decodes under the register. What depends on behaviour is charged, journalled
    and in the outbox, all durable against power loss, before `release` returns its bytes; killed before that, the
    charge may stand without a release, never the other way round. The same request gets the same bytes, whatever
    happened in between, unless consent was revoked. What costs is released once for each round of a plan and each step,
    in order: when the outbox let go of it, it is refused (STALE), as is whatever else comes before what was heard
    (`client/privacy/heard.py`). Of refusals only the 1st, 2nd, 4th ... of a code wait for the disk. `answer` never raises: a
    breach of the register or an exception becomes a refusal with a code of a closed set and no text.
    """

    def __init__(
        self, vault: Vault, caps: Caps | None, clock: Clock, problems: Counter[str], server_key: bytes = b""
    ) -> None:
        self._server_key = server_key
        self._turn = vault.turn
        self._vault, self._caps, self.clock, self.problems = vault, caps, clock, problems
        self._ledger: Ledger | None = None
        self._heard: Heard | None = None
        self.closed = False  #: the device was forgotten
        self.unwritten_decision: Decision | None = None  #: what the user decided, if it could not be written down

    @property
    def decision(self) -> Decision:
        """What the user decided, and where that could not be written down the stricter of it and what was before."""
        written = self._vault.decisions.now
        return stricter(written, self.unwritten_decision) if self.unwritten_decision else written

    @property
    def ledger(self) -> Ledger:
        """What this device has spent."""
        if self._ledger is None:
            self._ledger = Ledger.from_bytes(self._vault.get("ledger"), self._caps)
        return self._ledger

    @property
    def heard(self) -> Heard:
        """What this device heard last of its server."""
        if self._heard is None:
            self._heard = Heard.of(self._vault.get("heard"))
        return self._heard

    @property
    def members(self) -> Members:
        """What this device is in epochs of enrolment."""
        return Members.of(self._vault.get("members"))

    def leave_past_epochs(self) -> None:
        """Destroy what this device was in epochs that are over by its own clock: their keys are in none of its files when this
        returns, and nobody reads what was sealed to them."""
        members = self.members
        if (left := members.without_past(self.clock.now_s())) is members:
            return
        with self._vault.writing("members"):
            self._vault.drop("members")  # what is let go is cut from the log, what is replaced stays in it for a while
            if left.members:
                self._vault.put("members", left.plain())

    def answer(self, asked: bytes, handler: Callable[[], bytes], said: Asked | None = None) -> bytes:
        """The reply to request `asked` (its SHA-256): from the outbox, or from the handler. By what the server `said`, a
        period of the ledger may end first, and a request that comes before what was heard is refused. Never raises."""
        try:
            if self.closed:
                return last_words(self._vault.folder)
            if (said_before := past_words(self._vault.folder, self._server_key)) is not None:
                return said_before
            self.leave_past_epochs()
            if self.decision.paused:
                raise Refusal(RefusalCode.PAUSED)
            if said is not None:
                self.meet(said.time_s)
            found = self._vault.outbox.find(asked)
            if found and self._may_leave_again(*found):
                self._vault.store.settle()
                return found[1]
            if said is not None and found is None:
                self.heard.expect_in_order(said)
            return handler()
        except Refusal as refusal:
            return self.refuse(refusal.code)
        except SumError as error:
            return self.refuse(code_of(error))
        except WireError:
            return self.refuse(RefusalCode.MALFORMED)
        except Exception as error:
            self.problems[type(error).__name__] += 1
            return self.refuse(RefusalCode.INTERNAL)

    def _may_leave_again(self, name: str, sent: bytes) -> bool:
        """Whether consent still covers what was sent, or there is nothing in it that would need any: a device without consent
        answers as one that saw nothing, the second time as well."""
        kind = REGISTER.get(name)  # None for what an older app kept, and this one does not know
        if kind is None or allows(self.decision.consent, kind):
            return kind is not None
        return bool(kind.emptied) and not decode(REGISTER, sent)[1][kind.emptied]

    def decline(self, code: RefusalCode) -> bytes:
        """The reply to a request that was refused before it was understood. Never raises."""
        if not self.closed:
            return self.refuse(code)
        if code is RefusalCode.SIGNATURE:  # a stranger, who cannot take the notice away
            return bare_refusal(code)
        return last_words(self._vault.folder)

    def release(
        self,
        asked: bytes,
        name: str,
        fields: Fields,
        cost: Curve | None = None,
        plan_sha256: bytes | None = None,
        said: Asked | None = None,
        rows: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Bytes of one reply that may leave now, to what the server `said`; `rows` of the vault are written down with it. Refusal,
        and nothing spent or written, if it may not; an error of the vault if it could not be written down."""
        data = declared(name, fields, self.decision.consent)
        kind, content = REGISTER[name], decode(REGISTER, data)[1]
        ledger, spent = self.ledger, 0.0
        if kind.charged:
            at = content[kind.once_per] if kind.once_per else None
            ledger = ledger.charge(name, cost, plan_sha256, at)  # type: ignore[arg-type]  # no cost is refused there
            spent = float(epsilon(cost, ledger.caps.delta)) if cost is not None else 0.0
        outside = kind.spends is Spends.OUTSIDE_EPSILON and bool(content[kind.emptied] if kind.emptied else True)
        if kind.charged:
            self._ledger = None  # what is on disk counts
        with self._vault.writing("ledger", "heard", "journal", "outbox", *(rows or ())):
            for table, row in (rows or {}).items():
                self._vault.put(table, row)
            if kind.charged:
                self._vault.put("ledger", ledger.to_bytes())
            self._write_down(name, data, None if outside else spent, content, said.head if said else None)
            if kind.kept:
                self._vault.outbox.keep(asked, name, data)
            if said is not None:
                self.hear(said)
        if kind.charged:
            self._ledger = ledger
        return data

    def hear(self, said: Asked) -> None:
        """Remember, inside a transaction, that a request was taken or answered; an offer of another run lets rounds be
        counted from 1 again."""
        before = self.heard
        after = before.after(said, self.clock.now_s())
        if after == before:
            return
        self._heard = None  # what is on disk counts
        self._vault.put("heard", after.plain())
        if before.is_new_run(said):
            ledger, self._ledger = self.ledger.begun_anew(), None
            self._vault.put("ledger", ledger.to_bytes())

    def meet(self, signed_time_s: float) -> None:
        """Let a period of the ledger end, if this device's clock and a time that the server signed agree that it is over.
        The caller has checked the signature."""
        ledger = self.ledger.advance(self.clock.now_s(), signed_time_s)
        if ledger is self.ledger:
            return
        self._ledger = None  # what is on disk counts
        with self._vault.writing("ledger"):
            self._vault.put("ledger", ledger.to_bytes())
        self._ledger = ledger

    def refuse(self, code: RefusalCode) -> bytes:
        """Bytes of a refusal, which is counted, and the 1st, 2nd, 4th ... of its code in the journal for those since the
        last entry, if that can be written. It tells nothing, so it may leave either way."""
        data = bare_refusal(code)
        try:
            self._count(code, data)
        except Exception as error:
            self.problems[type(error).__name__] += 1
        return data

    def _count(self, code: RefusalCode, data: bytes) -> None:
        counted = self._vault.get("refusals") or {}
        name = str(int(code))
        n = counted.get(name, 0) + 1
        told = n.bit_count() == 1
        with self._vault.writing("refusals", *(["journal"] if told else [])):
            self._vault.put("refusals", {**counted, name: n})
            if told:
                times = {"times": n // 2} if n > 2 else {}
                self._write_down("refusal", data, 0.0, {"code": int(code), **times})

    def _write_down(
        self, name: str, data: bytes, spent: float | None, content: Fields, log: Head | None = None
    ) -> None:
        kind = REGISTER[name]
        self._vault.journal.add(self.clock.now_s(), name, data, spent, kind.purpose, content, kind.condition, log)
