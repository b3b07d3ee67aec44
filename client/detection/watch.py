"""Watching streams of p: detector, quiet time after an alert, false-alarm budget, risk level. Arrays with any leading axes.

A device watches its C streams, a simulated host (K, C) of them, with this code.

Steps come in order. One that is not later than the last one seen (a duplicate, a clock set back) changes nothing and
raises nothing. Steps that never come, or whose p is NaN, are not observed; a jump ahead is many such steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Bools, Floats, Ints
from shared.features import History, established
from shared.plan import Detection, Plan

from .alert_budget import Budget, Spending
from .bursts import held_by_burst
from .chances import Chances
from .cusum import at_rest
from .detector_table import detector_for
from .detectors import Alarms
from .risk_levels import Direction, risk_levels

#: A device remembers its detector as of every so many steps, so many times: one mark lies at least `MARK_EVERY` steps
#: back, and from there on it can be told otherwise (explain.py).
MARK_EVERY, MARKS = 7, 3
#: In place of the step at which a change began.
NOT_KNOWN = -1


class Raised(NamedTuple):
    """What a step's close raises, (..., 2, C) each, falls first: where there is an alert, each stream's risk levels, and the step
    at which a change began, as far as the detector can tell (`NOT_KNOWN`: it cannot)."""

    fired: Bools
    levels: Ints
    began: Ints


def budget_for(settings: Detection, shape: tuple[int, ...]) -> Budget | None:
    """The budget of each user with streams of `shape` (..., C); None if the plan says that there is none."""
    if not settings.false_alerts:
        return None
    return _budget(settings.false_alerts, settings.budget_steps, shape[-1])


@lru_cache(maxsize=64)
def _budget(false_alerts: int, steps: int, n_streams: int) -> Budget:
    return Budget(false_alerts, steps, n_streams)


def past_steps(plan: Plan, detector: str | None = None) -> int:
    """How many closed steps, as the new weights score them, a watch starts on under the plan's detector or another one:
    the features' window, and under the CUSUM twice its warm-up at least."""
    more = 2 * plan.detection.warm_steps if (detector or plan.detection.detector) == "cusum" else 0
    return max(plan.features.window_steps, more)


def observed(plan: Plan, history: History, steps: Sequence[int] | Ints, p: Floats) -> Floats:
    """p (..., S, C) of `steps` as the plan's detector observes it: under the CUSUM not where a burst moves it (NaN)."""
    if plan.detection.detector != "cusum":
        return p
    return np.where(held_by_burst(history, plan.features, steps), np.float32(np.nan), p)


@dataclass
class Watch:
    """What has to be remembered of streams (..., C): the detector's memory (m, ..., C); the first step at which each
    direction may speak again, int32 (..., 2, C); what each user has spent of the budget; the last step seen (1,).

    `began`, under the CUSUM int32 (..., 2, C), under the others (..., 0, C), is the step at which each statistic last left 0:
    where it fires, the change began there (Page's estimate). What fired is set back to 0, and so begins anew.

    `marks` (MARKS, m, C) is the memory as of the steps `marked` (MARKS,), oldest first, -1: none; only a lone device has
    them, (0, m, ..., C) is what many have.
    """

    memory: Floats
    quiet_until: NDArray[np.int32]
    spending: Spending
    last_step: Ints
    began: NDArray[np.int32]
    marks: Floats
    marked: Ints

    @classmethod
    def start(cls, plan: Plan, past: Floats, step: int) -> Watch:
        """A watch on streams, warmed up without any alert on their past p (..., S, C) as `observed`, up to `step`."""
        shape = (*past.shape[:-2], past.shape[-1])
        budget = budget_for(plan.detection, shape)
        spending = budget.start(shape[:-1]) if budget else Spending.nothing(shape[:-1])
        return cls._fresh(plan, shape, spending)._warm_up(plan, past, step)

    def restart(self, plan: Plan, past: Floats, step: int) -> Watch:
        """The watch after a new model has come: detectors start again on the past as the new weights score it, for a
        jump between two models is no turn. Quiet time, tokens and adapted thresholds stay."""
        shape = (*past.shape[:-2], past.shape[-1])
        budget = budget_for(plan.detection, shape)
        watch = Watch._fresh(plan, shape, budget.carried(self.spending) if budget else self.spending)
        watch.quiet_until[...] = self.quiet_until
        return watch._warm_up(plan, past, step)

    @classmethod
    def _fresh(cls, plan: Plan, shape: tuple[int, ...], spending: Spending) -> Watch:
        memory = detector_for(plan.detection).start(shape)
        quiet_until = np.zeros((*shape[:-1], len(Direction), shape[-1]), np.int32)
        n_sums = len(Direction) if plan.detection.detector == "cusum" else 0
        began = np.full((*shape[:-1], n_sums, shape[-1]), NOT_KNOWN, np.int32)
        n_marks = MARKS if len(shape) == 1 else 0
        marks, marked = np.zeros((n_marks, *memory.shape), np.float32), np.full(n_marks, -1, np.int64)
        return cls(memory, quiet_until, spending, np.zeros(1, np.int64), began, marks, marked)

    def _warm_up(self, plan: Plan, past: Floats, step: int) -> Watch:
        past = past[..., -past_steps(plan) :, :]
        n, nobody = past.shape[-2], np.zeros(self.memory.shape[1:], bool)
        for i in range(n):
            at = step - n + 1 + i
            self._alarms(plan.detection, at, Chances.of_p(past[..., i, :]), nobody)
            self._mark(at)
        self.last_step[:] = step
        return self

    def see(self, plan: Plan, history: History, step: int, chances: Chances) -> Raised:
        """Which streams raise an alert at the close of `step`, how urgent it is, and since when.

        `history` ends with `step`; the chances are (..., C) each. After an alert a stream is quiet in that direction for
        `quiet_steps`, and a user's alerts keep the plan's budget.
        """
        settings = plan.detection
        watched = established(
            history,
            [step],
            window_steps=plan.features.window_steps,
            min_active=settings.min_active_steps,
            lapse_steps=settings.lapse_steps,
        )[..., 0, :]
        calm = observed(plan, history, [step], chances.p[..., None, :])[..., 0, :]
        raised = self.judge(settings, step, chances._replace(p=calm), watched)
        return Raised(raised, risk_levels(chances), self.since())

    def since(self) -> Ints:
        """The step at which a change began that is told of now, (..., 2, C); `NOT_KNOWN` under other detectors than the CUSUM."""
        return self.began.astype(np.int64) if self.began.size else np.full(self.quiet_until.shape, NOT_KNOWN)

    def judge(self, settings: Detection, step: int, chances: Chances, watched: Bools) -> Bools:
        """Which streams raise an alert at the chances (..., C) of `step`: (..., 2, C). A fall counts on a `watched` stream only,
        but for the article's rule (`RateDetector`), which does not ask."""
        if step <= self.last_step[0]:
            return np.zeros(self.quiet_until.shape, bool)
        self.last_step[:] = step
        alarms = self._alarms(settings, step, chances, watched)
        raised = np.stack([alarms.fall, alarms.rise], axis=-2)
        budget = budget_for(settings, watched.shape)
        if budget and alarms.judged is not None:
            budget.own.adapt(self.spending.moved, np.moveaxis(raised.sum(axis=-1), -1, 0), alarms.judged.sum(axis=-1))
        raised[..., Direction.RISE, :] &= (
            settings.takeoff_line != 1
        )  # of what is not shown nothing is taken from the budget
        raised &= self.quiet_until <= step
        if budget:
            raised = budget.allow(self.spending, raised, np.moveaxis(alarms.strength, 0, -2), step)
        self.quiet_until[raised] = step + 1 + settings.quiet_steps
        self._mark(step)
        return raised

    def _alarms(self, settings: Detection, step: int, chances: Chances, watched: Bools) -> Alarms:
        """What the plan's detector says to the chances, before quiet time and budget."""
        detector = detector_for(settings)
        if settings.detector == "cusum":
            self.began[np.moveaxis(at_rest(self.memory), 0, -2)] = step
        budget = budget_for(settings, watched.shape) if detector.adapts else None
        threshold = budget.own.now(self.spending.moved)[..., None] if budget else np.inf
        return detector.update(self.memory, chances, watched, step, threshold)

    def _mark(self, step: int) -> None:
        if len(self.marks) and step % MARK_EVERY == 0:
            self.marks[:-1], self.marked[:-1] = self.marks[1:].copy(), self.marked[1:].copy()
            self.marks[-1], self.marked[-1] = self.memory, step

    def grown(self, n_streams: int) -> Watch:
        """This watch of one user with more streams, behind those that there were: they are not quiet. Until `restart`, it
        has no memory of any."""

        def wider(array: NDArray[Any]) -> NDArray[Any]:
            more = np.zeros((*array.shape[:-1], n_streams - array.shape[-1]), array.dtype)
            return np.concatenate([array, more], axis=-1)

        memory, quiet_until, began, marks = map(wider, (self.memory, self.quiet_until, self.began, self.marks))
        return Watch(memory, quiet_until, self.spending, self.last_step, began, marks, np.full_like(self.marked, -1))

    def of_users(self, users: slice) -> Watch:
        """The watch of some of many users (K, ...): views of their arrays, and a last step of their own."""
        whole = self.spending
        spending = Spending(whole.moved[:, users], whole.spent[:, users], whole.risen[:, users])
        columns = self.memory[:, users], self.quiet_until[users]
        return Watch(*columns, spending, self.last_step.copy(), self.began[users], self.marks, self.marked)

    @classmethod
    def of_all(cls, parts: Sequence[Watch]) -> Watch:
        """The watch of all users (K, ...) whose parts `of_users` gives, all as of one step."""
        by_user = {"memory": 1, "quiet_until": 0, "began": 0, "moved": 1, "spent": 1, "risen": 1}
        each, whole = [part.arrays() for part in parts], parts[0].arrays()
        return cls.of(
            whole
            | {name: np.concatenate([arrays[name] for arrays in each], axis=axis) for name, axis in by_user.items()}
        )

    # ---- kept between two calls

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that has to be kept, by name."""
        fields = {name: value for name, value in vars(self).items() if name != "spending"}
        return {**fields, **vars(self.spending)}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Watch:
        """The watch of `arrays`, bit for bit."""
        spending = Spending(*(arrays[name] for name in ("moved", "spent", "risen")))
        names = ("memory", "quiet_until", "last_step", "began", "marks", "marked")
        return cls(spending=spending, **{name: arrays[name] for name in names})

    def copy(self) -> Watch:
        """A watch that shares no array with this one."""
        return Watch.of({name: array.copy() for name, array in self.arrays().items()})
