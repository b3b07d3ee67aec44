"""What a user may ask of their device: what left, consent, pause, forget. None of it raises into the host app."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Self

from .consent import Consent, Decision
from .farewell import forget
from .gate import Gate
from .journal import DECISION, Entry
from .vault import Vault


class Quietly:
    """The `with` block of a method that does not raise into the host app."""

    __slots__ = ("_problems",)

    def __init__(self, problems: Counter[str]) -> None:
        self._problems = problems

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> bool:
        if isinstance(error, Exception):
            self._problems[type(error).__name__] += 1
            return True
        return False


class Rights:
    """The owner's side of a device, over its vault and gate."""

    def __init__(self, vault: Vault, gate: Gate, server_key: bytes) -> None:
        self.gate, self._server_key = gate, server_key
        self.problems: Counter[str] = gate.problems
        self._vault = vault

    def what_left(self) -> list[Entry]:
        """Everything that left this device and is not folded away yet, the oldest first, decoded."""
        with self._quietly():
            return [entry for entry in self._vault.journal.entries() if entry.size_bytes]
        return []

    def consent(self, choice: Consent | None = None) -> Consent:
        """What the user agreed to tell about alerts; with `choice`, from now on. What comes back holds, whatever was
        asked for: a choice that could not be written down does not hold."""
        with self._quietly():
            now = self._vault.decisions.now
            if choice is not None and choice is not now.consent:
                self._decide(replace(now, consent=Consent(choice)))
            return self._vault.decisions.now.consent
        return Consent.LOCAL

    def pause(self, paused: bool = True) -> bool:
        """Answer no round until `pause(False)`; events still count, here. Whether the device is paused now."""
        with self._quietly():
            now = self._vault.decisions.now
            if paused is not now.paused:
                self._decide(replace(now, paused=bool(paused)))
            return self._vault.decisions.now.paused
        return True

    def _decide(self, decision: Decision) -> None:
        time_s = self.gate.clock.now_s()
        content = {"consent": str(decision.consent), "paused": decision.paused}
        with self._vault.writing("consent", "journal", "outbox"):
            self._vault.decisions.add(replace(decision, time_s=time_s))
            self._vault.journal.add(time_s, DECISION, b"", 0.0, "what the user decided", content)
            if decision.consent is not Consent.IDENTIFIED:
                self._vault.outbox.drop("alerts")

    def forget(self) -> bool:
        """Destroy the key, then everything in the folder; whether it is done. This device answers with a deletion notice
        once, then with refusals; it records nothing any more."""
        self.gate.closed = True
        with self._quietly():
            self._vault.close()
            forget(self._vault.folder, self._vault.keys, self._server_key)
            return True
        return False

    def close(self) -> None:
        """Let go of the vault; everything is in it already. Can be repeated."""
        with self._quietly():
            if not self.gate.closed and self._vault.get("problems") != dict(self.problems):
                with self._vault.writing("problems"):
                    self._vault.put("problems", dict(self.problems))
        self._vault.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _quietly(self) -> Quietly:
        """Count what goes wrong in a `with` body, by the name of the error, instead of raising it."""
        return Quietly(self.problems)
