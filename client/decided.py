"""What the app decided for its device: caps and policy. They lie in the vault, and belong to the device: who opens it without
any, as a node that only answers the server does, has those that are there."""

from __future__ import annotations

from collections import Counter
from typing import Any

from shared.errors import ConfigError, VaultNewer

from .detection.policy import POLICY, Policy
from .privacy.caps import Caps
from .vault.journal import DECISION
from .vault.vault import Vault


def caps_of(vault: Vault, given: Caps | None, now_s: float, problems: Counter[str]) -> Caps:
    """The caps that hold: those that are `given`, which are written down first, or those that were last; the default table
    if none ever were.

    Guarantees. What is tighter than before holds at once; what is looser holds once it is on the disk. Where it cannot be
    written, what both allow holds until the device is closed, and that is counted in `problems`.
    """
    row = vault.get("caps")
    held = Caps() if row is None else Caps.of(row)
    if given is None or (row is not None and given == held):
        return held
    before = None if given == held else held.plain()
    return given if _written(vault, "caps", given.plain(), before, now_s, problems) else held.stricter(given)


def policy_of(vault: Vault, given: Policy | None, now_s: float, problems: Counter[str]) -> Policy:
    """The policy that holds, in the same way; one that is given holds also where it cannot be written down: it lets nothing
    out."""
    row = vault.get("policy")
    held = POLICY if row is None else _policy(row)
    if given is None or (row is not None and given.plain() == held.plain()):
        return held
    before = None if given.plain() == held.plain() else held.plain()
    _written(vault, "policy", given.plain(), before, now_s, problems)
    return given


def _written(vault: Vault, table: str, now: Any, before: Any, now_s: float, problems: Counter[str]) -> bool:
    """Whether it could be written down; in the journal, too, where it is another one than `before`."""
    try:
        with vault.writing(table, "journal"):
            vault.put(table, now)
            if before is not None:
                vault.journal.add(now_s, DECISION, b"", 0.0, "what the app decided", {table: now})
    except Exception as error:
        problems[type(error).__name__] += 1
        return False
    return True


def _policy(table: Any) -> Policy:
    try:
        return Policy(table)
    except ConfigError:
        raise VaultNewer("expected a policy of interventions that this app knows, got another one") from None
