"""A value in a row or a file of the vault: what lies on the disk comes from outside, too, and may be anything."""

from __future__ import annotations

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


def fields_of(payload: bytes, limits: Limits, what: str, *types: type, newer_at: int | None = None) -> list[Any]:
    """The fields of a payload that is a list with exactly these types in their order; VaultDamaged as `value_of`. Where a
    float is expected an int may stand; where an object is, anything. The field at `newer_at` is missing from lists that an
    earlier app made: then None stands there."""
    fields = value_of(payload, limits, what)
    if newer_at is not None and type(fields) is list and len(fields) == len(types) - 1:
        fields = [*fields[:newer_at], None, *fields[newer_at:]]
        types = (*types[:newer_at], type(None), *types[newer_at + 1 :])
    if type(fields) is not list or len(fields) != len(types) or not all(map(_is_a, fields, types)):
        raise VaultDamaged(f"expected the fields of {what}")
    return fields


def _is_a(value: Any, kind: type) -> bool:
    return type(value) is kind or kind is object or (kind is float and type(value) is int)
