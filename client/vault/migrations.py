"""How what lies on a device changes from one version of the app to the next, and what it opens as afterwards.

    format   of the file: its tables and the layout of their rows       `MIGRATIONS`, one step for each format but the last
    version  of a row in a table that has one: its fields, by name      `ROWS`, one step for each version but the first
    lines    of the ledger, by name                                     client/privacy/ledger.py

The rule of evolution
- A vault never loses what it spent, decided or told: a migration carries ledger, consent and journal over as they are.
- A device in the field is never locked out: whatever format was shipped once, every later app opens it. So a step that has
  been shipped is never changed; it names tables and fields as they were called then, and imports none of today's names.
- **A table more or fewer, or another layout of rows:** a new `Migration` at the end of `MIGRATIONS`, with the tables as
  they were before it. All steps that a vault needs run in one transaction that survives power loss, and only after every
  row was opened and compared with heads and anchor: a killed process leaves the old format or the new one, and what was
  tampered with is refused before anything is carried over.
- **A field more in a row of its own table:** a step at the end of that table's `ROWS`, which gives older rows its default
  (`with_default`). The row is written in its new version when it is next written. Fields keep their names and meanings;
  one that means something else gets another name.
- **A line more in the ledger:** a device that did not know it has spent nothing on it. A line that could be spent is never
  taken out.
- **Back is refused, not guessed:** a file of a later format, a row of a later version, a ledger with a line that is not
  known raise VaultNewer, and not a byte of the file is changed. So each change above, a field or a line too, comes
  with a `Migration`, even one that carries nothing: an older app then knows by the format alone.
- **A plan is the server's, and is offered again:** one that this app cannot read any more is dropped (client/state.py).
- `header` and the outer form of `heads` never change: by them every app, of any age, knows what it has before it.
- Each step comes with a fixture: a folder that the app before it made, in tests/vectors/.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from shared import cbor
from shared.cbor import Limits
from shared.errors import VaultDamaged, VaultNewer

from .values import value_of

ONLY = 1  #: the id of the row in tables that have one
PADDED_BYTES = 1024  #: rows of tables that have one grow in steps of this
_FRAME = struct.Struct("<HI")  #: of such a row: its version, and the bytes of its value

#: What the value of such a row may come to: all of a vault as large as it is by default, and four times the items of 4,096
#: alerts, which are the most. Earlier apps wrote maps in the order of their making, and floats in 64 bits.
_LIMITS = Limits(1 << 26, most_items=1 << 17, most_depth=8, floats=True, simple=True, canonical=False)

#: From the value of a row to that of the next version.
RowStep = Callable[[Any], Any]


class Rows(Protocol):
    """Sealed rows, inside a transaction: what a migration sees of a store."""

    def ids(self, table: str) -> list[int]: ...

    def row(self, table: str, row: int) -> bytes | None: ...

    def put(self, table: str, row: int, payload: bytes) -> None: ...


@dataclass(frozen=True)
class Migration:
    """One step between two formats: the tables as they were `before` it, and how it carries their rows over. Tables that
    come are there, and empty, when `carry` runs; tables that go are still there."""

    before: tuple[str, ...]
    carry: Callable[[Rows], None]


def with_default(name: str, value: Any) -> RowStep:
    """A step that gives rows a field they do not have yet."""
    return lambda fields: {**fields, name: value}


# ---- rows of tables that have one


def _began_not_known(columns: dict[str, Any] | None) -> dict[str, Any] | None:
    """Alerts whose detector did not say when the change began."""
    return columns and {**columns, "began": [-1] * len(columns["step"])}


def _watch_without_beginnings(fields: dict[str, Any]) -> dict[str, Any]:
    """A watch that has not seen its statistics leave 0: (2, C) steps, none of them known."""
    arrays = fields["arrays"]
    if not arrays:
        return fields
    _, shape, _ = arrays["quiet_until"]
    nothing = ["<i4", shape, struct.pack("<i", -1) * math.prod(shape)]
    return {**fields, "arrays": {**arrays, "began": nothing}}


def _alerts_without_beginnings(fields: dict[str, Any]) -> dict[str, Any]:
    return {**(_began_not_known(fields) or {}), "withdrawn": _began_not_known(fields["withdrawn"])}


def _gap_without_beginnings(fields: dict[str, Any]) -> dict[str, Any]:
    alerts = {name: _began_not_known(fields[name]) for name in ("alerts", "raised")}
    return {**_watch_without_beginnings(fields), **alerts}


#: By table, how its row came to its present version; the first version has no step.
ROWS: Mapping[str, tuple[RowStep, ...]] = MappingProxyType(
    {
        "profile": (with_default("audience", ""), with_default("enrolment_key", b"")),
        "caps": (),
        "policy": (),
        "ledger": (),
        "heard": (with_default("witnessed", False),),
        "members": (),
        "refusals": (),
        "model": (with_default("heads", None),),
        "watch": (_watch_without_beginnings,),
        "alerts": (with_default("withdrawn", None), with_default("untold", []), _alerts_without_beginnings),
        "problems": (),
        "gap": (_gap_without_beginnings,),
        "place": (),
    }
)


def version_of(table: str) -> int:
    """The version in which this app writes the row of a table."""
    return 1 + len(ROWS[table])


def framed(table: str, value: Any) -> bytes:
    """The row of a table as it is stored: its version, and a value of CBOR; padded, so that its length tells little."""
    return _framed(version_of(table), value)


def unframed(table: str, payload: bytes) -> Any:
    """The value of a row, brought up to the present version; VaultNewer if it is of a later one, VaultDamaged if
    it has none or holds no value."""
    expect_row(table, payload)
    version, size = _FRAME.unpack_from(payload)
    value = value_of(payload[_FRAME.size : _FRAME.size + size], _LIMITS, f"the row of {table}")
    for step in ROWS[table][version - 1 :]:
        value = step(value)
    return value


def expect_row(table: str, payload: bytes) -> None:
    """VaultNewer unless the row of a table is of a version that this app knows; VaultDamaged if it has none, or is cut."""
    found, size = _FRAME.unpack_from(payload.ljust(_FRAME.size, b"\0"))
    if found > version_of(table):
        raise VaultNewer(f"expected a row of {table} of version {version_of(table)} at most, got {found}")
    if not found or len(payload) < _FRAME.size + size:
        raise VaultDamaged(f"expected a row of {table} with its version, and as long as it says")


def _framed(version: int, value: Any) -> bytes:
    data = cbor.encode(value, _LIMITS)
    payload = _FRAME.pack(version, len(data)) + data
    return payload.ljust(-(-len(payload) // PADDED_BYTES) * PADDED_BYTES, b"\0")


# ---- format 1 -> 2: such rows carry a version, and their fields by name


def _name_fields(rows: Rows) -> None:
    for table, named in _NAMED.items():
        if (payload := rows.row(table, 1)) is not None:
            (size,) = struct.unpack_from("<I", payload)
            value = value_of(payload[4 : 4 + size], _LIMITS, f"the row of {table}")
            rows.put(table, 1, _framed(1, named(value)))


def _columns(alerts: Sequence[Sequence[int]]) -> dict[str, list[int]]:
    names = ("direction", "category", "level", "step", "model_round", "segment", "intervention", "taken")
    return {name: [row[at] for row in alerts] for at, name in enumerate(names)}


_NAMED: Mapping[str, RowStep] = MappingProxyType(
    {
        "profile": dict,  # had names already
        "ledger": bytes,  # has a format of its own
        "model": lambda row: dict(zip(("plan", "model", "theta", "risk", "round_number"), row, strict=True)),
        "watch": lambda row: dict(zip(("n_closed_steps", "arrays", "p"), row, strict=True)),
        "alerts": _columns,
        "problems": dict,
    }
)

_FIRST = ("profile", "consent", "ledger", "journal", "outbox", "model", "events", "counters", "watch", "alerts", "problems")  # fmt: skip

# ---- format 2 -> 3: caps, policy, what was heard of the server and how often was refused have tables; profiles an audience


def _as_they_are(rows: Rows) -> None:
    """Rows need no step. Tables that come are empty: nobody decided yet, nothing was heard, what was refused is in the journal."""


_THIRD = (*_FIRST[:2], "caps", "policy", "ledger", "heard", "journal", "refusals", *_FIRST[4:])

# ---- format 3 -> 4: a gap is remembered, and the place of the folder; alerts are withdrawn,
# and their row says which of them the app was not told of yet: of older ones it was told


def _unknown_yet(rows: Rows) -> None:
    """Tables that come are empty: no gap is open, and the place is the one where the device opens next."""


# ---- format 4 -> 5: profiles an enrolment key


def _none_pinned(rows: Rows) -> None:
    """Rows need no step: a device that was set up before has no secure sum until its app brings a key."""


_FOURTH = (*_THIRD, "gap", "place")

_FIFTH = (*_FOURTH[:6], "members", *_FOURTH[6:])

# ---- format 5 -> 6: entries of the journal say how the server's log stood, and what was heard says whether any server did


def _no_log_yet(rows: Rows) -> None:
    """Rows need no step: what was asked before named no log."""


# ---- format 6 -> 7: counters tell kinds of events apart


def _kinds_of_before(rows: Rows) -> None:
    """Behind a step's engagement and money, of each category: how many events of each of the five kinds. Earlier apps did not
    count them; where there was money there was a purchase, and that is all that can be said."""
    for step in rows.ids("counters"):
        payload = rows.row("counters", step) or b""
        n_categories = len(payload) // 8
        amounts = struct.unpack_from(f"<{n_categories}f", payload, 4 * n_categories)
        rows.put("counters", step, payload + bytes(4 * n_categories) + bytes(amount > 0 for amount in amounts))


# ---- format 7 -> 8: the ledger has lines for what heads are learned from, and models their heads


def _no_heads_yet(rows: Rows) -> None:
    """Rows need no step: nothing was spent on those lines, and no heads came with any model."""


# ---- format 8 -> 9: the watch remembers since when its statistics are not 0, and alerts when their change began


def _no_beginnings_yet(rows: Rows) -> None:
    """Rows need no step here: each is given beginnings that are not known when it is next read."""


#: From each format that was ever shipped to the next one, the oldest first.
MIGRATIONS: tuple[Migration, ...] = (
    Migration(_FIRST, _name_fields),
    Migration(_FIRST, _as_they_are),
    Migration(_THIRD, _unknown_yet),
    Migration(_FOURTH, _none_pinned),
    Migration(_FIFTH, _no_log_yet),
    Migration(_FIFTH, _kinds_of_before),
    Migration(_FIFTH, _no_heads_yet),
    Migration(_FIFTH, _no_beginnings_yet),
)
