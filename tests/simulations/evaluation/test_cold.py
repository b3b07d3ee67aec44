"""Never-bought categories: their rows by hand, what a sum of everybody adds to them as devices read it, and the table."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.features import Crowd, FeatureSpec, History, Richer, extract
from shared.heads import crowd_of, pair_shares
from shared.heads.crowd import without_noise
from simulations.evaluation.cold import rows as cold
from simulations.evaluation.cold.pairs import sum_of_pairs
from simulations.evaluation.cold.rows import ColdRows, cold_rows, found_in_lists
from simulations.evaluation.cold.table import (
    CLEAR,
    NOISE_MULTIPLIER,
    OWN,
    OWN_KNOWN,
    POPULARITY,
    POPULARITY_RULE,
    WITH_ALL_EVER,
    WITH_NEIGHBOURS,
    WITH_POPULARITY,
    ColdPeople,
    cold_scores,
    cold_table,
    neighbours,
    popularity,
    published_scores,
    rule,
)
from simulations.people.labelled_rows import history_of
from simulations.people.planted import plant
from simulations.published.cold_start import ROWS, numbers_of_cold
from simulations.scenarios.config import PLANTED_PROTOCOL
from tests.world.basics import counted_history, examples

W = 12
FEATURES = FeatureSpec(W)
RICHER = FeatureSpec(W, more=Richer(8, 0.7, 6.0, 0.6, 4.0))


def people_with(n_users: int = 40, n_categories: int = 6, n_steps: int = 40, seed: int = 3) -> History:
    return counted_history(np.random.Generator(np.random.Philox(seed)), (n_users, n_categories, n_steps), rate=0.02)


def streams(*users: tuple[str, ...]) -> History:
    active = np.array([[[mark == "1" for mark in stream] for stream in user] for user in users])
    return History(active, active.astype(np.float32), active.astype(np.float32))


def test_rows_are_those_of_known_users_and_categories_that_they_never_touched() -> None:
    spec = FeatureSpec(5, (1, 2, 3, 4))
    history = streams(
        #   2345
        ("0100000000", "0000100000", "0000000000"),
        ("0000000001", "0000000000", "0000000000"),  # not seen yet
        ("1000000000", "1000000000", "1000000000"),  # knows everything
    )
    found = cold_rows(history, spec, 2, (2, 5))
    step = np.array([2, 2, 3, 3, 4, 5])
    np.testing.assert_array_equal(found.user_of_row, 0)
    np.testing.assert_array_equal(found.category, [1, 2, 1, 2, 2, 2])
    np.testing.assert_array_equal(found.of_list, step - 2)
    np.testing.assert_array_equal(found.y, [True, False, True, False, False, False])
    np.testing.assert_array_equal(np.exp(found.log_known).round(9), [1, 1, 2, 2])
    x = extract(history, spec, [2, 3, 4, 5])
    np.testing.assert_array_equal(found.x, x[0, :, 2])


def test_neither_later_steps_nor_how_many_are_counted_at_once_change_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    history = people_with()
    whole = cold_rows(history, FEATURES, 4, (15, 20))
    monkeypatch.setattr(cold, "USERS_AT_ONCE", 7)
    for other in (cold_rows(history, FEATURES, 4, (15, 20)), cold_rows(history.until(24), FEATURES, 4, (15, 20))):
        for name, column in vars(whole).items():
            np.testing.assert_array_equal(getattr(other, name), column, err_msg=name)


def test_what_a_sum_says_of_a_row_is_what_a_device_reads() -> None:
    history, at = people_with(), np.arange(15, 21)
    random = np.random.Generator(np.random.Philox(1))
    lines = random.normal(size=(6, 6)) * (1 - np.eye(6))
    crowd = Crowd(random.normal(size=6), lines)
    found = cold_rows(history, FEATURES, 4, (15, 20))
    steps = np.array([step for user in range(40) for step in at])
    x = extract(history, RICHER, at, crowd)
    new = ~np.maximum.accumulate(history.active, axis=-1)[..., at]
    chosen = np.moveaxis(new & (~new).any(axis=1, keepdims=True), -1, -2)
    assert len(found) == chosen.sum() > 100 and len(steps) == chosen[..., 0].size
    for name, read in (("popularity", popularity(crowd)), ("neighbours", neighbours(crowd))):
        expected = x[..., RICHER.names.index(name)][chosen]
        np.testing.assert_allclose(read(found)[:, 0], expected, atol=2e-6, err_msg=name)
    rates = x[..., RICHER.names.index("user_log_rate")][chosen]
    expected = crowd.popularity[found.category] + 2 * found.log_known[found.of_list] + rates
    np.testing.assert_allclose(rule(crowd, found), expected, atol=2e-6)


def lists_of(y: list[list[bool]]) -> ColdRows:
    sizes = [len(each) for each in y]
    m, n = len(y), sum(sizes)
    empty = np.zeros((m, 1), np.float32)
    return ColdRows(
        np.zeros(n, np.int64),
        np.array([one for each in y for one in each], bool),
        np.repeat(np.arange(m), sizes),
        np.arange(m),
        empty,
        empty,
        empty,
        np.zeros(m),
        np.zeros(m),
    )


def test_what_is_found_in_a_list_is_counted_by_hand() -> None:
    rows = lists_of([[True, False, False, False, True], [False, False], [True] * 4, [False, False, False, True]])
    score = np.array([5.0, 4, 3, 2, 1, 0, 0, 1, 2, 3, 4, 1, 1, 1, 1])
    np.testing.assert_allclose(found_in_lists(rows, score), [0.5, np.nan, 1.0, 0.75])


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=5), st.integers(1, 3))
@examples(100)
def test_equals_come_in_any_order(marks: list[tuple[bool, int]], shown: int) -> None:
    """Over all orders of a list, the mean share of what is new among the first ones when it is sorted by score."""
    y, score = [mark for mark, _ in marks], [value for _, value in marks]
    got = found_in_lists(lists_of([y]), np.array(score, float), shown)[0]
    if not any(y):
        assert np.isnan(got)
        return
    orders = [sorted(order, key=lambda i: -score[i])[:shown] for order in permutations(range(len(y)))]
    expected = np.mean([sum(y[i] for i in order) for order in orders]) / min(sum(y), shown)
    assert got == pytest.approx(expected)


def test_the_sum_is_everybody_s_with_noise_of_the_stated_size() -> None:
    history, n = people_with(300, 20), 20
    exact = sum_of_pairs(history, 30, 0.0)
    np.testing.assert_allclose(exact, pair_shares(history.active[..., :31], n).sum(axis=0))
    noise = sum_of_pairs(history, 30, NOISE_MULTIPLIER) - exact
    assert abs(noise.std() / NOISE_MULTIPLIER - 1) < 0.3 and abs(noise.mean()) < 6 * NOISE_MULTIPLIER / np.sqrt(210)
    nearly = sum_of_pairs(history, 30, 1e-1)
    assert np.abs(nearly - exact).max() < 1.5, "towards zero by less than 300 grid steps, and ten standard deviations"


@pytest.fixture(scope="module")
def people() -> ColdPeople:
    protocol = PLANTED_PROTOCOL.model_copy(update={"train_steps": (42, 60), "test_steps": (112, 130)})
    return ColdPeople(
        history_of(plant(120, protocol.n_steps, seed=4)), FeatureSpec(28, (1, 3, 7, 14), (3, 14)), protocol
    )


def test_the_table_says_how_far_each_score_is_ahead_and_for_how_many_users(people: ColdPeople) -> None:
    scores = cold_scores(people)
    assert set(scores) == set(ROWS.values())
    rows = people.test
    table = cold_table(people, {**scores, "best": rows.y + 0.0})
    by_name = {row.name: row for row in table.table}
    best = by_name["best"]
    assert table.table[0].name == OWN and by_name[OWN].ahead is None and by_name[OWN].recall_ahead is None
    assert best.auc.value == best.auc.low == 1 and best.recall.value == best.recall.high == 1
    assert best.ahead.value == pytest.approx(1 - by_name[OWN].auc.value) and best.ahead.low > 0
    assert (table.rows, table.users) == (len(rows), len(np.unique(rows.user_of_row))) and 0 < table.lists <= len(
        rows.user
    )
    assert by_name[OWN].recall.value == pytest.approx(by_name[OWN_KNOWN].recall.value), "neither tells categories apart"
    assert by_name[POPULARITY].kind == "rule" and by_name[CLEAR].kind == by_name[WITH_NEIGHBOURS].kind
    for row in table.table:
        assert row.auc.low <= row.auc.value <= row.auc.high and row.recall.low <= row.recall.high


def test_a_sum_of_nothing_but_noise_says_nothing(people: ColdPeople) -> None:
    total, n = people.total(100.0), people.history.n_categories
    said = [np.ptp(crowd_of(people.total(100.0), n, 100.0).popularity) for _ in range(20)]
    assert sum(ptp > 0 for ptp in said) <= 2, "by chance in one or two of a thousand"
    nothing = crowd_of(total, n, 1e9)
    assert not nothing.popularity.any() and not nothing.neighbours.any()


def test_most_of_the_noise_goes_from_a_matrix_of_few_directions() -> None:
    random, n, noise = np.random.Generator(np.random.Philox(2)), 30, 10.0
    direction = np.abs(random.normal(size=(n, 1)))
    true = 60 * direction @ direction.T
    draw = np.triu(random.normal(size=(n, n)), 1) * noise / np.sqrt(2)
    seen = true + draw + draw.T + np.diag(random.normal(size=n)) * noise
    assert np.linalg.norm(without_noise(seen, noise) - true) < 0.5 * np.linalg.norm(seen - true)
    np.testing.assert_allclose(without_noise(true, 0.0), true, atol=1e-9)
    assert not without_noise(seen - true, noise * 1.5).any()


def test_of_the_popularity_that_a_run_publishes_scores_are_those_of_its_sum(people: ColdPeople) -> None:
    n = people.history.n_categories
    told = published_scores(people, crowd_of(people.total(0.0), n, 0.0).popularity.astype(np.float32), seed=1)
    every = cold_scores(people, 0.0, seed=1)
    assert set(told) == {OWN, OWN_KNOWN, POPULARITY, POPULARITY_RULE, WITH_POPULARITY}
    for name, score in told.items():
        np.testing.assert_allclose(score, every[name], atol=1e-5)


def test_published_numbers_have_their_spread_and_the_reference_beside_them(people: ColdPeople) -> None:
    tables = [cold_table(people, cold_scores(people, 3.0, seed=seed), seed) for seed in range(2)]
    out = numbers_of_cold("x", tables, 0.195, 1e-5)
    gains = [next(row for row in table.table if row.name == WITH_ALL_EVER).ahead for table in tables]
    assert out["cold.gain.x"].value == pytest.approx(np.mean([gain.value for gain in gains]), abs=1e-5)
    assert out["cold.gain_low.x"].value == pytest.approx(min(gain.low for gain in gains), abs=1e-5)
    assert out["cold.gain.x"].spread is not None and out["cold.gain.x"].baseline.startswith(OWN)
    assert out["cold.row.x.own"].spread is None and out["cold.row.x.with_neighbours"].spread is not None
    ends = [next(row for row in table.table if row.name == OWN).auc for table in tables]
    assert out["cold.row_low.x.own"].value == pytest.approx(np.mean([end.low for end in ends]), abs=1e-5)
    assert {f"cold.row_recall3.x.{key}" for key in ROWS} <= set(out) and out["cold.users.x"].value == tables[0].users
