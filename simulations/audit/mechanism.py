"""The mechanism itself, in two worlds: what opened sums show of one device whose clip is all in, or all out.

Every trial goes through the functions that hosted devices and sums go through: clip, grid, noise under a fresh key, the sum modulo
2^32 (`simulations.federation.host_training.protected_sum`, which calls `shared.mechanisms.protect`, or the loops of
`simulations/training_step/protection.py` that tests hold to it). In one world the device has ten clips in one value, in the other
nothing; the others, as many as a plan counts on, add their shares of noise to nothing. Two views of a kind of sum: one round; and two
rounds, of which the device is in the first, where noise that was used twice cancels.

What it sees: noise of another size, a clip that is missing, a device that is counted twice, noise that repeats. What it cannot see:
a run whose devices were other code than this.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from scipy import stats

from server.privacy.accounting import epsilon_unamplified
from shared.arrays import Doubles, Ints, Reals, as_declared
from shared.charges import Charge, charges_of
from shared.mechanisms import Entropy, from_grid
from shared.plan import BitsPlan, Plan, UpdateKind
from shared.randomised_response import randomised_response

from ..federation import host_training
from .bounds import CONFIDENCE, above, epsilon_of_counts

#: Trials that are carried out together.
CHUNK_TRIALS: Final = 2048
#: Under the plan, in the world without the device, a score exceeds the thresholds with these chances: far out tells planned noise
#: best, close to the middle tells too little of it.
TAILS: Final = (0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1, *(float(f"{t:.3g}") for t in np.geomspace(0.05, 1e-6, 11)))
#: Trials of the first kind's round in every run, and of each other view.
DRAWS, DRAWS_OF_OTHERS = 200_000, 20_000
#: Shares of noise that all views together may take in a run: seconds.
MOST_SHARES: Final = 300_000_000
#: The device's raw vector, in clips: a clip that is missing shows.
RAW_CLIPS: Final = 10


@dataclass(frozen=True)
class View:
    """What somebody sees of one device. `key`: of the ledger's line and what is seen of it. `seen`: the sums, each of a row of the
    plan's table so often. `beside`: as many further rounds of them, without the device, are taken away. `mu`: how far apart the
    two worlds are under the plan, in standard deviations (0 for coins)."""

    key: str
    sees: str
    seen: tuple[Charge, ...]
    beside: bool = False

    @property
    def mu(self) -> float:
        rounds = ((row.times, row.mechanism.privacy) for row in self.seen if isinstance(row.mechanism, UpdateKind))
        return math.sqrt(sum(times / p.noise_multiplier**2 for times, p in rounds) / (1 + self.beside))

    def stated(self, delta: float) -> float:
        """The epsilon that is promised against it."""
        return epsilon_unamplified(self.seen, delta)

    @property
    def shares(self) -> int:
        """How many shares of noise one trial takes, in both worlds."""
        rounds = ((row.times, row.mechanism) for row in self.seen)
        each = sum(
            times * kind.privacy.honest if isinstance(kind, UpdateKind) else kind.coins for times, kind in rounds
        )
        return 2 * (1 + self.beside) * each

    @property
    def thresholds(self) -> Doubles:
        """Fixed before any trial, from the plan alone: (T,)."""
        if not self.mu:
            coins = sum(row.mechanism.coins for row in self.seen if isinstance(row.mechanism, BitsPlan))
            return np.arange(coins, dtype=np.float64) + 0.5
        return np.array([self.mu / 2, *stats.norm.isf(TAILS).tolist()], np.float64)


@dataclass(frozen=True)
class Tried:
    """What came of one view: how many trials in each world, how many scores exceed each threshold where the device is in (`right`)
    and where it is not (`wrong`), and what that proves, beside what is stated."""

    key: str
    sees: str
    trials: int
    thresholds: tuple[float, ...]
    right: tuple[int, ...]
    wrong: tuple[int, ...]
    stated: float
    at_least: float

    @property
    def breaks(self) -> bool:
        return self.at_least > self.stated


def views_of(plan: Plan, *, whole: bool = False) -> list[View]:
    """What is looked at under a plan whose sums all have noise: each kind of sum, in one round and in two; all coins of a device;
    with `whole`, all sums of a run, for which a trial takes as long as a run."""
    out = []
    for row in charges_of(plan):
        if isinstance(row.mechanism, BitsPlan):
            out.append(View(row.line, "all coins of one device", (row,)))
        else:
            once = (Charge(row.mechanism, 1),)
            out.append(View(row.line, "the opened sum of one round", once))
            out.append(View(f"{row.line}.twice", "two rounds, of which the device is in the first", once, beside=True))
    if whole:
        sums = tuple(row for row in charges_of(plan) if isinstance(row.mechanism, UpdateKind))
        out.append(View("whole", "every opened sum of a run", sums))
    return out


def trials_of(plan: Plan) -> dict[str, int]:
    """How many trials each view gets in a run, by its key: as many as that has time for."""
    views = views_of(plan)
    wanted = {view.key: DRAWS if i == 0 else DRAWS_OF_OTHERS for i, view in enumerate(views)}
    shares = sum(wanted[view.key] * view.shares for view in views)
    part = min(1.0, MOST_SHARES / shares)
    return {key: max(1, int(part * n)) for key, n in wanted.items()}


def tried(view: View, trials: int, delta: float, *, noise: float = 1.0) -> Tried:
    """A view in so many trials; `noise` is what devices add, as a share of the planned noise."""
    right, wrong = (np.zeros(len(view.thresholds), np.int64) for _ in range(2))
    with TemporaryDirectory(prefix="ebbtide-audit-") as folder:
        for counts, there in ((right, True), (wrong, False)):
            for scores in _scores(view, trials, Path(folder), there=there, noise=noise):
                counts += above(scores, view.thresholds)
    return judged(view, trials, right, wrong, delta)


@as_declared
def judged(view: View, trials: int, right: Ints, wrong: Ints, delta: float) -> Tried:
    """What counts of a view prove."""
    return Tried(
        key=view.key,
        sees=view.sees,
        trials=trials,
        thresholds=tuple(round(float(t), 6) for t in view.thresholds),
        right=tuple(right.tolist()),
        wrong=tuple(wrong.tolist()),
        stated=view.stated(delta),
        at_least=float(epsilon_of_counts(right, wrong, trials, delta, CONFIDENCE)),
    )


def _scores(view: View, trials: int, folder: Path, *, there: bool, noise: float) -> Iterator[Doubles]:
    """What is guessed by, in one world, a chunk of trials at a time: of sums the log of the likelihood ratio in its standard deviations,
    of coins how many say "alerted"."""
    rounds = [
        (row.mechanism, i) for row in view.seen for i in range(row.times) if isinstance(row.mechanism, UpdateKind)
    ]
    keys = [host_training.fresh_entropy(folder, i) for i in range(len(rounds) * (1 + view.beside))]
    for first in range(0, trials, CHUNK_TRIALS):
        n = min(CHUNK_TRIALS, trials - first)
        if not rounds:
            coins = (row.mechanism for row in view.seen if isinstance(row.mechanism, BitsPlan))
            yield np.sum([thrown(bits, n, there=there, noise=noise) for bits in coins], axis=0)
            continue
        out, entropy = np.zeros(n), iter(keys)
        for kind, _ in rounds:
            show = partial(released, kind, n, shares=kind.privacy.honest, noise=noise)
            seen = show(there=there, entropy=next(entropy))
            if view.beside:
                seen = seen - show(there=False, entropy=next(entropy))
            out += seen / kind.privacy.noise_multiplier**2
        yield out / (view.mu * (1 + view.beside))


# ---- what is released of the one device, in n independent trials


def released(
    kind: UpdateKind, n: int, *, there: bool, shares: int, noise: float = 1.0, entropy: Entropy = os.urandom
) -> Doubles:
    """What a round of one part opens, in clips, in the one value that the device's whole clip goes into: (n,). Behind
    `shares` devices' noise, its own among them, of `noise` times as much as planned."""
    privacy = kind.privacy
    if noise != 1:
        privacy = dataclasses.replace(privacy, noise_multiplier=noise * privacy.noise_multiplier)

    def own(_: slice) -> Reals:  # a vector of one value in each trial
        return np.full((1, n, 1), RAW_CLIPS * privacy.clip_norm if there else 0.0)

    def others(chunk: slice) -> Reals:  # a null vector of n values: a share of noise for each trial
        return np.zeros((len(range(*chunk.indices(shares - 1))), n))

    total = host_training.protected_sum(1, own, (n, 1), privacy, entropy)[:, 0]
    total += host_training.protected_sum(shares - 1, others, n, privacy, entropy)
    in_clips: Doubles = from_grid(total, 1 / privacy.steps_per_clip)
    return in_clips


def thrown(bits: BitsPlan, n: int, *, there: bool, noise: float = 1.0) -> Doubles:
    """How many of a device's coins say "alerted", where it always or never was: (n,). Without noise they say what is true."""
    truth = np.full((n, bits.coins), there)
    said = randomised_response(truth, bits.epsilon_micro) if noise else truth
    return np.asarray(said.sum(axis=1), np.float64)


def evidence_of(row: Charge, n: int, *, there: bool, noise: float = 1.0) -> Doubles:
    """The log of the likelihood ratio of all releases of one row of a plan's table, as planned: (n,)."""
    kind = row.mechanism
    if isinstance(kind, BitsPlan):
        return (2 * thrown(kind, n, there=there, noise=noise) - kind.coins) * kind.epsilon
    out = np.zeros(n)
    for _ in range(row.times):
        seen = released(kind, n, there=there, shares=kind.privacy.honest, noise=noise)
        out += (seen - 0.5) / kind.privacy.noise_multiplier**2
    return out
