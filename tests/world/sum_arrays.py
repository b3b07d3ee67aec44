"""Examples of every entry of the secure sum that takes arrays: small whole numbers, and what is made of them."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np

from shared.secure_sum.consistency import judged, mixed
from shared.secure_sum.correction import conflicts, decoded, opened
from shared.secure_sum.entry import Entry, SumList
from shared.secure_sum.field import Field
from shared.secure_sum.header import Header
from shared.secure_sum.packed_shamir import Code
from shared.secure_sum.seat import Opinion
from shared.secure_sum.share import contribute

from .listed import keys_of, leaf

FIELD = Field(8_388_617)
CODE = Code(FIELD, 7, 2, 4)
ONE, OTHER = np.array([[3, 0, 7], [1, 5, 2]]), np.array([[1, 1, 4], [0, 6, 2]])
POSITIONS = np.arange(7)
VALUES, MASKS, STREAMS = np.array([5, 9, 1]), np.ones((2, 3)), np.arange(10).reshape(2, 5)


#: Words of the field are larger than a small type holds: of those only zeros are tried.
ZEROS = np.zeros((7, 2))


def sent(values: Any) -> int:
    """A vector as the boxes of one seat: how long, for its bytes are never twice the same."""
    seats = tuple(leaf(f"helper {at}") for at in range(3))
    header = Header("update", bytes(32), 1, bytes(32), seats, (), (), FIELD.prime, 2, 3, 3, 2, bytes(32))
    found = contribute(header, leaf("one"), keys_of("one")[0], values)
    entry = Entry(0, leaf("one"), found.ephemeral, sha256(found.sealed).digest(), found.signature)
    entry.expect_signed(SumList.of(header, [entry]).header)
    return len(found.sealed)


PARTS_OF_A_SUM: dict[str, tuple[tuple[np.ndarray, ...], Callable[..., Any]]] = {
    "shared.secure_sum.consistency.judged": ((POSITIONS, np.zeros((7, 2, 3))), lambda a, b: judged(CODE, a, b).bad),
    "shared.secure_sum.consistency.mixed": ((np.ones((1, 3, 2)), STREAMS[:1]), lambda a, b: mixed(CODE, a, b)),
    "shared.secure_sum.correction.conflicts": (
        (np.array([[1, 0], [0, 0]]),),
        lambda a: conflicts(np.asarray(a) > 0)[0],
    ),
    "shared.secure_sum.correction.decoded": ((POSITIONS, ZEROS.T), lambda a, b: decoded(CODE, a, b).wrong),
    "shared.secure_sum.correction.opened": ((POSITIONS, ZEROS), lambda a, b: opened(CODE, a, b, 3).values),
    "shared.secure_sum.field.Field.accepted": ((ONE[0],), FIELD.accepted),
    "shared.secure_sum.field.Field.expect_elements": ((ONE,), lambda a: FIELD.expect_elements("words", a) or 0),
    "shared.secure_sum.field.Field.from_signed": ((ONE,), FIELD.from_signed),
    "shared.secure_sum.field.Field.inverse": ((ONE[1],), FIELD.inverse),
    "shared.secure_sum.field.Field.matmul": ((ONE, OTHER.T), FIELD.matmul),
    "shared.secure_sum.field.Field.minus": ((ONE, OTHER), FIELD.minus),
    "shared.secure_sum.field.Field.pack": ((ONE[0],), FIELD.pack),
    "shared.secure_sum.field.Field.product": ((ONE,), FIELD.product),
    "shared.secure_sum.field.Field.times": ((ONE, OTHER), FIELD.times),
    "shared.secure_sum.field.Field.to_signed": ((ONE,), FIELD.to_signed),
    "shared.secure_sum.field.Field.total": ((ONE,), FIELD.total),
    "shared.secure_sum.packed_shamir.Code.open": ((POSITIONS, ZEROS), lambda a, b: CODE.open(a, b, 3)),
    "shared.secure_sum.packed_shamir.Code.points": ((POSITIONS,), CODE.points),
    "shared.secure_sum.packed_shamir.Code.share": ((VALUES, MASKS, STREAMS), CODE.share),
    "shared.secure_sum.packed_shamir.Code.syndromes": ((POSITIONS, ZEROS), CODE.syndromes),
    "shared.secure_sum.seat.Opinion.__init__": ((ONE,), lambda a: Opinion((), a).tests),
    "shared.secure_sum.share.contribute": ((VALUES,), sent),
}
