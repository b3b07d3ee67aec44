"""What a lapse and a take-off are, by hand; figures of a score; and what is never known in advance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from shared.errors import InputError
from shared.features import FeatureSpec, History, extract
from simulations.baselines.interest_models import POOLED, RULE
from simulations.evaluation.ground_truth import Turns, takeoff_mask
from simulations.evaluation.quality import UserBootstrap, auc, interval
from simulations.evaluation.result_tables import Warned
from simulations.evaluation.turn_rows import (
    ALERT_LINES,
    Silences,
    TurnRows,
    TurnScore,
    judged_lapses,
    judged_takeoffs,
    score_table,
    top_precision,
    with_features,
)
from simulations.people.labelled_rows import cells_of, filled
from simulations.scenarios.config import ProtocolSection
from tests.world.basics import examples, random_history

PROTOCOL = ProtocolSection(
    window_steps=6,
    short_steps=(1, 2, 3, 4),
    horizon_steps=2,
    lapse_steps=4,
    train_steps=(6, 12),
    test_steps=(15, 25),
    alert_steps=(15, 25),
    lapse_train_steps=(6, 10),
    n_steps=30,
)


def of_streams(*streams: str, amount: float = 1.0) -> History:
    """A user per stream of one category: '1' is an active step."""
    active = np.array([[[mark == "1" for mark in stream]] for stream in streams])
    return History(active, active.astype(np.float32), amount * active.astype(np.float32))


def made_rows(y: list[int], user: list[int], step: list[int], silent: list[int]) -> TurnRows:
    columns = (np.array(column, np.int64) for column in (user, step, [0] * len(y)))
    early = np.array(silent) <= 1
    return TurnRows(*columns, np.array(y, bool), np.array(silent, np.int64), early, np.zeros(len(y), bool))


def test_lapse_rows_by_hand() -> None:
    #                     0123456789
    history = of_streams("11110000001111", "11110001001111", "10101010101010")
    rows = judged_lapses(history, PROTOCOL, (3, 9))
    found = [
        (int(u), int(s), bool(y), int(q)) for u, s, y, q in zip(rows.user, rows.step, rows.y, rows.silent, strict=True)
    ]
    # watched from window // 2 steps after the first; user 0 until 4 steps of silence, silent for 4 more until step 5
    assert [row for row in found if row[0] == 0] == [
        (0, 3, True, 0),
        (0, 4, True, 1),
        (0, 5, True, 2),
        (0, 6, False, 3),
    ]
    # user 1: nothing in 4..6 is no lapse; the active step 7 saw only 3 active ones in its window: not watched after it
    assert [row for row in found if row[0] == 1] == [(1, s, False, s - 3) for s in (3, 4, 5, 6)]
    assert not [row for row in found if row[0] == 2]
    assert rows.early.tolist() == [silent <= 1 for silent in rows.silent.tolist()]


def test_takeoff_rows_by_hand() -> None:
    history = of_streams("10000001110000", "00000011110000", "11100000111000")
    rows = judged_takeoffs(history, PROTOCOL, (2, 9))
    found = {
        u: [(int(s), bool(y)) for k, s, y in zip(rows.user, rows.step, rows.y, strict=True) if k == u] for u in range(3)
    }
    assert found[0] == [(2, False), (3, False), (4, False), (5, True), (6, True), (7, False), (8, False)]
    assert found[1] == [(6, True), (7, False)]  # unknown before its first active step
    assert found[2] == [(6, True), (7, True), (8, False), (9, False)]  # three in the window until step 5
    # alerts are judged by the same definition
    told = Turns.of_runs(takeoff_mask(history, np.arange(2, 10), PROTOCOL), np.arange(2, 10))
    runs = zip(told.user.tolist(), told.first.tolist(), told.last.tolist(), strict=True)
    assert list(runs) == [(0, 5, 6), (1, 6, 6), (2, 6, 7)]


def test_the_tenth_of_users_who_spent_most_by_the_end_of_training_are_valued() -> None:
    history = of_streams(*["1111111111111111"] * 20)
    history.amount[3] *= 5
    history.amount[7, :, 8] = 100
    history.amount[9, :, PROTOCOL.train_at + 1 :] = 1000  # too late to count
    rows = judged_lapses(history, PROTOCOL, (7, 8))
    for step in (7, 8):
        assert rows.user[rows.valued & (rows.step == step)].tolist() == [3, 7]


@pytest.mark.parametrize("make", [judged_lapses, judged_takeoffs])
def test_a_turn_that_is_not_known_yet_is_refused(make) -> None:
    history = random_history(np.random.Generator(np.random.Philox(0)), (4, 2, 20))
    assert len(make(history, PROTOCOL, (6, 15)))
    with pytest.raises(InputError, match=r"within 0..15, so that the 4 steps after each are known, got 6..16"):
        make(history, PROTOCOL, (6, 16))


@pytest.mark.parametrize("make", [judged_lapses, judged_takeoffs])
def test_which_rows_there_are_does_not_depend_on_the_future(make) -> None:
    random = np.random.Generator(np.random.Philox(1))
    history, other = (random_history(random, (40, 2, 30), 0.5 if make is judged_lapses else 0.2) for _ in range(2))
    for column in ("active", "count", "amount"):
        getattr(other, column)[..., :19] = getattr(history, column)[..., :19]
    a, b = make(history, PROTOCOL, (12, 18)), make(other, PROTOCOL, (12, 18))
    assert len(a) > 50 and not np.array_equal(a.y, b.y)
    for name in ("user", "step", "category", "silent", "early", "valued"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_features_are_those_of_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulations.people.labelled_rows.SCORE_USERS", 7)
    history = random_history(np.random.Generator(np.random.Philox(2)), (20, 3, 30), 0.5)
    rows = judged_lapses(history, PROTOCOL, (12, 18))
    features = FeatureSpec(6, (1, 2, 3, 4))
    x = with_features(history, features, rows.where(rows.step != 15)).x
    cube = extract(history, features, range(30))
    keep = rows.step != 15
    np.testing.assert_array_equal(x, cube[rows.user[keep], rows.step[keep], rows.category[keep]])


def test_top_precision_shares_equal_scores_out() -> None:
    y = np.array([1, 0, 1, 0, 0, 0, 0, 0, 1, 0], bool)
    assert top_precision(y, -np.arange(10.0)) == 1
    assert top_precision(y, -np.arange(10.0), 0.35) == 0.5
    assert top_precision(y, np.zeros(10)) == pytest.approx(0.3)
    assert top_precision(y, np.array([9.0, 5, 5, 5, 0, 0, 0, 0, 0, 0]), 0.2) == pytest.approx((1 + 1 / 3) / 2)
    assert top_precision(y[:0], np.empty(0)) is None


def test_leads_of_whole_silences_by_hand() -> None:
    # three silences that began at steps 10, 11, 11 and one that began before the first row; rows go to step 14
    rows = made_rows(
        [1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 1, 1],
        [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3],
        [10, 11, 12, 13, 11, 12, 13, 11, 12, 13, 14, 10, 11],
        [0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3, 2, 3],
    )
    score = np.array([0.1, 0.6, 0.9, 0.9, 0.2, 0.3, 0.7, 0.4, 0.5, 0.8, 0.9, 0.9, 0.9])
    found = Silences(rows, 4).warned(score, 1)
    # only at .9 no alert of user 1 is left; there user 2's comes at step 14, when it is false, so at no line all are true
    assert found is None
    half = Silences(rows, 4).warned(score, 2)
    assert half is not None and (half.silences, half.lapses, half.alerts) == (3, 2, 3)
    assert half.precision == pytest.approx(2 / 3) and half.recall == 1
    assert half.median_lead_steps == 4  # the lowest line: at the last active step itself
    late = np.where(rows.silent < 2, 0.0, 1.0)
    found = Silences(rows.where(rows.user == 0), 4).warned(late[rows.user == 0], 1)
    assert found is not None and found.median_lead_steps == 4
    assert Silences(rows.where(rows.user == 3), 4).warned(score[rows.user == 3]) is None
    assert Silences(rows.where(rows.user == 9), 4).warned(score[:0]) is None


def test_a_score_that_only_knows_long_silences_has_a_short_lead() -> None:
    random = np.random.Generator(np.random.Philox(3))
    history = random_history(random, (400, 2, 40), 0.45)
    protocol = PROTOCOL.model_copy(update={"n_steps": 40})
    rows = judged_lapses(history, protocol, (12, 30))
    late = Silences(rows, 4).warned(rows.silent.astype(float), 5)
    knowing = Silences(rows, 4).warned(rows.y.astype(float), 1)
    assert knowing is not None and knowing.precision == 1 and knowing.recall == 1
    assert knowing.median_lead_steps == 4
    assert late is None or late.median_lead_steps < 4


def made_up(seed: int) -> tuple[TurnRows, dict[str, TurnScore]]:
    random = np.random.Generator(np.random.Philox(seed))
    user = np.sort(random.integers(0, 60, 1500))
    p = np.clip(random.beta(2, 6, 60)[user] + 0.1 * random.normal(size=1500), 0.01, 0.99)
    y = random.random(1500) < p
    early = random.random(1500) < 0.5
    rows = TurnRows(user, user, user, y, user, early, user < 12)
    noisy = p + 0.5 * random.normal(size=1500)
    return rows, {
        "good": TurnScore(p, POOLED, True),
        "poor": TurnScore(noisy, RULE),
        "never": TurnScore(np.zeros(1500), RULE, True),
    }


def test_the_table_says_who_beats_whom() -> None:
    rows, scores = made_up(4)
    table = score_table(rows, scores, ["poor"], seed=0)
    assert [row.name for row in table] == ["poor", "good", "never"]
    by_name = {row.name: row for row in table}
    good, never = by_name["good"], by_name["never"]
    assert good.auc == auc(rows.y, scores["good"].value) and good.low < good.auc < good.high
    ahead = good.ahead["poor"]
    assert ahead.auc == pytest.approx(good.auc - by_name["poor"].auc)
    draws = UserBootstrap(rows.y, rows.user, 0)
    difference = draws.aucs(scores["good"].value) - draws.aucs(scores["poor"].value)
    assert (ahead.low, ahead.high) == pytest.approx(interval(difference))
    assert by_name["poor"].ahead == {}
    assert good.average_precision == pytest.approx(average_precision_score(rows.y, scores["good"].value))
    assert good.brier_skill > 0 and good.calibration_error < 0.05
    assert by_name["poor"].brier is None
    assert never.auc == never.low == never.high == 0.5
    assert never.brier == never.calibration_error == pytest.approx(rows.y.mean())
    assert never.top_precision == pytest.approx(rows.y.mean())
    assert never.top_value_precision == pytest.approx(rows.y[rows.valued].mean())


def test_wrong_scores_are_refused_by_name() -> None:
    rows, scores = made_up(5)
    with pytest.raises(InputError, match="expected a reference among good, poor, never, got 'ours'"):
        score_table(rows, scores, ["ours"], seed=0)
    for value in (np.zeros(3), np.full(1500, np.nan)):
        with pytest.raises(InputError, match="expected a finite score of 1500 rows from bad"):
            score_table(rows, {"bad": TurnScore(value, RULE)}, [], seed=0)


def test_rows_of_one_class_give_no_figures() -> None:
    rows, scores = made_up(6)
    table = score_table(
        rows.where(~rows.y), {"good": TurnScore(scores["good"].value[~rows.y], POOLED, True)}, [], seed=0
    )
    assert table[0].auc is table[0].low is table[0].average_precision is table[0].brier is None


def lead_line_by_line(rows: TurnRows, score: np.ndarray, lapse_steps: int, one_true_in: int) -> Warned | None:
    """What `Silences.warned` says, with one look at all rows for every line."""
    began = rows.step - rows.silent
    whole = (began >= rows.step.min()) & (began + lapse_steps - 1 <= rows.step.max())
    if not whole.any():
        return None
    order = np.lexsort((rows.step[whole], began[whole], rows.category[whole], rows.user[whole]))
    user, category, start = (column[whole][order] for column in (rows.user, rows.category, began))
    y, silent, value = (column[whole][order] for column in (rows.y, rows.silent, score))
    new = np.ones(len(y), bool)
    new[1:] = (user[1:] != user[:-1]) | (category[1:] != category[:-1]) | (start[1:] != start[:-1])
    starts, position = np.flatnonzero(new), np.arange(len(y))
    lapses = int(y[starts].sum())
    for line in np.unique(np.quantile(value, np.linspace(0, 1, ALERT_LINES, endpoint=False), method="higher")):
        at = np.minimum.reduceat(np.where(value >= line, position, len(y)), starts)
        at = at[at < len(y)]
        true = y[at]
        if true.mean() * one_true_in >= 1:
            return Warned(
                silences=len(starts),
                lapses=lapses,
                alerts=len(at),
                precision=float(true.mean()),
                recall=float(true.sum() / lapses) if lapses else None,
                median_lead_steps=float(np.median(lapse_steps - silent[at[true]])) if true.any() else None,
            )
    return None


@examples(60)
@given(st.integers(0, 2**32), st.sampled_from([1, 2, 7, 1000]), st.sampled_from([1, 2, 3, 4]), st.floats(0.1, 0.9))
def test_one_pass_over_silences_says_what_a_look_for_every_line_says(seed, n_values, one_true_in, rate) -> None:
    random = np.random.Generator(np.random.Philox(seed))
    rows = judged_lapses(random_history(random, (25, 3, 30), rate), PROTOCOL, (12, 25))
    rows = rows.where(random.random(len(rows)) < 0.9)
    score = random.integers(0, n_values, len(rows)) / n_values + 0.3 * rows.y * (random.random(len(rows)) < 0.5)
    expected = lead_line_by_line(rows, score, 4, one_true_in) if len(rows) else None
    assert Silences(rows, 4).warned(score, one_true_in) == expected


def test_lists_of_rows_are_filled_together_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulations.people.labelled_rows.SCORE_USERS", 7)
    history, features = (
        random_history(np.random.Generator(np.random.Philox(4)), (20, 3, 30), 0.5),
        FeatureSpec(6, (1, 2, 3, 4)),
    )
    lapses, takeoffs = (judged(history, PROTOCOL, (12, 18)) for judged in (judged_lapses, judged_takeoffs))
    lists = [lapses, cells_of(history, 2, (6, 12)), takeoffs, lapses.where(lapses.user > 99)]
    for rows, some in zip(lists, filled(history, features, lists), strict=True):
        assert np.array_equal(some.x, filled(history, features, [rows])[0].x) and np.array_equal(some.y, rows.y)
    backwards = TurnRows(*(column[::-1] for column in vars(lapses).values()))
    with pytest.raises(InputError, match="in order of user"):
        filled(history, features, [backwards])
