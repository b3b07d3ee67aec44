"""A value in a row or a file of the vault: what lies on the disk comes from outside, too, and may be anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared import cbor
from shared.cbor import Limits
from shared.errors import VaultDamaged, WireError


def value_of(payload: bytes, limits: Limits, what: str) -> Any:
    """The value of a payload; VaultDamaged, which names `what` it belongs to, for bytes that are none within the limits."""
    try:
        return cbor.decode(payload, limits)
    except WireError:
        raise VaultDamaged(f"expected {what} as it was written") from None


def fields_of(payload: bytes, limits: Limits, what: str, *types: type, newer_at: Sequence[int] = ()) -> list[Any]:
    """The fields of a payload that is a list with exactly these types in their order; VaultDamaged as `value_of`. Where a
    float is expected an int may stand; where an object is, anything. Fields at `newer_at`, one behind the other, are missing from
    lists that earlier apps made, the last of them first: then None stands there."""
    fields = value_of(payload, limits, what)
    if newer_at and type(fields) is list and 0 < (missing := len(types) - len(fields)) <= len(newer_at):
        for at in newer_at[-missing:]:
            fields = [*fields[:at], None, *fields[at:]]
            types = (*types[:at], type(None), *types[at + 1 :])
    if type(fields) is not list or len(fields) != len(types) or not all(map(_is_a, fields, types)):
        raise VaultDamaged(f"expected the fields of {what}")
    return fields


def _is_a(value: Any, kind: type) -> bool:
    return type(value) is kind or kind is object or (kind is float and type(value) is int)
