"""The verdict is right where one list of contacts really is better, and silent where there is nothing to go by."""

from __future__ import annotations

import numpy as np
import pytest

from simulations.evaluation.verdict import Counted, compare_contacts


def shop(precision: float, seed: int, users: int = 400, contacts: float = 0.5, turns: float = 0.4) -> Counted:
    """Users with contacts of which about a share of `precision` is right and finds a turn."""
    random = np.random.Generator(np.random.Philox(seed))
    made, there = random.poisson(contacts, users), np.random.Generator(np.random.Philox(99)).poisson(turns, users)
    right = random.binomial(made, precision)
    return Counted(*(column.astype(float) for column in (made, right, there, np.minimum(right, there))))


def test_who_is_clearly_better_is_used() -> None:
    ours, poor, good = shop(0.5, 1), shop(0.2, 2), shop(0.8, 3)
    assert compare_contacts([ours], {"poor": poor, "poorer": shop(0.1, 4)}).verdict == "use_it"
    found = compare_contacts([ours], {"poor": poor, "good": good})
    assert (found.verdict, found.rival, list(found.ahead)) == ("use_rule", "good", ["good", "poor"])
    assert found.ahead["good"].right.low > 0 > found.ahead["poor"].right.high
    assert compare_contacts([ours], {"same": shop(0.5, 6)}).verdict == "cannot_tell"


def test_choosing_among_many_rules_is_paid_for() -> None:
    """Of 20 rules that are as good as ours the best by chance is hardly ever said to be better."""
    wrong = 0
    for seed in range(0, 400, 20):
        rules = {str(i): shop(0.3, 1000 + seed + i, users=150) for i in range(19)}
        wrong += compare_contacts([shop(0.3, 5000 + seed, users=150)], rules, seed).verdict != "cannot_tell"
    assert wrong <= 3


def test_trainings_that_differ_make_the_interval_wider() -> None:
    rule = {"rule": shop(0.4, 1)}
    alone = compare_contacts([shop(0.5, 2)], rule)
    several = compare_contacts([shop(0.5, 2), shop(0.3, 2), shop(0.7, 2)], rule)

    def width(found) -> float:
        ahead = found.ahead["rule"].right
        return ahead.high - ahead.low

    assert width(several) > 1.3 * width(alone) and (alone.trainings, several.trainings) == (1, 3)
    same = compare_contacts([shop(0.5, 2)] * 3, rule)
    assert width(same) == pytest.approx(width(alone), rel=0.1)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = 0
    for seed in range(100):
        ahead = compare_contacts([shop(0.3, 2 * seed)], {"rule": shop(0.5, 2 * seed + 1)}, seed).ahead["rule"].right
        held += ahead.low <= 0.2 * shop(0.3, 2 * seed).contacts.sum() <= ahead.high
    assert held >= 88


@pytest.mark.parametrize(
    ("ours", "rules", "lack"),
    [
        (shop(0.5, 1, contacts=0), {}, "no_contacts"),
        (shop(0.5, 1, turns=0), {"r": shop(0.5, 2, turns=0)}, "no_turns"),
        (shop(0.5, 1, turns=0.02), {"r": shop(0.5, 2)}, "few_turns"),
        (shop(0.5, 1, users=1, turns=40, contacts=40), {"r": shop(0.5, 2, users=1)}, "few_users"),
        (shop(0.5, 1, contacts=0.02), {"r": shop(0.5, 2)}, "few_contacts"),
        (shop(0.5, 1), {}, "no_rule"),
        (shop(0.02, 1, users=80), {"r": shop(0.02, 2, users=80)}, "wide"),
    ],
)
def test_too_little_to_go_by_is_said(ours: Counted, rules: dict[str, Counted], lack: str) -> None:
    found = compare_contacts([ours], rules)
    assert (found.verdict, found.lack) == ("not_enough", lack)
    assert found.ours.precision.value == ours.precision
