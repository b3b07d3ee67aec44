"""Rules of the reader's own: they cannot look ahead, and whatever they do wrong is one line that names them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from shared.errors import InputError
from shared.features import History
from simulations.people.labelled_rows import history_of
from simulations.people.planted import plant
from simulations.rivals.scores import (
    Rival,
    TheirScores,
    expect_different_names,
    judged_steps,
    read,
    rival,
    save,
    scores_of,
)
from simulations.scenarios.config import PLANTED_PROTOCOL

STEPS = (60, 64)


@pytest.fixture(scope="module")
def history() -> History:
    return history_of(plant(20, 80, seed=3))


def silence(past: History) -> np.ndarray:
    """Steps since the last active one."""
    last = np.where(past.active, np.arange(past.n_steps), -1).max(axis=-1)
    return (past.n_steps - 1 - last).astype(float)


def greedy(past: History) -> Any:
    """Everything it can lay its hands on: what it is given, and what that was cut from."""
    arrays = [past.active, past.count, past.amount]
    arrays += [each.base for each in arrays if each.base is not None]
    return np.full(past.active.shape[:-1], sum(float(each.sum()) for each in arrays), np.float64)


@pytest.mark.parametrize("rule", [silence, greedy])
def test_what_happens_later_changes_no_score(history: History, rule: Any) -> None:
    changed = History(history.active.copy(), history.count.copy(), history.amount.copy())
    after = STEPS[1] + 1
    changed.active[..., after:] = ~changed.active[..., after:]
    changed.count[..., after:] += 7
    changed.amount[..., after:] += 100
    before = scores_of(Rival("any", rule), history, STEPS).scores
    assert np.array_equal(before, scores_of(Rival("any", rule), changed, STEPS).scores)
    now = History(history.active.copy(), history.count.copy(), history.amount.copy())
    now.active[..., STEPS[0]], now.count[..., STEPS[0]] = True, 3  # and what happened by then does
    assert not np.array_equal(before, scores_of(Rival("any", rule), now, STEPS).scores)


def test_every_step_is_asked_about_with_what_is_known_at_it(history: History) -> None:
    seen: list[tuple[int, int]] = []

    def listening(past: History) -> np.ndarray:
        seen.append((len(past.active), past.n_steps))
        past.count[:] = np.nan  # its own copy
        return silence(past)

    found = scores_of(Rival("mine", listening), history, STEPS)
    assert seen == [(8, 61), *((20, step + 1) for step in range(60, 65))], "tried on a few first"
    assert found.scores.shape == (20, 5, history.n_categories) and np.isfinite(history.count).all()
    expected = silence(history.until(62))
    assert np.array_equal(found.scores[:, 2], expected)


def broken(_: History) -> Any:
    raise ZeroDivisionError("user 4711 did something")


def lines(_: History) -> Any:
    return [["a", "b"], ["c"]]


WRONG = {
    "an exception": (broken, r"ended with ZeroDivisionError at test_scores.py:\d+ at step 60"),
    "too few": (lambda past: silence(past)[:, 0], r"scores of shape \(8, 12\).*got \(8,\)"),
    "one number": (lambda past: 1.0, r"got \(\)"),
    "transposed": (lambda past: silence(past).T, r"got \(12, 8\)"),
    "texts": (lambda past: silence(past).astype(str), "expected numbers .*got an array of <U"),
    "complex": (lambda past: silence(past) * 1j, "expected numbers .*got an array of complex128"),
    "objects": (lambda past: silence(past).astype(object), "expected numbers .*got an array of object"),
    "rows of several lengths": (lines, "expected numbers"),
    "nothing": (lambda past: None, "expected numbers .*got an array of object"),
    "NaN": (lambda past: np.where(silence(past) > 3, np.nan, 1.0), r"expected finite scores .* got \d+ that are not"),
    "infinite": (lambda past: np.full(past.active.shape[:-1], 1e300), "got 96 that are not"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_rule_does_wrong_is_one_line_with_its_name(history: History, case: str) -> None:
    rule, said = WRONG[case]
    with pytest.raises(InputError) as refused:
        scores_of(Rival("my rule", rule), history, STEPS)
    text = str(refused.value)
    assert re.search(said, text) and "'my rule'" in text and "\n" not in text and "4711" not in text


@pytest.mark.parametrize(
    "make",
    [
        lambda: Rival("", silence),
        lambda: Rival("two\nlines", silence),
        lambda: Rival("x" * 61, silence),
        lambda: Rival("mine", 3),  # type: ignore[arg-type]
        lambda: Rival("mine", silence, "churn"),  # type: ignore[arg-type]
        lambda: expect_different_names(["a", "b", "a"]),
    ],
)
def test_a_rival_that_is_none_is_refused(make: Any) -> None:
    with pytest.raises(InputError):
        make()


def test_steps_beyond_the_history_are_refused(history: History) -> None:
    with pytest.raises(InputError, match=r"within 0\.\.79"):
        scores_of(Rival("mine", silence), history, (70, 80))


def test_what_a_rival_said_comes_back_from_its_file(history: History, tmp_path: Any) -> None:
    share = rival(lambda past: past.active.mean(-1), of="interest", name="share")
    said = [scores_of(each, history, STEPS) for each in (Rival("silence", silence), share)]
    file = tmp_path / "said.npz"
    with file.open("wb") as out:
        save(said, out)
    for before, after in zip(said, read(file), strict=True):
        assert (before.name, before.of, before.first_step) == (after.name, after.of, after.first_step)
        assert np.array_equal(before.scores, after.scores)
    assert [each.is_probability for each in said] == [False, True]
    assert [each.label for each in said] == ["yours: silence", "yours: share"]
    assert read(tmp_path / "none.npz") == []
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="damaged"):
        read(file)


def test_rows_without_a_word_are_refused_and_so_are_steps_beyond() -> None:
    scores = np.array([[[0.5, np.nan]], [[0.1, 0.2]]], np.float32)
    said = TheirScores("mine", "interest", 3, scores)
    ones = np.array([1, 1])
    assert said.at(ones, np.array([3, 3]), np.array([0, 1])).tolist() == pytest.approx([0.1, 0.2])
    with pytest.raises(InputError, match="none on 1 of 2"):
        said.at(np.array([0, 0]), np.array([3, 3]), np.array([0, 1]))
    with pytest.raises(InputError, match="got 3..3"):
        said.at(ones, np.array([3, 4]), np.array([0, 1]))


def test_the_steps_that_are_judged_are_those_of_all_tables() -> None:
    assert judged_steps(PLANTED_PROTOCOL) == (112, 174)
