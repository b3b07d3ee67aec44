"""Keys of devices and helpers that are made again alike, epochs of them, and the key that signs those."""

from functools import cache
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from shared.secure_sum.epoch import Epoch
from shared.secure_sum.leaves import leaf_of
from shared.secure_sum.merkle import root

OFFLINE_KEY, OTHER_OFFLINE_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (11, 12))
ENROLMENT_KEY = OFFLINE_KEY.public_key().public_bytes_raw()
BEGINS_S, DAY_S = 1_000_000, 86_400
AUDIENCE = "north"


def keys_of(name: str) -> tuple[Ed25519PrivateKey, X25519PrivateKey]:
    """Identity and seat key that a name stands for."""
    identity, seat_key = (sha256(f"{name} {part}".encode()).digest() for part in ("identity", "seat"))
    return Ed25519PrivateKey.from_private_bytes(identity), X25519PrivateKey.from_private_bytes(seat_key)


@cache
def leaf(name: str) -> bytes:
    identity, seat_key = (key.public_key().public_bytes_raw() for key in keys_of(name))
    return leaf_of(identity, seat_key)


def leaves(n: int) -> list[bytes]:
    return [leaf(f"device {at}") for at in range(n)]


def helpers(n: int) -> list[bytes]:
    return sorted(leaf(f"helper {at}") for at in range(n))


def make_epoch(n_devices: int = 5, **changes) -> Epoch:
    """A right epoch whose seed is known; the list is `leaves(n_devices)`, sorted, while there are few."""
    listed = sorted(leaves(min(n_devices, 32)))
    return Epoch(
        **{
            "audience": AUDIENCE,
            "number": 1,
            "begins_s": BEGINS_S,
            "ends_s": BEGINS_S + 7 * DAY_S,
            "seed": bytes(range(32)),
            "root": root(listed),
            "n_devices": n_devices,
            "helpers": (),
            "draws": 64,
            **changes,
        }
    )
