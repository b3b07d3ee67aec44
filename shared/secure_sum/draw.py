"""Who holds the seats of a round: drawn from an epoch's list, by its seed, the kind of the sum and the round alone.

The draw, version 1: HMAC-SHA256 under the seed (RFC 2104), over the tag, the kind's length in UTF-8 (1 byte), the kind, the round
and a counter from 0 (8 bytes each, the first the highest). Each output is 8 numbers of 32 bits, the highest byte first. Of each the
lowest bits are taken, as many as n - 1 has; what is n or more, or was drawn before, is left out. So every ordered choice is
as likely as every other. No plan, no time and nothing else that a server chooses is in it: it cannot try draws until one suits.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence

from ..arguments import whole
from ..codec import fits_utf8
from ..errors import ConfigError
from .epoch import Epoch

TAG = b"ebbtide draw v1\n"
MOST_KIND_BYTES = 32
#: Seats that are drawn for one round, at most.
MOST_DRAWN = 1024
_WORD_BYTES = 4


def drawn(epoch: Epoch, kind: str, round_number: int, n_drawn: int) -> tuple[int, ...]:
    """Positions in the epoch's list, `n_drawn` that differ, in the order of the draw.

    ConfigError for a round that is not in 1..`draws` of the epoch, for more than its devices or than 1,024, for a kind that is
    no text of 1..32 bytes.

    Guarantees. Uniform without replacement for whoever does not know the seed, and the seed comes after the list. A shorter
    draw is the beginning of a longer one. Edge cases. Each kind of sum has draws of its own: an epoch makes at most `draws` of
    each, so a bound that is to hold over all of them is divided by kinds times draws.
    """
    whole(round_number, "the round of a draw", 1, epoch.draws)
    whole(n_drawn, "the seats that are drawn", 1, min(epoch.n_devices, MOST_DRAWN))
    if type(kind) is not str or not kind or not fits_utf8(kind, MOST_KIND_BYTES):
        raise ConfigError(f"expected the kind of a sum, a text of 1 to {MOST_KIND_BYTES} bytes")
    mask = (1 << (epoch.n_devices - 1).bit_length()) - 1
    found: dict[int, None] = {}
    for word in _words(epoch.seed, kind.encode(), round_number):
        if (at := word & mask) < epoch.n_devices:
            found[at] = None
            if len(found) == n_drawn:
                break
    return tuple(found)


def kept(drawn: Sequence[int], absent: Sequence[int], n_seats: int, n_devices: int) -> tuple[int, ...]:
    """The seats of a round: the first `n_seats` of the drawn ones that are not named absent, in the order of the draw.

    ConfigError for absent ones that were not drawn, are not sorted or named twice, or are more than the draw has to
    spare; and for any at all where everybody of `n_devices` was drawn: there, who names absent ones would choose the seats.
    """
    n_absent, spare = len(absent), len(drawn) - whole(n_seats, "seats, of those that were drawn", 1, len(drawn))
    if any(type(at) is not int for at in absent) or any(a >= b for a, b in zip(absent, absent[1:], strict=False)):
        raise ConfigError("expected absent seats in rising order, each once")
    if not set(absent) <= set(drawn):
        raise ConfigError("expected absent seats that were drawn")
    if absent and len(drawn) >= n_devices:
        raise ConfigError("expected nobody named absent where everybody is drawn")
    if n_absent > spare:
        raise ConfigError(f"expected at most {spare} seats named absent, got {n_absent}")
    gone = set(absent)
    return tuple(at for at in drawn if at not in gone)[:n_seats]


def _words(seed: bytes, kind: bytes, round_number: int) -> Iterator[int]:
    """Numbers of 32 bits, without end."""
    named = TAG + bytes((len(kind),)) + kind + round_number.to_bytes(8, "big")
    counter = 0
    while True:
        block = hmac.digest(seed, named + counter.to_bytes(8, "big"), "sha256")
        for at in range(0, len(block), _WORD_BYTES):
            yield int.from_bytes(block[at : at + _WORD_BYTES], "big")
        counter += 1
