"""What left this device: append-only, each entry holding the hash of the one before.

Entries older than the newest `most` fold into a checkpoint: how many they were, their bytes and epsilon by kind, how many
of them lay outside epsilon, and the hash that the chain goes on from. Long byte strings (the body of a protected update)
are kept as their hash alone.

Refusals tell nothing, and whoever can deliver bytes can have as many as they like. So of each code only the 1st, 2nd, 4th,
8th ... is an entry, which says how many `times` it stands for; `refusals` (client/vault/vault.py) counts every one. 2^30
messages make 30 entries: they hide no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, NamedTuple

from shared import cbor
from shared.cbor import Limits
from shared.errors import VaultDamaged
from shared.messages import REGISTER

from .store import Store
from .values import fields_of

TABLE = "journal"
CHECKPOINT = 0
START = bytes(32)  #: what the first entry holds as the hash before it
#: Byte strings up to this length are kept as they are: hashes of plans, not bodies.
SHORT_BYTES = 32
#: The longest content is 4,096 alerts, which are a quarter of the bytes and a third of the items.
_LIMITS = Limits(1 << 20, most_items=1 << 17, most_depth=8, floats=True, simple=True, canonical=False)
DECISION = "decision"  #: kind of an entry that says what the user decided; nothing left with it

#: Of an entry's fields, as `add` writes them: the epsilon can be missing, too. Entries of format 2 and before say no
#: condition.
_TYPES = (float, str, int, bytes, object, str, dict, str, bytes)
_CONDITION = 7


@dataclass(frozen=True)
class Entry:
    """One thing that left, or (`size_bytes` 0) that the user decided.

    `epsilon`: of this release alone, 0 if it cost nothing, None if it lies outside epsilon (identified alerts). It holds
    under `condition`, in words ("": under none). `content`: the decoded fields. `sha256`: of the bytes that left. `hash`:
    of this entry, `previous` of the one before.
    """

    number: int
    time_s: float
    kind: str
    size_bytes: int
    sha256: bytes
    epsilon: float | None
    purpose: str
    content: Mapping[str, Any]
    previous: bytes
    hash: bytes
    condition: str = ""

    @property
    def times(self) -> int:
        """How many alike messages this entry stands for."""
        return int(self.content.get("times", 1))

    def __repr__(self) -> str:
        return f"Entry(<private> {self.number} {self.kind} size_bytes={self.size_bytes})"


class Total(NamedTuple):
    """Messages of one kind together: how many, their bytes, the sum of their epsilons, and how many of them (identified
    alerts) lie outside epsilon."""

    n: int = 0
    size_bytes: int = 0
    epsilon: float = 0.0
    n_outside: int = 0

    def plus(self, entry: Entry) -> Total:
        return Total(
            self.n + entry.times,
            self.size_bytes + entry.times * entry.size_bytes,
            self.epsilon + (entry.epsilon or 0.0),
            self.n_outside + (entry.epsilon is None),
        )


@dataclass(frozen=True)
class Checkpoint:
    """What the folded entries 1 .. `number` added up to, by kind."""

    number: int
    hash: bytes
    totals: Mapping[str, Total]


def without_bodies(value: Any) -> Any:
    """Decoded content with every long byte string replaced by its length and SHA-256."""
    if isinstance(value, bytes) and len(value) > SHORT_BYTES:
        return {"size_bytes": len(value), "sha256": hashlib.sha256(value).digest()}
    if isinstance(value, Mapping):
        return {key: without_bodies(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_bodies(item) for item in value]
    return value


class Journal:
    """The journal of one vault. `add` and `fold` belong inside a transaction that survives power loss."""

    def __init__(self, store: Store, most: int = 1000) -> None:
        self._store, self._most = store, most
        self.entries()  # the chain is checked when the vault opens

    def add(
        self,
        time_s: float,
        kind: str,
        data: bytes,
        epsilon: float | None,
        purpose: str,
        content: Mapping[str, Any],
        condition: str = "",
    ) -> None:
        """Write down what is about to leave; folds the oldest entries when there are more than `most`."""
        number, previous = self._last()
        fields = [
            float(time_s),
            kind,
            len(data),
            hashlib.sha256(data).digest(),
            epsilon,
            purpose,
            without_bodies(content),
            condition,
        ]
        self._store.put(TABLE, number + 1, cbor.encode([*fields, previous], _LIMITS))
        if len(self._numbers()) > self._most + self._most // 10:
            self.fold(self._most)

    def fold(self, most: int) -> None:
        """Fold all but the newest `most` entries into the checkpoint."""
        leaving = self._numbers()[: max(0, len(self._numbers()) - most)]
        if not leaving:
            return
        checkpoint = self.checkpoint()
        totals = dict(checkpoint.totals)
        for number in leaving:
            entry = self._entry(number)
            totals[entry.kind] = totals.get(entry.kind, Total()).plus(entry)
            checkpoint = Checkpoint(number, entry.hash, totals)
        fields = [checkpoint.number, checkpoint.hash, {k: list(v) for k, v in totals.items()}]
        self._store.put(TABLE, CHECKPOINT, cbor.encode(fields, _LIMITS))
        for number in leaving:
            self._store.delete(TABLE, number)

    def checkpoint(self) -> Checkpoint:
        """What the folded entries added up to."""
        payload = self._store.row(TABLE, CHECKPOINT)
        if payload is None:
            return Checkpoint(0, START, {})
        number, digest, totals = fields_of(payload, _LIMITS, "the journal's checkpoint", int, bytes, dict)
        try:
            return Checkpoint(number, digest, {kind: Total(*total) for kind, total in totals.items()})
        except TypeError:
            raise VaultDamaged("expected the totals of the journal's checkpoint") from None

    def entries(self) -> list[Entry]:
        """Every entry that is not folded, the oldest first; VaultDamaged unless each holds the hash of the one before."""
        checkpoint = self.checkpoint()
        number, previous = checkpoint.number, checkpoint.hash
        out = []
        for number_now in self._numbers():
            entry = self._entry(number_now)
            if entry.number != number + 1 or entry.previous != previous:
                raise VaultDamaged("expected a journal whose entries hold the hash of the one before")
            number, previous = entry.number, entry.hash
            out.append(entry)
        return out

    def _numbers(self) -> list[int]:
        return [row for row in self._store.ids(TABLE) if row != CHECKPOINT]

    def _last(self) -> tuple[int, bytes]:
        numbers = self._numbers()
        if numbers:
            last = self._entry(numbers[-1])
            return last.number, last.hash
        checkpoint = self.checkpoint()
        return checkpoint.number, checkpoint.hash

    def _entry(self, number: int) -> Entry:
        payload = self._store.row(TABLE, number)
        assert payload is not None
        fields = fields_of(payload, _LIMITS, "an entry of the journal", *_TYPES, newer_at=_CONDITION)
        if type(fields[4]) not in (float, int, NoneType):
            raise VaultDamaged("expected the epsilon of an entry of the journal, or none")
        time_s, kind, size, digest, epsilon, purpose, content, said, previous = fields
        condition = said if said is not None else REGISTER[kind].condition if kind in REGISTER else ""
        here = hashlib.sha256(payload).digest()
        return Entry(number, time_s, kind, size, digest, epsilon, purpose, content, previous, here, condition)
