"""Who takes part, as 64 bytes: a device's or a helper's identity (Ed25519) and seat key (X25519), of one epoch.

A key is accepted in one spelling, and if it has the full order: with the others anybody could sign, or what two agree on would be
known to all (RFC 7748, section 6.1), and a key in another spelling would pass for another member.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import ConfigError

KEY_BYTES = 32
LEAF_BYTES = 2 * KEY_BYTES

_P = (1 << 255) - 19
_BELOW_SIGN = (1 << 255) - 1
#: u of the points of order 1, 2, 4 and 8 of Curve25519 and its twist, and y of those of Ed25519, whatever their x.
_LOW_ORDER_U = frozenset(
    {0, 1, _P - 1}
    | {
        int.from_bytes(bytes.fromhex(spelled), "little")
        for spelled in (
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        )
    }
)
_Y_OF_ORDER_8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_LOW_ORDER_Y = frozenset({0, 1, _P - 1, _Y_OF_ORDER_8, _P - _Y_OF_ORDER_8})


def leaf_of(identity: bytes, seat_key: bytes) -> bytes:
    """The leaf of two public keys of 32 bytes each; ConfigError for keys that `expect_leaf` refuses."""
    if any(type(key) is not bytes or len(key) != KEY_BYTES for key in (identity, seat_key)):
        raise ConfigError(f"expected an identity and a seat key of {KEY_BYTES} bytes each")
    expect_leaf(leaf := identity + seat_key)
    return leaf


def identity_of(leaf: bytes) -> bytes:
    """The Ed25519 public key that signs."""
    return leaf[:KEY_BYTES]


def seat_key_of(leaf: bytes) -> bytes:
    """The X25519 public key that shares are sealed to."""
    return leaf[KEY_BYTES:]


def expect_leaf(leaf: bytes) -> None:
    """ConfigError unless it is two keys, each in its one spelling and of no low order. Whether an identity is a point of the
    curve at all is not looked at: of one that is none, no signature verifies."""
    if type(leaf) is not bytes or len(leaf) != LEAF_BYTES:
        raise ConfigError(f"expected {LEAF_BYTES} bytes, an identity and a seat key")
    y = int.from_bytes(leaf[:KEY_BYTES], "little") & _BELOW_SIGN
    if y >= _P or y in _LOW_ORDER_Y:
        raise ConfigError("expected an identity of full order, in its one spelling")
    u = int.from_bytes(leaf[KEY_BYTES:], "little")
    if u >= _P or u in _LOW_ORDER_U:
        raise ConfigError("expected a seat key of full order, in its one spelling")


def members(leaves: Iterable[bytes], helpers: Sequence[bytes] = ()) -> list[bytes]:
    """The leaves, sorted, so that their order says nothing of who came when; ConfigError unless every leaf, helpers
    included, is two right keys that no other has."""
    listed = list(leaves)
    for leaf in (*listed, *helpers):
        expect_leaf(leaf)
    listed.sort()
    for name, key_of in (("an identity", identity_of), ("a seat key", seat_key_of)):
        keys = {key_of(leaf) for leaf in listed}
        keys.update(map(key_of, helpers))
        if len(keys) < len(listed) + len(helpers):
            raise ConfigError(f"expected {name} of its own for everybody, got one twice")
    return listed
