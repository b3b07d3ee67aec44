"""The anchor: how many writes of a vault must not be taken back, and a hash that only this chain of them ends in.

It lies outside the database, and is raised after each such write, before anything is handed out. So a database is at its
anchor, or one write ahead of it if its process died between the two. The number alone would not do: a process that dies
there, again and again, on copies of one database leaves different databases of the same number.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from shared.errors import VaultRolledBack

TIP_BYTES = 32


class Anchor(NamedTuple):
    """How many writes, and the end of their chain; the first anchor of any vault is the same."""

    number: int = 0
    tip: bytes = bytes(TIP_BYTES)

    def then(self, heads: bytes) -> Anchor:
        """The anchor after one more write, which left these heads (`client/vault/store.py`)."""
        return Anchor(self.number + 1, hashlib.blake2b(self.tip + heads, digest_size=TIP_BYTES).digest())


def expect_newest(kept: Anchor, here: Anchor, before: bytes) -> None:
    """VaultRolledBack unless a database at `here`, whose chain ended in `before` one write earlier, is at the anchor that
    was kept, or the one write after it."""
    ahead = here.number - kept.number
    if ahead not in (0, 1) or kept.tip != (before if ahead else here.tip):
        raise VaultRolledBack(f"expected the database that anchor {kept.number} was raised by, got another")
