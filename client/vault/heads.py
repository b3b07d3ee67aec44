"""The heads of a vault as one payload: anchor, how many rows each table has and what their marks add up to, and the
format.

What stands in front of the format never changes. The format ends the heads from format 2 on: sealed, so that nobody
without the key can make a file look older than it is, and have it carried over once more.
"""

from __future__ import annotations

import struct

from shared.errors import VaultDamaged

from .anchor import TIP_BYTES, Anchor

HEADS = "heads"
_HEAD = struct.Struct("<Q32s")
_ANCHOR = struct.Struct(f"<Q{TIP_BYTES}s{TIP_BYTES}s")  #: number and tip of the anchor, and the tip before
_FORMAT = struct.Struct("<I")


def head(n_rows: int, total: int) -> bytes:
    """One table's head: its rows, and the sum of their marks, below 2^256."""
    return _HEAD.pack(n_rows, total.to_bytes(32, "little"))


def packed(anchor: Anchor, tip_before: bytes, heads: bytes, number: int) -> bytes:
    """The payload of `unpacked`; `heads` are those of all tables, `number` is the format's."""
    return _ANCHOR.pack(*anchor, tip_before) + heads + _ending(number)


def unpacked(payload: bytes, n_tables: int, number: int) -> tuple[Anchor, bytes, list[bytes]]:
    """The anchor, the tip before it, and the head of each table; VaultDamaged if they are not of this format."""
    anchor, tip, tip_before = _ANCHOR.unpack_from(payload)
    end = _ANCHOR.size + n_tables * _HEAD.size
    if len(payload) < end or payload[end:] != _ending(number):
        raise VaultDamaged(f"expected a vault of another format than {number}: its header is changed")
    heads = [payload[at : at + _HEAD.size] for at in range(_ANCHOR.size, end, _HEAD.size)]
    return Anchor(anchor, tip), tip_before, heads


def _ending(number: int) -> bytes:
    return _FORMAT.pack(number) if number > 1 else b""
