"""Parts of a plan as maps, and back: dataclasses of numbers, bytes and other parts, each field as it is declared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError

#: Marks a part that older plans do not have: without it a plan is written as they were, and they are read as such.
LATER = "later"
_PLAIN: Mapping[str, type] = {kind.__name__: kind for kind in (int, float, str, bytes)}


def revived(part: Any, fields: Any, parts: Mapping[str, type]) -> Any:
    """A part from its map, whose own parts are among `parts`, by name; ConfigError unless that has all its fields, no other, and
    each as it is declared."""
    declared = {field.name: str(field.type) for field in dataclasses.fields(part)}
    later = {field.name for field in dataclasses.fields(part) if LATER in field.metadata}
    if type(fields) is not dict or not set(declared) - later <= set(fields) <= set(declared):
        raise ConfigError(f"expected a {part.__name__} with the fields {', '.join(declared)}")
    if any(name in fields and fields[name] in (None, []) for name in later):
        raise ConfigError(
            "expected the canonical bytes of a plan, got another spelling of one: what is not there is left out"
        )
    return part(
        **{name: _revived(name, kind, fields[name], parts) for name, kind in declared.items() if name in fields}
    )


def _revived(name: str, declared: str, value: Any, parts: Mapping[str, type]) -> Any:
    kind = declared.removesuffix(" | None")
    if value is None and kind != declared:
        return None
    if kind in parts:
        return revived(parts[kind], value, parts)
    if kind.startswith("tuple["):  # CBOR knows no tuples
        inner = kind.removeprefix("tuple[").partition(",")[0]
        if type(value) is list and inner in parts:
            return tuple(revived(parts[inner], item, parts) for item in value)
        if type(value) is list and all(type(item) is _PLAIN[inner] for item in value):
            return tuple(value)
    elif type(value) is _PLAIN[kind]:
        return value
    raise ConfigError(f"expected {name} as {declared}")


def plain(part: Any) -> dict[str, Any]:
    """A part as a map in which every number has its declared type."""
    out: dict[str, Any] = {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if value in (None, ()) and LATER in field.metadata:
            continue
        if dataclasses.is_dataclass(value):
            out[field.name] = plain(value)
        elif isinstance(value, tuple):
            out[field.name] = [plain(v) if dataclasses.is_dataclass(v) else int(v) for v in value]
        else:
            kind = str(field.type).removesuffix(" | None")
            out[field.name] = value if value is None else {"int": int, "float": float}.get(kind, lambda v: v)(value)
    return out
