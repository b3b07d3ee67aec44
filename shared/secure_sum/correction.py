"""Which of the answers are lies, and the sum without them; and who is out where seats and devices accuse each other.

Shares of one polynomial are a word of a Reed-Solomon code. Of A answers, of which t_rec would do, A - t_rec are to spare:

- up to `radius` = floor((A - t_rec) / 2) lies are found and named, and the sum is opened without them;
- up to A - t_rec lies never pass for none: either nothing is opened, or somebody is named. Who lies in larger numbers than the
  radius and agrees on it beforehand can have the honest ones named, from A - t_rec - radius + 1 liars on;
- from A - t_rec + 1 on, liars can shift a sum and nobody sees it. A sum tells no lie of all its seats from the truth.

Where all seats must answer (helpers) nothing is to spare: a lie shifts the sum, and is not seen.

Lies are found by the locator polynomial of the syndromes, after Berlekamp and Massey (Massey 1969, "Shift-register synthesis and
BCH decoding", IEEE Transactions on Information Theory 15), without divisions (Burton 1971), for many words at once.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

import numpy as np

from ..arrays import Bools, Ints, Words, as_declared
from ..errors import SumError
from .field import Entropy, Field
from .packed_shamir import Code

#: Random mixtures of a sum's columns in which lies are looked for; all of them miss one with probability p^-4.
MIXTURES: Final = 4


class Decoded(NamedTuple):
    """For words (n, A): which places are wrong (n, A), and which words are within the radius of a right one (n,)."""

    wrong: Bools
    decodable: Bools


class Opened(NamedTuple):
    """A sum (d,), and the positions of the seats whose answers were lies."""

    values: Words
    liars: Ints


def radius(code: Code, n_answers: int) -> int:
    """How many lies among so many answers are corrected."""
    return (n_answers - code.t_rec) // 2


@as_declared
def decoded(code: Code, positions: Ints, words: Words) -> Decoded:
    """The wrong places of each of words (n, A), which seats at `positions` (A,) gave.

    Guarantees. A word is `decodable` if and only if some right word differs from it in at most `radius` places, of which
    there is one at most; `wrong` are these places. The shortest recurrence of the syndromes has as many distinct roots among
    the points as it is long exactly then. A word that is not decodable has no place marked.
    """
    syndromes = np.ascontiguousarray(code.syndromes(positions, words.T).T)
    wrong, decodable = np.zeros(words.shape, np.bool_), np.ones(len(words), np.bool_)
    touched = np.flatnonzero(syndromes.any(axis=1))
    if touched.size:
        locators, lengths = _recurrences(code.field, syndromes[touched])
        roots = code.field.matmul(locators, _powers(code, positions, locators.shape[1])) == 0
        found = (lengths <= radius(code, positions.size)) & (roots.sum(axis=1) == lengths)
        wrong[touched], decodable[touched] = roots & found[:, None], found
    return Decoded(wrong, decodable)


def _recurrences(field: Field, syndromes: Words) -> tuple[Words, Ints]:
    """The shortest linear recurrence of each sequence (n, r): its polynomial up to a factor, (n, r + 1), and its length (n,)."""
    n_words, n_steps = syndromes.shape
    current = np.zeros((n_words, n_steps + 1), np.uint32)
    before = np.zeros_like(current)  # always times x already
    current[:, 0] = before[:, 1] = 1
    missed = np.ones(n_words, np.uint32)
    lengths = np.zeros(n_words, np.int64)
    for step in range(n_steps):
        misses = field.total(field.times(current[:, : step + 1], syndromes[:, step::-1]), axis=1)
        longer = (misses != 0) & (2 * lengths <= step)
        after = field.minus(field.times(missed[:, None], current), field.times(misses[:, None], before))
        before = np.where(longer[:, None], current, before)
        before = np.concatenate([np.zeros((n_words, 1), np.uint32), before[:, :-1]], axis=1)
        missed = np.where(longer, misses, missed)
        lengths = np.where(longer, step + 1 - lengths, lengths)
        current = after
    return current, lengths


def _powers(code: Code, positions: Ints, n_powers: int) -> Words:
    """The inverse points of seats, to the powers 0 .. n_powers - 1: (n_powers, A)."""
    inverse = code.field.inverse((positions + 1).astype(np.uint32))
    rows = [np.ones_like(inverse)]
    for _ in range(n_powers - 1):
        rows.append(code.field.times(rows[-1], inverse))
    return np.array(rows)


@as_declared
def opened(code: Code, positions: Ints, sums: Words, n_values: int, entropy: Entropy = os.urandom) -> Opened:
    """The sum of which seats at `positions` (A,) hold the shares `sums` (A, B), without the answers that are lies.

    SumError("few") for fewer answers than `Code.needed`; SumError("lies") for more
    lies than the radius; SumError("answers") if the answers that are left disagree in any column.

    Guarantees. As this file's head says. A liar is found in random mixtures of the columns, which are drawn after the answers
    are there: it slips through all of them with probability p^-4, and then the last check opens nothing.
    """
    if positions.size < code.needed:
        raise SumError("few", f"expected answers of at least {code.needed} seats, got {positions.size}")
    mixtures = code.field.uniform((sums.shape[-1], MIXTURES), entropy)
    found = decoded(code, positions, code.field.matmul(sums, mixtures).T)
    wrong = found.wrong.any(axis=0)
    most = radius(code, positions.size)
    if not found.decodable.all() or wrong.sum() > most:
        raise SumError("lies", f"expected at most {most} of {positions.size} answers that are wrong")
    return Opened(code.open(positions[~wrong], sums[~wrong], n_values), positions[wrong])


@as_declared
def conflicts(edges: Bools) -> tuple[Ints, Ints]:
    """The seats and the devices that leave so that no accusation (edges, (n_seats, n_devices)) is left: positions of both.

    Guarantees. They are as few as can be, so never more than those who lie; and among all such choices the one with the fewest seats,
    for a sum needs these more. Who lies and is in conflict with more honest ones than there are liars is always among them.
    One hostile device alone, whomever it accuses, takes no seat with it.

    A least vertex cover, from a largest matching (Koenig 1931), by augmenting paths.
    """
    n_seats, n_devices = edges.shape
    device_of, seat_of = np.full(n_seats, -1), np.full(n_devices, -1)
    for seat in np.flatnonzero(edges.any(axis=1)).tolist():
        _match(edges, seat, device_of, seat_of)
    out_seats, kept = np.zeros(n_seats, np.bool_), seat_of < 0
    queue = np.flatnonzero(kept).tolist()
    while queue:  # what alternating paths from unmatched devices reach: of each matched pair, the seat
        for seat in np.flatnonzero(edges[:, queue.pop()] & ~out_seats).tolist():
            out_seats[seat] = kept[device_of[seat]] = True
            queue.append(device_of[seat])
    return np.flatnonzero(out_seats), np.flatnonzero(~kept)


def _match(edges: Bools, first: int, device_of: Ints, seat_of: Ints) -> None:
    """One more seat matched, if a path of changes leads to a device that is free; both tables are changed in place."""
    via, seen = np.full(seat_of.size, -1), np.zeros(seat_of.size, np.bool_)
    queue = [first]
    while queue:
        seat = queue.pop()
        new = np.flatnonzero(edges[seat] & ~seen)
        via[new], seen[new] = seat, True
        free = new[seat_of[new] < 0]
        if not free.size:
            queue += seat_of[new].tolist()
            continue
        device = int(free[0])
        while device >= 0:
            seat = int(via[device])
            device_of[seat], seat_of[device], device = device, seat, int(device_of[seat])
        return
