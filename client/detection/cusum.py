"""When a dense stream of p shifts: a two-sided CUSUM on logit p, after weekday offset and AR(1) whitening.

    p -> logit -> minus this stream's mean and weekday offset -> minus ar times the last residual -> / scale
      -> clipped to +-CLIP -> two CUSUMs (Page 1954): S = max(0, S +- d z - d^2 / 2)

Mean, offsets, AR(1) coefficient and scale are learned online, each with a fixed prior, and residuals beyond three scales
are held there, so that bursts do not teach. After an alarm the mean is learned anew; scale, weekday and ar are kept.

Immunity. One step moves a statistic by at most `GAIN` = d (CLIP - d / 2), whatever p does: an alarm at threshold h needs
at least `immune_steps(h) + 1` observed steps since its statistic was last 0. A shorter burst cannot alert.

Time. The step number is used for the weekday only. A step that is NaN, or that is never given, is not observed: nothing
is learned, no alarm; the last residual fades by ar for a NaN. p is held in .01...99, so 0 and 1 are as good as any.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from shared.arrays import Bools, Floats
from shared.errors import ConfigError
from shared.lapse_risk import logit

from .chances import Chances
from .detectors import Alarms, shift

#: d: half of this many scales of a lasting shift is held against chance at every step.
DRIFT = 0.9
#: No single step counts for more than this many scales.
CLIP = 1.5
#: What one step can add to a statistic.
GAIN = DRIFT * (CLIP - DRIFT / 2)
#: Statistics stop here, so that a stream that nobody calls comes down again; thresholds lie below.
MOST = 16.0

#: Memory of mean and scale, in observed steps; of a weekday offset, in its own days.
SPAN, WEEKDAY_SPAN = 120.0, 16.0
#: Observed steps before scale and offsets are learned, and after an alarm before statistics count again.
SETTLE_STEPS, RELEARN_STEPS = 7, 14
#: Prior of the scale, in logits, and the observations that it, ar's 0 and an offset's 0 weigh.
PRIOR_SCALE, PRIOR_WEIGHT, WEEKDAY_PRIOR = 0.3, 10.0, 4.0
#: A smaller scale than this, in logits, is no measure of chance: p is a smooth function of counters.
MIN_SCALE, MAX_AR = 0.05, 0.8
OUTLIER_SCALES, WEEKDAY_OUTLIER = 3.0, 1.5

MEAN, SEEN, LEARNED, VARIANCE, COVARIANCE, INNOVATION, RESIDUAL, FALL, RISE, OFFSETS = range(10)

_ZERO, _HALF_SQUARE, _OUTLIER = np.float32(0), np.float32(DRIFT**2 / 2), np.float32(OUTLIER_SCALES)
#: Further than any two logits lie apart.
_FAR = np.float32(100)


def immune_steps(threshold: float) -> int:
    """How many observed steps of any p cannot raise a statistic from 0 to `threshold`."""
    return math.ceil(threshold / GAIN) - 1


def at_rest(memory: Floats) -> Bools:
    """Which of both statistics are 0 in a memory (m, ..., C): (2, ..., C), falls first. A change that the next step moves them by
    begins there."""
    resting: Bools = memory[FALL : RISE + 1] == 0
    return resting


class CusumDetector:
    """A lasting shift of a stream's own mean, down or up; thresholds come with every step, from the budget.

    Memory, float32 (9 + season_steps + window_steps, ..., C): mean, observations, observations since the last alarm,
    variance and lag-1 covariance of residuals, variance of innovations, last residual, the two statistics, the offsets
    of a season of `season_steps` steps (7: weekdays of daily steps; 1: none), and the last dt values of p for the rate.
    """

    adapts: ClassVar[bool] = True
    reads_risk: ClassVar[bool] = False

    def __init__(self, warm_steps: int = 28, season_steps: int = 7, window_steps: int = 1) -> None:
        if warm_steps < SETTLE_STEPS + 1 or season_steps < 1 or window_steps < 1:
            raise ConfigError(
                f"expected warm_steps > {SETTLE_STEPS}, season_steps and window_steps >= 1, "
                f"got {warm_steps}, {season_steps} and {window_steps}"
            )
        self.warm_steps, self.season_steps, self.window_steps = warm_steps, season_steps, window_steps

    def start(self, shape: tuple[int, ...]) -> Floats:
        memory = np.zeros((OFFSETS + self.season_steps + self.window_steps, *shape), np.float32)
        memory[VARIANCE] = memory[INNOVATION] = PRIOR_SCALE**2
        memory[-self.window_steps :] = np.nan
        return memory

    def update(
        self,
        memory: Floats,
        chances: Chances,
        established: Bools,
        step: int = 0,
        threshold: Floats | float = math.inf,
    ) -> Alarms:
        """Their strength are the statistics before any alarm set them back, each in 0..MOST; judged are the streams that
        were observed, have warmed up and do not learn anew.

        An alarm sets both statistics back to 0, whether or not it is shown: a fall of an interest that is not
        established is none. The threshold broadcasts against (2, ..., C), falls first; at infinity nothing is ever set back."""
        p = chances.p
        judged = self._learn(memory, p, step)
        statistics = memory[FALL : RISE + 1].copy()
        crossed = statistics >= threshold
        fall, rise = crossed
        either = fall | rise
        if either.any():
            at = np.nonzero(either)
            for row in (LEARNED, FALL, RISE):
                memory[row][at] = 0
        rate = shift(memory[-self.window_steps :], p)
        return Alarms(fall & established, rise & ~fall, rate, statistics, judged)

    def _learn(self, memory: Floats, p: Floats, step: int) -> Bools:
        """Take p into the memory; who was judged.

        Rows that are treated alike are treated together, and masks are multiplied as 0 and 1 where choosing by them would
        do: both together take a third of the plain way's time.
        """
        mean, seen, learned, variance, covariance, innovation, residual = memory[: RESIDUAL + 1]
        offset = memory[OFFSETS + step % self.season_steps]
        known = ~np.isnan(p)
        warm = seen >= self.warm_steps
        judged: Bools = (learned >= RELEARN_STEPS) & warm
        held_back = judged.all()
        relearning = warm & ~judged if not held_back else None
        settled = seen >= SETTLE_STEPS
        gap = logit(np.fmax(p, _ZERO))
        gap -= mean
        if self.season_steps > 1:
            gap -= offset
        all_known = known.all()
        if not all_known:
            gap *= known
            settled &= known
        limit = np.sqrt(variance)
        limit *= _OUTLIER
        if not held_back:
            limit += np.multiply(~judged, _FAR)
        held = np.minimum(gap, limit)
        np.maximum(held, np.negative(limit, out=limit), out=held)
        if not all_known:
            judged &= known

        ar = np.divide(covariance, variance)
        ar.clip(_ZERO, np.float32(MAX_AR), out=ar)
        expected = np.multiply(ar, residual, out=ar)
        fresh = gap - expected
        scale = np.sqrt(innovation)
        np.maximum(scale, np.float32(MIN_SCALE), out=scale)
        z = fresh / scale
        z.clip(np.float32(-CLIP), np.float32(CLIP), out=z)
        z *= np.float32(DRIFT)
        gains = np.empty((2, *p.shape), np.float32)
        np.negative(z, out=gains[0])
        gains[1] = z
        gains -= _HALF_SQUARE
        gains *= judged
        statistics = memory[FALL : RISE + 1]
        statistics += gains
        statistics.clip(_ZERO, np.float32(MOST), out=statistics)

        weight = np.minimum(seen + np.float32(PRIOR_WEIGHT + 1 - SETTLE_STEPS), np.float32(SPAN))
        np.divide(settled if relearning is None else settled & ~relearning, weight, out=weight)
        moments = np.empty((3, *p.shape), np.float32)
        np.multiply(held, held, out=moments[0])
        np.multiply(held, residual, out=moments[1])
        scale *= _OUTLIER
        np.minimum(np.abs(fresh, out=fresh), scale, out=fresh)
        np.multiply(fresh, fresh, out=moments[2])
        learnt = memory[VARIANCE : INNOVATION + 1]
        moments -= learnt
        moments *= weight
        learnt += moments
        if self.season_steps > 1:
            days = seen * np.float32(1 / self.season_steps)
            days += np.float32(WEEKDAY_PRIOR)
            np.minimum(days, np.float32(WEEKDAY_SPAN), out=days)
            gap.clip(np.float32(-WEEKDAY_OUTLIER), np.float32(WEEKDAY_OUTLIER), out=gap)
            gap *= settled
            gap /= days
            offset += gap
        span = np.minimum(learned + np.float32(1), np.float32(SPAN))
        mean += np.divide(held, span, out=span)
        if all_known:
            residual[...] = held
            memory[SEEN : LEARNED + 1] += np.float32(1)
        else:
            expected *= ~known
            np.add(expected, held, out=residual)
            memory[SEEN : LEARNED + 1] += known
        return judged
