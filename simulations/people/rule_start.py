"""What planted people teach of a rule of counters: the slope and the intercept of its chances, for falls and for rises."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from client.model.training_rows import turns_ahead
from server.public.logistic import logistic
from shared.plan import Plan
from shared.register.rule_plan import RulePlan
from shared.slow_average import parts

from ..scenarios.config import ProtocolSection, Scenario
from .teaching import USERS, Lesson, public_steps

#: No slope is smaller, whatever few people teach: a rule that says the opposite of itself is none.
LEAST_SLOPE = 0.05


def rule_lesson(scenario: Scenario, protocol: ProtocolSection, n_categories: int, plan: Plan) -> Lesson:
    """What teaches the rule under a scenario: the warm start's people or, without one, as many as phi starts from."""
    lesson = Lesson.of(scenario, protocol, n_categories, plan, plan.features)
    users = scenario.warm_start.users or scenario.risk.public_users
    return replace(lesson, warm=lesson.warm.model_copy(update={"users": users}))


@lru_cache(maxsize=4)
def rule_start(lesson: Lesson) -> RulePlan:
    """The rule's coefficients by this lesson's people, over the steps in which p is taught and it is known what followed; taught once
    in a process."""
    history, ahead = lesson.history(), lesson.protocol.lapse_steps
    steps = np.arange(public_steps(lesson.protocol)[0], history.n_steps - ahead)
    fitted: list[float] = []
    for task, rising in (("lapse", False), ("takeoff", True)):
        scores, turns = [], []
        for at in range(0, len(history.active), USERS):
            some = history[at : at + USERS]
            chosen, turn = turns_ahead(some, lesson.plan, steps, task)
            scores.append(np.add(*parts(some, steps, lesson.features, rising=rising))[chosen])
            turns.append(turn[chosen].astype(np.float32))
        score = np.concatenate(scores)
        slope, intercept = logistic(np.stack([score, np.ones(len(score))], axis=1), np.concatenate(turns), np.zeros(2))
        fitted += [max(float(slope), LEAST_SLOPE), float(intercept)]
    return RulePlan(*fitted)
