"""How much noise a run's own sums can have had at most: read off the sums, which need no device's word.

A sum is what devices did, which follows from the past, and fresh noise. So whatever anybody expects of it from the past, it is off by
at least that noise: the squares of its P values add up to no less than sigma^2 times a chi-square of P, round by round, whatever
devices did. Where they come to less, noise is smaller than planned, with a stated confidence; and where two sums of a run are nearer to
each other than fresh noise lets them be, the later one had none of its own: noise was used twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from shared import rdp
from shared.arrays import Doubles, Ints, as_declared
from shared.plan import PrivacyPlan

from .bounds import CONFIDENCE
from .canaries import expected


@dataclass(frozen=True)
class Noise:
    """What a run's sums say of their noise. `planned`, `at_most`: noise multipliers, clips of standard deviation; the second is what all
    rounds together can have had. `nearest`: the two rounds (from 1) whose sums are nearest to each other, `fresh_at_most` the noise
    multiplier that the later of them can have had on its own; None of a single round. Epsilon, of all rounds and of one: what is
    `stated`, and what follows from the noise at most."""

    planned: float
    at_most: float
    stated: float
    at_least: float
    nearest: tuple[int, int] | None
    fresh_at_most: float | None
    stated_once: float
    at_least_once: float

    @property
    def breaks(self) -> bool:
        """Whether all rounds together had too little."""
        return self.at_most < self.planned

    @property
    def repeats(self) -> bool:
        """Whether two rounds share their noise: nearer than fresh noise lets them be, and than all rounds together account for."""
        if self.fresh_at_most is None:
            return False
        return self.fresh_at_most < (self.at_most / 2 if self.breaks else self.planned)


@as_declared
def noise_in(sums: Ints, privacy: PrivacyPlan, stated: float, stated_once: float, delta: float) -> Noise:
    """What the sums (R, P) of a run say, R >= 1; `stated`: epsilon of R rounds, `stated_once` of one."""
    n_rounds, steps = len(sums), privacy.steps_per_clip
    values = sums.astype(np.float64) / steps
    at_most = _noise_at_most(float(np.square(values - expected(sums) / steps).sum()), sums.size, 1 - CONFIDENCE, steps)
    nearest, fresh = None, None
    if n_rounds > 1:
        apart = _apart(values)
        pairs = n_rounds * (n_rounds - 1) // 2
        first, second = (int(i) for i in np.unravel_index(int(np.argmin(apart)), apart.shape))
        nearest = (first + 1, second + 1)
        fresh = _noise_at_most(float(apart[first, second]), sums.shape[1], (1 - CONFIDENCE) / pairs, steps)
    return Noise(
        planned=privacy.noise_multiplier,
        at_most=at_most,
        stated=stated,
        at_least=rdp.gaussian_epsilon(math.sqrt(n_rounds) / at_most, delta),
        nearest=nearest,
        fresh_at_most=fresh,
        stated_once=stated_once,
        at_least_once=0.0 if fresh is None else rdp.gaussian_epsilon(1 / fresh, delta),
    )


def _noise_at_most(squares: float, n: int, tail: float, steps_per_clip: int) -> float:
    """The standard deviation, in clips, at which n squares come to so little with a chance of `tail`; a grid step at least."""
    return max(math.sqrt(squares / float(stats.chi2.ppf(tail, n))), 1 / steps_per_clip)


def _apart(values: Doubles) -> Doubles:
    """The squared distance of every two rows (R, P), of an earlier and a later one; infinite elsewhere: (R, R)."""
    out = np.full((len(values), len(values)), np.inf)
    for at, row in enumerate(values[:-1]):
        out[at, at + 1 :] = np.square(values[at + 1 :] - row).sum(axis=1)
    return out
