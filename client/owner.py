"""What a user may ask of their device: what left, consent, pause, forget. None of it raises into the host app."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from shared.arguments import folder as folder_path
from shared.arguments import having, octets
from shared.errors import InputError, RefusalCode, VaultError
from shared.messages import REGISTER

from .gate import Gate, allows
from .problems import what_to_do
from .turns import TakesTurns
from .vault.consent import Consent, choice_of
from .vault.erasure import SERVER_KEY_BYTES, begin_to_forget, finish_forgetting
from .vault.journal import DECISION, START, Checkpoint, Entry
from .vault.keys import KeyProvider
from .vault.sqlite_file import held_alone
from .vault.store import Store
from .vault.vault import Vault


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


class OwnerControls(TakesTurns):
    """The owner's side of a device, over its vault and gate."""

    def __init__(self, vault: Vault, gate: Gate, server_key: bytes) -> None:
        self._turn = vault.turn
        self.gate, self._server_key = gate, server_key
        self.problems: Counter[str] = gate.problems
        self._vault = vault

    def what_left(self) -> list[Entry]:
        """Everything that left this device and is not folded away yet, the oldest first, decoded. Of refusals an entry may
        stand for many: `refused` counts all of them."""
        with self._quietly():
            return [entry for entry in self._vault.journal.entries() if entry.size_bytes]
        return []

    def what_left_before(self) -> Checkpoint:
        """What left before that, and is folded away: by kind how many, their bytes and epsilon, and how many identified
        alerts."""
        with self._quietly():
            return self._vault.journal.checkpoint()
        return Checkpoint(0, START, {})

    def refused(self) -> dict[RefusalCode, int]:
        """How often this device refused, by code."""
        with self._quietly():
            return {RefusalCode(int(code)): n for code, n in (self._vault.get("refusals") or {}).items()}
        return {}

    def advice(self) -> dict[str, str]:
        """What to do about each of the `problems` that were counted: one sentence by name."""
        return {name: what_to_do(name) for name in self.problems}

    def consent(self, choice: Consent | None = None) -> Consent:
        """What the user agreed to tell about alerts, as it is written down; with `choice`, a Consent or its word, from now on.
        Anything else is no choice, and counted in `problems`. Another answer
        than the choice says that it could not be written, and should be asked for again: until this device is closed,
        alerts are `local` then. Where nothing can be read, it is another one than the choice, too."""
        if choice is not None:
            with self._quietly():
                self._decide(consent=choice_of(choice))
        with self._quietly():
            return self._vault.decisions.now.consent
        with self._quietly():
            if choice is not None and choice_of(choice) is Consent.LOCAL and not self.gate.closed:
                return Consent.IDENTIFIED  # what may be written, and holds at the next opening
        return Consent.LOCAL

    def pause(self, paused: bool = True) -> bool:
        """Answer no round until `pause(False)`; events still count, here. What is neither True nor False decides nothing, and
        is counted in `problems`. Whether it is written down that the device is
        paused. Another answer than `paused` says that it could not be written, and should be asked for again: until
        this device is closed, it answers no round then."""
        with self._quietly():
            if not isinstance(paused, bool):
                raise InputError("expected True or False, got something else")
            self._decide(paused=paused)
        with self._quietly():
            return self._vault.decisions.now.paused
        return paused is not True or self.gate.closed

    def _decide(self, **change: Any) -> None:
        """Write down a decision, which differs from the last one in `change`. Where it is stricter it holds from before
        the attempt, where it is not from after its success."""
        gate, written = self.gate, self._vault.decisions.now
        decision = replace(gate.unwritten_decision or written, time_s=gate.clock.now_s(), **change)
        if replace(decision, time_s=written.time_s) == written:
            gate.unwritten_decision = None
            return
        gate.unwritten_decision = decision
        content = {"consent": str(decision.consent), "paused": decision.paused}
        with self._vault.writing("consent", "journal", "outbox"):
            self._vault.decisions.add(decision)
            self._vault.journal.add(decision.time_s, DECISION, b"", 0.0, "what the user decided", content)
            for kind in REGISTER.values():
                if not allows(decision.consent, kind):
                    self._vault.outbox.drop(kind.name)
        gate.unwritten_decision = None

    def forget(self) -> bool:
        """Destroy the key, then everything in the folder; whether it is done. This device answers with a deletion notice
        once, then with refusals; it records nothing any more. A full disk does not stop it: see
        `client/vault/erasure.py`."""
        folder, keys = self._vault.folder, self._vault.keys
        with self._quietly():
            self._vault.store.expect_ours()
            self.gate.closed = True
            self._turn.waiting.clear()
            if self._vault.store.is_closed:  # somebody else may hold it by now
                return self.forget_at(folder, keys, self._server_key)
            begin_to_forget(folder, keys, self._server_key)  # while nobody else can open the vault
            self._vault.close()
            finish_forgetting(folder, self._server_key)
            return True
        return False

    @staticmethod
    def forget_at(folder: Path, keys: KeyProvider, server_key: bytes) -> bool:
        """`forget` for a vault that does not open any more: damaged, put back, its key missing or another one. Whether
        it is done; false, and nothing happened, where a process holds the vault, or an argument is none. `server_key`: whose the
        notice is."""
        try:
            folder, server_key = folder_path(folder, "folder"), octets(server_key, "server_key", SERVER_KEY_BYTES)
            having(keys, "keys", "exists", "wrap", "unwrap", "destroy")
            with held_alone(folder / Store.FILE):
                begin_to_forget(folder, keys, server_key)
            finish_forgetting(folder, server_key)
        except (VaultError, InputError, OSError):
            return False
        return True

    def close(self) -> None:
        """Let go of the vault; everything is in it already. Can be repeated."""
        self._turn.waiting.clear()
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
