"""Whose shares lie on no polynomial: seats test every device's shares without learning, or telling, anything of them.

A device whose shares do not fit together would spoil a sum, and nobody could say which one it was. So before the sum every seat
tells, for each device, `TESTS` random mixtures of its shares, each with one block on top whose values are uniform and are used
for nothing else. Mixing keeps polynomials polynomials: over the seats, the mixtures of a right device are right words
of the code, and those of a wrong one are not, up to a chance of 1 / p each.

The mixing coefficients follow from the device's signed entry, after it is sent; so the device cannot choose its shares to suit them,
but by trying entries: at three tests and a prime above 2^23 about 2^69 of them.
(Batched verification of sharings: Bellare, Garay and Rabin 1998, "Fast batch verification for modular exponentiation and digital
signatures"; coefficients from a hash: Fiat and Shamir 1986.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..arrays import Bools, Ints, Words, as_declared
from ..errors import InputError, SumError
from .correction import decoded, radius
from .packed_shamir import Code


class Judgement(NamedTuple):
    """Devices (n,) whose shares fit no polynomial, or only one that too many seats contradict; and for the others, which seats
    (A, n) contradict their polynomial: there either lies."""

    bad: Bools
    edges: Bools


@as_declared
def mixed(code: Code, challenges: Words, shares: Words) -> Words:
    """What one seat tells of n devices' shares (n, B + tests), by challenges (n, tests, B): (n, tests).

    Guarantees. Together with the shares of any t_priv seats, what all seats tell leaves every device's vector as open as
    those shares alone do: each mixture is hidden by a block of its own, uniform where the vector's values are. That holds for
    one challenge per device's entry. A second challenge for the same shares would give the vector away, so challenges MUST
    follow from the entry alone.
    """
    n_blocks = challenges.shape[-1]
    if challenges.shape != (len(shares), code.tests, n_blocks) or shares.shape[1:] != (n_blocks + code.tests,):
        raise InputError(f"expected challenges (n, {code.tests}, B) and shares (n, B + {code.tests}), got "
                         f"{challenges.shape} and {shares.shape}")  # fmt: skip
    weighted = code.field.matmul(challenges, shares[:, :n_blocks, None])[..., 0]
    return code.field.total(np.stack([weighted, shares[:, n_blocks:]]))


@as_declared
def judged(code: Code, positions: Ints, told: Words) -> Judgement:
    """Who is out, by what seats at `positions` (A,) told of n devices: told (A, n, tests).

    Guarantees. While at most `correction.radius` seats lie, no device whose shares are right is `bad`, and `edges` lead from it to
    liars only. A device whose shares do not lie on polynomials at the honest seats is `bad`, or has an edge to an honest
    one, but with probability p^-tests. SumError("few") unless more than t_rec seats told: nothing could be seen.
    """
    n_answers, n_devices, n_tests = told.shape
    if n_answers != positions.size or n_tests != code.tests:
        raise InputError(f"expected told ({positions.size}, n, {code.tests}), got {told.shape}")
    if n_answers <= code.t_rec:
        raise SumError("few", f"expected tests of more than {code.t_rec} seats, got {n_answers}")
    words = told.transpose(1, 2, 0).reshape(n_devices * n_tests, n_answers)
    found = decoded(code, positions, words)
    wrong = found.wrong.reshape(n_devices, n_tests, n_answers).any(axis=1)
    fits = found.decodable.reshape(n_devices, n_tests).all(axis=1) & (wrong.sum(axis=1) <= radius(code, n_answers))
    return Judgement(~fits, (wrong & fits[:, None]).T)
