"""Everything that has no place in a secure sum, by name: what it is refused by, and where. Tests try each; vectors hold each.

A case changes what an honest seat would be asked: five devices, three helpers, of whom the last has boxes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from shared.secure_sum.field import Field
from shared.secure_sum.header import Header
from shared.secure_sum.keys import Tie, agreed
from shared.secure_sum.share import box_bytes

from .parts import Person, Sent, World

WORLD = World(5)
VICTIM, COPIER = 1, 3
SEALED = 2  #: the place of the seat that has boxes
Request = dict[str, Any]


def honest() -> list[Sent]:
    return [WORLD.sent(at) for at in range(WORLD.n_devices)]


def asked(sent: list[Sent], header: Header | None = None) -> Request:
    return WORLD.request(sent, SEALED, header)


def copied(*, flipped: bool) -> Request:
    """One device sends another's ephemeral key and boxes under its own name, the key in its other spelling or not."""
    sent = honest()
    victim = sent[VICTIM].entry.ephemeral
    key = victim[:31] + bytes([victim[31] ^ 0x80]) if flipped else victim
    sent[COPIER] = sent[VICTIM].resigned(WORLD.header, COPIER, WORLD.devices[COPIER], ephemeral=key)
    return asked(sent)


def under(**other: Any) -> Request:
    """What was signed for one sum, in another."""
    return asked(honest(), replace(WORLD.header, **other))


def with_header(**other: Any) -> Request:
    return {**asked(honest()), "header": replace(WORLD.header, **other).canonical}


def with_changed(change: Callable[[Sent], Sent]) -> Request:
    sent = honest()
    sent[VICTIM] = change(sent[VICTIM])
    return asked(sent)


def with_index(index: int) -> Request:
    return {**asked(honest()), "entries": asked([one.changed(index=index) for one in honest()[:1]])["entries"]}


def outsider() -> Request:
    """Somebody who is not enrolled, at the place of one who is."""
    stranger = Person("stranger")
    return with_changed(lambda sent: sent.resigned(WORLD.header, VICTIM, stranger).changed(leaf=stranger.leaf))


def with_box(change: Callable[[bytes], bytes]) -> Request:
    request, size = asked(honest()), box_bytes(WORLD.header)
    boxes = request["boxes"]
    own = change(boxes[VICTIM * size : (VICTIM + 1) * size])
    return {**request, "boxes": boxes[: VICTIM * size] + own + boxes[(VICTIM + 1) * size :]}


def word_of_no_field() -> Request:
    """A box that opens, and has a word above the prime in it: a hostile device seals what it likes."""
    header, one, ephemeral = WORLD.header, WORLD.devices[VICTIM], Person("ephemeral")
    tie = Tie(header, SEALED, one.leaf, ephemeral.leaf[32:])
    secret = agreed(ephemeral.seat, header.seats[SEALED][32:])
    box = tie.seal(secret, b"\xff" * Field(header.prime).word_bytes * header.code.n_words(header.n_values))
    return with_changed(lambda sent: sent.resigned(header, VICTIM, one, ephemeral=tie.ephemeral, sealed=box))


def low_order() -> Request:
    return with_changed(
        lambda sent: sent.resigned(WORLD.header, VICTIM, WORLD.devices[VICTIM], ephemeral=bytes([1]) + bytes(31))
    )


def seated(*leaves: bytes) -> Request:
    return under(seats=leaves)


HELPERS = tuple(one.leaf for one in WORLD.helpers)

#: By name: what the seat is asked, and by which name it refuses to add up.
REFUSED: dict[str, tuple[Callable[[], Request], str]] = {
    "a copied key and its boxes": (lambda: copied(flipped=False), "box"),
    "a copied key in its other spelling": (lambda: copied(flipped=True), "box"),
    "boxes of another device": (
        lambda: with_changed(lambda sent: sent.resigned(
            WORLD.header, VICTIM, WORLD.devices[VICTIM], sealed=honest()[COPIER].sealed)), "box"),
    "other weights": (lambda: under(body_sha256=bytes(32)), "signature"),
    "another plan": (lambda: under(plan_sha256=bytes(32)), "signature"),
    "another round, a replay": (lambda: under(round=4), "signature"),
    "another kind": (lambda: under(kind="risk_update"), "signature"),
    "fewer survivors": (lambda: under(min_survivors=1), "signature"),
    "others named absent": (lambda: under(absent=(1,)), "signature"),
    "another sharing": (lambda: under(t_priv=1), "signature"),
    "another prime": (lambda: under(prime=Field.holding(2**23).prime), "signature"),
    "a pad more": (lambda: under(pads=(WORLD.devices[0].leaf,)), "signature"),
    "the seats in another order": (lambda: seated(HELPERS[1], HELPERS[0], HELPERS[2]), "signature"),
    "another epoch": (lambda: under(epoch_sha256=bytes(32)), "epoch"),
    "a seat that is not its own": (lambda: seated(HELPERS[0], HELPERS[1], WORLD.devices[0].leaf), "seat"),
    "its own seat twice": (lambda: seated(HELPERS[2], HELPERS[1], HELPERS[2]), "seat"),
    "no prime": (lambda: with_header(prime=WORLD.prime - 1), "header"),
    "one seat to spare": (lambda: with_header(t_priv=1, t_rec=2), "header"),
    "no header": (lambda: {**asked(honest()), "header": b"\x80"}, "header"),
    "a forged signature": (lambda: with_changed(lambda sent: sent.changed(signature=bytes(64))), "signature"),
    "another hash of its boxes": (lambda: with_changed(lambda sent: sent.changed(sealed_sha256=bytes(32))), "signature"),
    "a key outside the list": (outsider, "outside"),
    "an index outside the list": (lambda: with_index(99), "outside"),
    "no proof": (lambda: {**asked(honest()), "proof": bytes(32)}, "outside"),
    "an entry twice": (lambda: asked([*honest(), honest()[VICTIM]]), "twice"),
    "a device at two indices": (
        lambda: with_changed(lambda sent: honest()[COPIER].changed(index=VICTIM)), "outside"),
    "entries out of order": (
        lambda: {**asked(honest()), "entries": b"".join(one.entry.canonical for one in reversed(honest()))}, "order"),
    "too few devices": (lambda: asked(honest()[:1]), "few"),
    "half an entry": (lambda: {**asked(honest()), "entries": asked(honest())["entries"][:-1]}, "list"),
    "a box that was touched": (lambda: with_box(lambda box: bytes([box[0] ^ 1]) + box[1:]), "box"),
    "a box that is short": (lambda: with_box(lambda box: box[:-1]), "boxes"),
    "no box": (lambda: {**asked(honest()), "boxes": b""}, "boxes"),
    "words of no field, sealed": (word_of_no_field, "share"),
    "an ephemeral key of low order": (low_order, "key"),
}  # fmt: skip

#: Of these, what a device did alone: a seat names it in its opinion, and says the rest of all others.
BY_ONE_DEVICE = {
    "a copied key and its boxes": COPIER,
    "a copied key in its other spelling": COPIER,
    "boxes of another device": VICTIM,
    "a forged signature": VICTIM,
    "another hash of its boxes": VICTIM,
    "a box that was touched": VICTIM,
    "words of no field, sealed": VICTIM,
    "an ephemeral key of low order": VICTIM,
}
