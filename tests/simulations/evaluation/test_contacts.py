"""Who is contacted at a line: quiet time, budgets, and a line for a number of contacts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.detection.alert_budget import Budget
from shared.errors import InputError
from simulations.evaluation.contacts import (
    ContactList,
    Limits,
    contacts_in,
    contacts_per_week,
    expected_right,
    per_user,
    realised_right,
)
from tests.world.basics import examples


def some_rows(
    seed: int, users: int = 6, steps: int = 30, categories: int = 3, digits: int = 6
) -> tuple[np.ndarray, ...]:
    """Rows of about two in three cells, in no order, with scores of so many digits."""
    random = np.random.Generator(np.random.Philox(seed))
    user, step, category = np.nonzero(random.random((users, steps, categories)) < 2 / 3)
    order = random.permutation(len(user))
    return user[order], step[order], category[order], random.random(len(user)).round(digits)


def by_hand(rows: tuple[np.ndarray, ...], line: float, limits: Limits) -> np.ndarray:
    """Step by step, stream by stream, with the bucket that devices have."""
    user, step, category, score = rows
    chosen, n_streams = np.zeros(len(user), bool), int(category.max()) + 1
    budget = Budget(limits.most, limits.budget_steps, n_streams) if limits.most else None
    spending = budget.start((int(user.max()) + 1,)) if budget else None
    quiet = np.zeros((int(user.max()) + 1, n_streams), np.int64)
    for now in range(int(step.max()) + 1):
        raised, strength = (
            np.zeros((*quiet.shape[:1], 2, n_streams), bool),
            np.zeros((*quiet.shape[:1], 2, n_streams), np.float32),
        )
        for row in np.flatnonzero((step == now) & (score >= line)):
            raised[user[row], 0, category[row]] = quiet[user[row], category[row]] <= now
            strength[user[row], 0, category[row]] = score[row]
        if budget:
            raised = budget.allow(spending, raised, strength, now)
        quiet[raised[:, 0]] = now + 1 + limits.quiet_steps
        for row in np.flatnonzero(step == now):
            chosen[row] = raised[user[row], 0, category[row]] and score[row] >= line
    return chosen


@examples(40)
@given(st.integers(0, 1000), st.floats(0, 1), st.integers(0, 5), st.integers(0, 3), st.integers(1, 12))
def test_contacts_are_those_that_a_device_would_raise(
    seed: int, line: float, quiet: int, most: int, steps: int
) -> None:
    rows, limits = some_rows(seed), Limits(quiet, most, steps)
    np.testing.assert_array_equal(ContactList(*rows, limits).at(line), by_hand(rows, line, limits))


@pytest.mark.parametrize("digits", [6, 1, 0])
@pytest.mark.parametrize("wanted", [1, 7, 40, 90])
def test_there_is_a_line_for_a_number_of_contacts_however_many_scores_are_equal(wanted: int, digits: int) -> None:
    user, step, category, score = some_rows(3, digits=digits)
    listed = ContactList(user, step, category, score, Limits(2, 0, 1), judged=step >= 10)
    chosen = listed.of_number(wanted)
    assert abs(listed.number(chosen) - wanted) <= 2
    assert (chosen & (step < 10)).any() or wanted < 5, "what comes before is lived through"
    np.testing.assert_array_equal(chosen, listed.of_number(wanted))


def test_a_line_gives_about_the_number_that_it_is_for() -> None:
    rows = some_rows(5)
    listed = ContactList(*rows, Limits(2, 2, 10))
    line = listed.line_of_number(20)
    assert listed.number(listed.at(line)) == pytest.approx(20, abs=1)
    assert listed.line_of_number(0) == np.inf and not listed.at(np.inf).any()
    everybody = listed.number(listed.at(0.0))
    assert listed.number(listed.of_number(10 * everybody)) == pytest.approx(everybody, abs=3)


def test_nobody_can_be_contacted_on_no_rows() -> None:
    none = np.empty(0, np.int64)
    listed = ContactList(none, none, none, np.empty(0), Limits(3, 2, 10))
    assert listed.line_of_number(5) == np.inf and not listed.of_number(5).any() and not listed.at(0.5).any()


def test_scores_that_are_none_are_refused() -> None:
    one = np.zeros(1, np.int64)
    with pytest.raises(InputError, match="expected finite scores, got 1 others"):
        ContactList(one, one, one, np.array([np.nan]), Limits())
    with pytest.raises(InputError, match="columns of one length"):
        ContactList(one, one, one, np.empty(0), Limits())


def test_what_contacts_come_to_is_counted() -> None:
    chosen = np.array([True, True, False])
    assert expected_right(np.array([0.2, 0.4, 0.9]), chosen) == pytest.approx(0.6)
    assert realised_right(np.array([True, False, True]), chosen) == 1
    assert contacts_per_week(18, 63, 7) == 2 and contacts_in(2, 63, 7) == 18
    assert per_user(np.array([1.0, 1.0, 0.5]), np.array([2, 0, 2]), 4).tolist() == [1, 0, 1.5, 0]
