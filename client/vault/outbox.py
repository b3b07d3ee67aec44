"""Replies that were paid for, by the request they answer: the same request gets the same bytes, and that is one release.

A reply that is asked for again (the line broke, the process was killed before it went out) costs nothing more, because
it says nothing more. The newest `most` are kept; an older one is gone, and not made again (`client/gate.py`).
"""

from __future__ import annotations

from typing import Any

from shared import cbor
from shared.cbor import Limits

from .store import Store
from .values import fields_of

TABLE = "outbox"
#: Twice the longest reply, an update whose boxes are as long as the register allows.
_LIMITS = Limits(1 << 23, most_items=4, most_depth=1)


class Outbox:
    """The outbox of one vault. `keep` and `drop` belong inside a transaction that survives power loss."""

    def __init__(self, store: Store, most: int = 32) -> None:
        self._store, self._most = store, most

    def find(self, asked: bytes) -> tuple[str, bytes] | None:
        """Kind and bytes of the reply that request `asked` (its SHA-256) got, None if there is none."""
        payload = self._store.row(TABLE, self._store.place(TABLE, asked))
        if payload is None:
            return None
        request, kind, data = _fields(payload)
        return (kind, data) if request == asked else None

    def keep(self, asked: bytes, kind: str, data: bytes) -> None:
        """Keep the reply to `asked`; the oldest goes when there are more than `most`."""
        self._store.put(TABLE, self._store.place(TABLE, asked), cbor.encode([asked, kind, data], _LIMITS))
        self.shrink(self._most)

    def shrink(self, most: int) -> None:
        """Let all but the newest `most` go."""
        rows = self._store.ids_by_age(TABLE)
        for row in rows[: max(0, len(rows) - most)]:
            self._store.delete(TABLE, row)

    def drop(self, kind: str) -> None:
        """Let every reply of a kind go: what consent no longer covers is not sent again."""
        for row, payload in list(self._store.rows(TABLE)):
            if _fields(payload)[1] == kind:
                self._store.delete(TABLE, row)


def _fields(payload: bytes) -> list[Any]:
    """The request's hash, the reply's kind, its bytes."""
    return fields_of(payload, _LIMITS, "a row of the outbox", bytes, str, bytes)
