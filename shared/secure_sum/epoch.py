"""An epoch of the secure sum: who is on its list, and until when, under the signature of a key that is kept offline.

The server collects keys (`write_list`). Who holds the offline key closes the list, and only then draws the seed that seats are
drawn from, so nobody enrols into a seat (`Epoch.close`); signs; and devices, seats and helpers believe it under the public
half, which their app pins (`verified`). What is signed holds the root of the list, not the list: a member is shown by proof
(`shared/secure_sum/merkle.py`).

This says that the list was closed before the seed was drawn, if the signer is honest. Who controls what is signed, the keys
of devices or of helpers, controls the sums: `ebbtide enrol` is for somebody who is not the server.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..arguments import octets, whole
from ..codec import decode, encode, fits_utf8, limits_of
from ..errors import (
    ConfigError,
    DataError,
    EpochElsewhere,
    EpochEnded,
    EpochForged,
    EpochNotBegun,
    WireError,
)
from ..files import replace_content
from ..register.bounds import MAX_AUDIENCE_BYTES, MAX_TIME_S
from ..register.kinds import Bytes, Field, Int, MessageKind, Spends, Text
from .leaves import LEAF_BYTES, members
from .merkle import HASH_BYTES, MOST_LEAVES, root

#: What every signature of the offline key begins with: it signs nothing else under it.
TAG = b"ebbtide epoch v1\n"
SEED_BYTES = 32
#: An epoch is at most so long: keys of seats live no longer, and an old list is refused.
MOST_WINDOW_S = 31 * 86_400
MOST_NUMBER = (1 << 32) - 1
#: No epoch has more draws of one kind: what may go wrong in a draw is divided by them.
MOST_DRAWS = 1 << 16
#: Other organisations' servers: none, or so many. One alone can only lay a pad over what devices add up: a plan without device
#: seats takes two at least.
FEWEST_HELPERS, MOST_HELPERS = 1, 5
_MOST_EPOCH_BYTES = 1 << 10
_WHOLE = (
    ("number", "the number of an epoch", 1, MOST_NUMBER),
    ("begins_s", "begins_s, seconds since 1970", 0, MAX_TIME_S),
    ("ends_s", "ends_s, seconds since 1970", 0, MAX_TIME_S),
    ("n_devices", "the devices of an epoch", 1, MOST_LEAVES),
    ("draws", "draws, the last round that seats are drawn for", 1, MOST_DRAWS),
)


@dataclass(frozen=True)
class Epoch:
    """One list, closed, and what follows from it: 32 bytes of `seed` and `root`, so many devices, the leaves of helpers (none,
    or 1..5, sorted), `draws`, the last round that seats are drawn for. It holds from `begins_s` until before `ends_s`, seconds
    since 1970. ConfigError for anything that is only nearly one."""

    audience: str
    number: int
    begins_s: int
    ends_s: int
    seed: bytes
    root: bytes
    n_devices: int
    helpers: tuple[bytes, ...]
    draws: int

    def __post_init__(self) -> None:
        if type(self.audience) is not str or not fits_utf8(self.audience, MAX_AUDIENCE_BYTES):
            raise ConfigError(f"expected audience, a text of at most {MAX_AUDIENCE_BYTES} bytes")
        for name, what, least, most in _WHOLE:
            object.__setattr__(self, name, whole(getattr(self, name), what, least, most))
        if not 0 < self.ends_s - self.begins_s <= MOST_WINDOW_S:
            raise ConfigError(
                f"expected an epoch of at most {MOST_WINDOW_S // 86_400} days that ends after it begins, "
                f"got one of {self.ends_s - self.begins_s} seconds"
            )
        octets(self.seed, "seed", SEED_BYTES)
        octets(self.root, "root, the hash of the list", HASH_BYTES)
        expect_helpers(self.helpers)

    @classmethod
    def close(
        cls,
        audience: str,
        number: int,
        begins_s: int,
        ends_s: int,
        leaves: Iterable[bytes],
        helpers: Iterable[bytes],
        draws: int,
    ) -> Epoch:
        """The epoch of these devices and helpers: `shared.secure_sum.leaves.members` is the order of its list.

        Guarantees. The seed is 32 bytes of OS entropy, drawn after list, helpers, window and draws are fixed and found
        right; every identity and every seat key is there once, in its one spelling. Edge cases. The same list closed again is
        another epoch: who may sign must sign a number once. ConfigError for keys or numbers that are not right.
        """
        helping = tuple(sorted(helpers))
        listed = members(leaves, helping)
        closed = (audience, number, begins_s, ends_s, bytes(SEED_BYTES), root(listed), len(listed), helping, draws)
        cls(*closed)  # refused before there is a seed
        return cls(*closed[:4], os.urandom(SEED_BYTES), *closed[5:])

    @cached_property
    def canonical(self) -> bytes:
        """Its one spelling."""
        fields = {name: getattr(self, name) for name in _EPOCH["epoch"].fields}
        return encode(_EPOCH, "epoch", fields | {"helpers": b"".join(self.helpers)})

    @cached_property
    def sha256(self) -> bytes:
        """What headers and derived keys name the epoch by: the hash of what is signed."""
        return sha256(TAG + self.canonical).digest()

    def expect_now(self, now_s: float) -> None:
        """EpochNotBegun or EpochEnded unless it holds at `now_s`."""
        if not now_s >= self.begins_s:
            raise EpochNotBegun(f"expected an epoch that has begun, got one that begins at {self.begins_s}")
        if not now_s < self.ends_s:
            raise EpochEnded(f"expected an epoch that goes on, got one that ended at {self.ends_s}")


def expect_helpers(helpers: Sequence[bytes]) -> None:
    """ConfigError unless there are none, or 1..5 right leaves, sorted, whose keys all differ."""
    if type(helpers) is not tuple or (helpers and not FEWEST_HELPERS <= len(helpers) <= MOST_HELPERS):
        raise ConfigError(f"expected no helpers, or {FEWEST_HELPERS} to {MOST_HELPERS}")
    if members(helpers) != list(helpers):
        raise ConfigError("expected helpers sorted by their keys")


def sign(epoch: Epoch, private_key: Ed25519PrivateKey) -> bytes:
    """The bytes that travel: the epoch, and the offline key's signature over it."""
    signature = private_key.sign(TAG + epoch.canonical)
    return encode(_SIGNED, "signed_epoch", {"epoch": epoch.canonical, "signature": signature})


def verified(data: bytes, public_key: bytes, now_s: float, audience: str) -> Epoch:
    """The epoch in `data`, if the holder of `public_key` (32 bytes) signed it, for this audience, and it holds now.

    Guarantees. Nothing of the epoch is looked at before its signature. EpochForged, EpochElsewhere, EpochNotBegun,
    EpochEnded by name; WireError for other bytes. Edge cases. b"", the key of who has pinned none, is a key that signed
    nothing. An epoch that was replaced by a later number within its window still passes: who keeps a number refuses it.
    """
    epoch = signed_by(data, public_key)
    if epoch.audience != audience:
        raise EpochElsewhere("expected an epoch for this audience, got one for another")
    epoch.expect_now(now_s)
    return epoch


def signed_by(data: bytes, public_key: bytes) -> Epoch:
    """As `verified`, whenever it holds, and for whom."""
    _, fields = decode(_SIGNED, data)
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(fields["signature"], TAG + fields["epoch"])
    except (InvalidSignature, ValueError):
        raise EpochForged("expected an epoch signed by the key that is pinned") from None
    return _epoch_of(fields["epoch"])


def unverified(data: bytes) -> Epoch:
    """The epoch in `data`, whoever signed it: to look at, not to believe. WireError for other bytes."""
    return _epoch_of(decode(_SIGNED, data)[1]["epoch"])


def _epoch_of(data: bytes) -> Epoch:
    _, fields = decode(_EPOCH, data)
    try:
        return Epoch(**fields | {"helpers": _split(fields["helpers"])})
    except ConfigError as error:
        raise WireError(str(error)) from None


# ---- the list, before it is closed


@dataclass(frozen=True)
class EnrolmentList:
    """Keys that asked to be in epoch `number` of an `audience`: leaves in any order, as a server or a helper collected
    them."""

    audience: str
    number: int
    leaves: tuple[bytes, ...]


def write_list(file: Path, listed: EnrolmentList) -> None:
    """A list as a file, for `ebbtide enrol sign`; on disk, power loss included, when this returns. ConfigError for keys that
    are not right or there twice, WireError for what no list holds."""
    leaves = b"".join(members(listed.leaves))
    data = encode(_LIST, "enrolment_list", {"audience": listed.audience, "number": listed.number, "leaves": leaves})
    replace_content(file, data, durable=True)


def read_list(file: Path) -> EnrolmentList:
    """The list in a file; DataError, by its name, for anything else. Whether its keys are right is seen when it is closed."""
    try:
        _, fields = decode(_LIST, read_at_most(file, limits_of(_LIST["enrolment_list"]).most_bytes))
    except WireError as error:
        raise DataError(f"expected a list of keys in {file}: {error}") from None
    return EnrolmentList(fields["audience"], fields["number"], _split(fields["leaves"]))


def read_epoch(file: Path) -> bytes:
    """The bytes of a signed epoch in a file, not looked at; DataError for more than one has."""
    return read_at_most(file, limits_of(_SIGNED["signed_epoch"]).most_bytes)


def read_at_most(file: Path, most_bytes: int) -> bytes:
    """What is in a file; DataError for a longer one, OSError if it cannot be read."""
    with file.open("rb") as opened:
        data = opened.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise DataError(f"expected at most {most_bytes} bytes in {file}")
    return data


def _split(leaves: bytes) -> tuple[bytes, ...]:
    return tuple(leaves[at : at + LEAF_BYTES] for at in range(0, len(leaves), LEAF_BYTES))


# ---- forms: bounds and one spelling by `shared/codec.py`. None of them is a message that a device sends.


def _form(name: str, purpose: str, **fields: Int | Bytes | Text) -> Mapping[str, MessageKind]:
    """A register of this one form."""
    declared = {field: Field(kind, "none: public", purpose) for field, kind in fields.items()}
    return MappingProxyType({name: MessageKind(name, declared, "", purpose, Spends.NOTHING)})


_EPOCH = _form(
    "epoch",
    "one closed list",
    audience=Text(MAX_AUDIENCE_BYTES),
    number=Int(1, MOST_NUMBER),
    begins_s=Int(0, MAX_TIME_S),
    ends_s=Int(0, MAX_TIME_S),
    seed=Bytes(SEED_BYTES, SEED_BYTES),
    root=Bytes(HASH_BYTES, HASH_BYTES),
    n_devices=Int(1, MOST_LEAVES),
    helpers=Bytes(0, MOST_HELPERS * LEAF_BYTES, LEAF_BYTES),
    draws=Int(1, MOST_DRAWS),
)
_SIGNED = _form("signed_epoch", "one closed list, signed", epoch=Bytes(1, _MOST_EPOCH_BYTES), signature=Bytes(64, 64))
_LIST = _form(
    "enrolment_list",
    "keys that asked to be enrolled",
    audience=Text(MAX_AUDIENCE_BYTES),
    number=Int(1, MOST_NUMBER),
    leaves=Bytes(LEAF_BYTES, MOST_LEAVES * LEAF_BYTES, LEAF_BYTES),
)
