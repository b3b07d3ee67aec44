"""Replies that were paid for, by the request they answer: the same request gets the same bytes, and that is one release.

A reply that is asked for again (the line broke, the process was killed before it went out) costs nothing more, because
it says nothing more. The newest `most` are kept; an older one is gone, and not made again (`client/gate.py`).
"""

from __future__ import annotations

import cbor2

from .store import Store

TABLE = "outbox"


class Outbox:
    """The outbox of one vault. `keep` and `drop` belong inside a transaction that survives power loss."""

    def __init__(self, store: Store, most: int = 32) -> None:
        self._store, self._most = store, most

    def find(self, asked: bytes) -> tuple[str, bytes] | None:
        """Kind and bytes of the reply that request `asked` (its SHA-256) got, None if there is none."""
        payload = self._store.row(TABLE, self._store.place(TABLE, asked))
        if payload is None:
            return None
        request, kind, data = cbor2.loads(payload)
        return (kind, bytes(data)) if request == asked else None

    def keep(self, asked: bytes, kind: str, data: bytes) -> None:
        """Keep the reply to `asked`; the oldest goes when there are more than `most`."""
        self._store.put(TABLE, self._store.place(TABLE, asked), cbor2.dumps([asked, kind, data]))
        self.shrink(self._most)

    def shrink(self, most: int) -> None:
        """Let all but the newest `most` go."""
        rows = self._store.ids_by_age(TABLE)
        for row in rows[: max(0, len(rows) - most)]:
            self._store.delete(TABLE, row)

    def drop(self, kind: str) -> None:
        """Let every reply of a kind go: what consent no longer covers is not sent again."""
        for row, payload in list(self._store.rows(TABLE)):
            if cbor2.loads(payload)[1] == kind:
                self._store.delete(TABLE, row)
