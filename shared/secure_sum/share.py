"""A device's part in a sum: one message, after which it keeps nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ..arrays import Ints, as_declared
from ..errors import SumError
from .entry import Entry
from .field import Entropy
from .header import Header
from .keys import PAD, STREAM, TAG_BYTES, Tie, agreed, uniform

_KEY = slice(32, 64)  #: of a leaf, its seat key


@dataclass(frozen=True)
class Contribution:
    """What a device sends: its ephemeral key, a box for each sealed seat, one behind the other, and its signature."""

    ephemeral: bytes
    sealed: bytes
    signature: bytes


def box_bytes(header: Header) -> int:
    """How long one sealed seat's box is."""
    return header.code.field.word_bytes * header.code.n_words(header.n_values) + TAG_BYTES


def sealed_bytes(header: Header) -> int:
    """How long the boxes of one device are together: what it sends up, but for a key and a signature."""
    return (len(header.seats) - header.t_priv) * box_bytes(header)


@as_declared
def contribute(
    header: Header, leaf: bytes, identity: Ed25519PrivateKey, values: Ints, entropy: Entropy = os.urandom
) -> Contribution:
    """A device's clipped and noised vector, int64 (n_values,), shared out among the seats of a sum.

    Guarantees. Whoever holds the keys of at most `t_priv` seats, or of all of them but not of every pad, learns nothing of
    `values` from it: the first `t_priv` shares are streams of key agreements, independent and uniform, and the others
    follow from these and the secrets by a bijection (Blakley and Meadows 1984; Franklin and Yung 1992, packed). Every call draws a
    fresh ephemeral key, so no stream is used twice.

    Edge cases. SumError("length") for another number of values than the header says, SumError("key") for a seat whose key is of
    low order. Values beyond the field's half are folded: an honest vector never has any.
    """
    if values.shape != (header.n_values,):
        raise SumError("length", f"expected {header.n_values} values, got {values.shape}")
    code, field = header.code, header.code.field
    private = X25519PrivateKey.from_private_bytes(entropy(32))
    ephemeral = private.public_key().public_bytes_raw()
    n_words = code.n_words(header.n_values)
    ties = [Tie(header, place, leaf, ephemeral) for place in range(len(header.seats) + len(header.pads))]
    secrets = [agreed(private, seat[_KEY]) for seat in (*header.seats, *header.pads)]
    padded = [field.from_signed(values)]
    padded += [
        tie.stream(PAD, secret, field, header.n_values)
        for tie, secret in zip(ties[len(header.seats) :], secrets[len(header.seats) :], strict=True)
    ]
    streams = [
        tie.stream(STREAM, secret, field, n_words)
        for tie, secret in zip(ties[: header.t_priv], secrets[: header.t_priv], strict=True)
    ]
    masks = uniform(entropy(32), field, code.packing * code.tests).reshape(code.packing, code.tests)
    rows = code.share(field.total(np.stack(padded), 0), masks, np.stack(streams))
    sealed = b"".join(
        tie.seal(secret, field.pack(row))
        for tie, secret, row in zip(ties[header.t_priv :], secrets[header.t_priv :], rows, strict=False)
    )
    signed = Entry.sign(header, leaf, identity, ephemeral, sealed)
    return Contribution(ephemeral, sealed, signed.signature)
