"""Which rows a device trains on: the same draw for the same (seed, round, device), never a row without a known label."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.model.training_rows import batches, draw, draw_masks, generator, labelled_rows
from shared.features import History, extract
from shared.plan import LocalTraining
from tests.world.basics import FEATURES, full, make_plan, random_history


@given(st.integers(0, 2**32), st.integers(0, 25), st.integers(1, 5), st.integers(1, 12))
def test_rows_are_the_seen_categories_of_recent_steps_with_a_known_label(seed, n_steps, horizon, history_steps):
    history = random_history(np.random.default_rng(seed), (4, n_steps), 0.15)
    x, y = labelled_rows(history, FEATURES, horizon, history_steps)
    expected_x, expected_y = [], []
    last = n_steps - 1 - horizon
    for t in range(max(0, last - history_steps + 1), last + 1):
        for c in range(4):
            if history.active[c, : t + 1].any():
                expected_x.append(extract(history, FEATURES, [t])[0, c])
                expected_y.append(history.active[c, t + 1 : t + 1 + horizon].any())
    assert x.shape == (len(expected_y), 27) and x.dtype == y.dtype == np.float32
    np.testing.assert_array_equal(y, np.array(expected_y, np.float32))
    if expected_x:
        np.testing.assert_allclose(x, expected_x, atol=1e-6)


def test_a_new_device_has_no_rows():
    for history in (History.empty(3), random_history(np.random.default_rng(0), (3, 2))):
        x, y = labelled_rows(history, FEATURES, 2, 10)
        assert x.shape == (0, 27) and y.shape == (0,)


@given(st.integers(0, 200), st.integers(1, 4), st.integers(1, 40), st.integers(0, 99))
def test_each_step_draws_without_replacement_and_pads_what_is_missing(n_available, steps, rows, seed):
    picks = draw(n_available, steps, rows, np.random.default_rng(seed))
    assert picks.shape == (steps, rows)
    for step in picks:
        real = step[step >= 0]
        assert real.size == min(n_available, rows) == len(set(real.tolist()))
        assert (step[real.size :] == -1).all() and (real < n_available).all()


def test_a_draw_is_uniform_over_the_rows():
    n = full(4000)
    counts = np.zeros(10)
    for round_number in range(n):
        counts[draw(10, 1, 4, generator(3, round_number, 11))] += 1
    expected = n * 0.4
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected * 0.6)).all()


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**63 - 1))
def test_seed_round_and_device_each_give_another_stream_and_the_same_ones_the_same(seed, round_number, device):
    def first(*key: int) -> bytes:
        return generator(*key).bytes(32)

    assert first(seed, round_number, device) == first(seed, round_number, device)
    others = {
        first(seed ^ 1, round_number, device),
        first(seed, round_number ^ 1, device),
        first(seed, round_number, device ^ 1),
    }
    assert len(others | {first(seed, round_number, device)}) == 4


def test_streams_of_two_rounds_do_not_overlap():
    """Philox counts within a round in words that the round number does not touch."""
    one, two = (generator(5, r, 9).integers(0, 2**63, 20_000) for r in (0, 1))
    assert not set(one.tolist()) & set(two.tolist())


def test_masks_keep_the_expected_share_and_the_expected_sum():
    masks = draw_masks(LocalTraining(local_steps=20, rows=50, dropout=0.3), 48, generator(1, 2, 3))
    assert masks.shape == (20, 50, 48) and masks.dtype == np.float32
    assert set(np.unique(masks)) == {np.float32(0), np.float32(1) / np.float32(0.7)}
    share = (masks > 0).mean()
    assert abs(share - 0.7) < 5 * np.sqrt(0.21 / masks.size)
    assert (draw_masks(LocalTraining(rows=3), 48, generator(1, 2, 3)) == 1).all(), "no dropout: ones"


@pytest.mark.parametrize("n", [0, 1, 15, 16, 40])
def test_the_divisor_is_constant_however_few_rows_a_device_has(n):
    plan = make_plan(training={"local_steps": 3, "rows": 16})
    random = np.random.default_rng(n)
    x, y = random.normal(size=(n, 27)).astype(np.float32), np.ones(n, np.float32)
    work = batches(x, y, plan, 4, 9)
    assert work.x.shape == (3, 16, 27) and work.masks.shape == (3, 16, 48)
    for step in range(3):
        real = work.weight[step] > 0
        assert real.sum() == min(n, 16)
        assert (work.weight[step][real] == np.float32(1 / 16)).all()
        assert not work.x[step][~real].any() and not work.y[step][~real].any()
        assert all((row == x).all(axis=1).any() for row in work.x[step][real])


def test_the_same_round_gives_the_same_work_and_another_round_another():
    plan = make_plan(training={"rows": 8, "dropout": 0.5})
    x = np.random.default_rng(0).normal(size=(30, 27)).astype(np.float32)
    y = np.zeros(30, np.float32)
    one, again, other, neighbour = (batches(x, y, plan, *k) for k in ((4, 9), (4, 9), (5, 9), (4, 10)))
    assert one.x.tobytes() == again.x.tobytes() and one.masks.tobytes() == again.masks.tobytes()
    for different in (other, neighbour):
        assert one.x.tobytes() != different.x.tobytes() and one.masks.tobytes() != different.masks.tobytes()
