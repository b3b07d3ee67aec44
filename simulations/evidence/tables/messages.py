"""Every message that may leave a device, what is asked of it, and every field of either: read from the register itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shared.messages import REGISTER, REQUESTS, SIGNED
from shared.register.kinds import Bytes, Int, ListOf, MessageKind, Text
from shared.register.kinds import Field as Declared
from shared.register.recipes import BY_REQUEST, RECIPES
from shared.register.sums import SUM_REPLIES, SUM_REQUESTS

from ..case import Case
from ..fields import Field, FieldTable, missing
from ..grounds import of_code

#: What holds the code to its register.
HELD = ("tests/shared/test_messages.py", "tests/client/test_gate.py")
_OF_SUMS = {kind.name for kind in (*SUM_REPLIES, *SUM_REQUESTS)}


def message_tables(_: Case) -> list[FieldTable]:
    """What leaves, what is asked, and the envelopes of what is asked."""
    return [
        FieldTable("messages-leaving", tuple(_leaving(REGISTER))),
        FieldTable("messages-asked", tuple(_asked(REQUESTS))),
        FieldTable("messages-envelope", tuple(_asked(SIGNED))),
    ]


def register_file(kind: MessageKind) -> str:
    """The file of the register that declares a kind."""
    if kind.name in RECIPES or kind.name in BY_REQUEST:
        return "shared/register/recipes.py"
    return "shared/register/sums.py" if kind.name in _OF_SUMS else "shared/messages.py"


def every_field(kind: MessageKind) -> Iterator[tuple[str, Declared]]:
    """(where, field) of every field of a kind, also of those within lists: `alerts.alerts.level`."""
    yield from _fields_in(kind.name, kind.fields)


def _fields_in(path: str, fields: Mapping[str, Declared]) -> Iterator[tuple[str, Declared]]:
    for name, declared in fields.items():
        yield f"{path}.{name}", declared
        if isinstance(declared.type, ListOf):
            yield from _fields_in(f"{path}.{name}", declared.type.fields)


def _leaving(register: Mapping[str, MessageKind]) -> Iterator[Field]:
    for kind in register.values():
        file, row = register_file(kind), kind.name
        said = {
            "message.cost": kind.cost,
            "message.spends": kind.spends.value,
            "message.consent": kind.consent or "any: none is needed beyond taking part",
            "message.without_consent": f"{kind.emptied} is sent empty" if kind.emptied else "refused",
            "message.condition": kind.condition,
            "message.once_per": kind.once_per,
        }
        if not kind.consent:
            del said["message.without_consent"]
        yield from (of_code(key, value, file, row=row, tests=HELD) for key, value in said.items() if value)
        yield from _of_fields("message.field", kind)


def _asked(requests: Mapping[str, MessageKind]) -> Iterator[Field]:
    for kind in requests.values():
        purpose = f"{kind.purpose}; answered by: {kind.reply}" if kind.reply else kind.purpose
        yield of_code("request.purpose", purpose, register_file(kind), row=kind.name, tests=HELD)
        yield from _of_fields("request.field", kind)


def _of_fields(key: str, kind: MessageKind) -> Iterator[Field]:
    for row, declared in every_field(kind):
        if not declared.purpose:
            yield missing(key, "the register gives no purpose for it", row)
            continue
        value: dict[str, Any] = {
            "what": _in_words(declared), "sensitivity": declared.sensitivity, "purpose": declared.purpose,
        }  # fmt: skip
        yield of_code(key, value, register_file(kind), row=row, tests=HELD)


def _in_words(declared: Declared) -> str:
    match declared.type:
        case Int(low, high):
            return f"whole number, {low:,} to {high:,}"
        case Bytes(low, high, _):
            return f"{low:,} bytes" if low == high else f"{low:,} to {high:,} bytes"
        case Text(high):
            return f"text of at most {high:,} bytes"
        case ListOf(_, most):
            return f"list of at most {most:,}"
