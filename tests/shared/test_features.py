"""Features against a slow plain-Python version, labels, and the proof that nothing looks ahead."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError, InputError
from shared.events import ENGAGEMENT
from shared.features import FeatureSpec, History, established, extract, labels, last_active, seen
from tests.world.basics import examples, random_history

SPECS = [FeatureSpec(12), FeatureSpec(6, (1, 2, 3, 5), (3, 5)), FeatureSpec(26, (2, 4, 8, 13), (1, 12))]

#: numpy's log1p may differ in the last bit between the body and the end of an array.
ONE_BIT = 1e-6


def slow_features(history: History, spec: FeatureSpec, t: int) -> list[list[float]]:
    """Features of every category of one (C, T) history as of step t, one number at a time, by their definitions."""
    active, count, amount = history.active.tolist(), history.count.tolist(), history.amount.tolist()
    w, mid = spec.window_steps, spec.short_steps[2]
    windows = [*spec.short_steps, w]
    user_active = [any(row[s] for row in active) for s in range(t + 1)]

    def window(values: list[float], k: int) -> float:
        return sum(values[max(0, t + 1 - k) : t + 1])

    def steps_since(row: list[bool]) -> float:
        past = [s for s in range(t + 1) if row[s]]
        return t - past[-1] if past else 3 * w

    rows = []
    for a, c, m in zip(active, count, amount, strict=True):
        past = [s for s in range(t + 1) if a[s]]
        recency = steps_since(a)
        interval = (past[-1] - past[0]) / (len(past) - 1) if len(past) >= 2 else 2 * w
        ewma = []
        for span in spec.ewma_steps:
            level = 0.0
            for s in range(t + 1):
                level = (1 - 2 / (span + 1)) * level + 2 / (span + 1) * a[s]
            ewma.append(level)
        row = [window(a, k) / k for k in windows]
        row += [math.log1p(window(c, mid)) / 3, math.log1p(window(c, w)) / 4]
        row += [math.log1p(window(m, mid)) / 4, math.log1p(window(m, w)) / 5]
        row += [recency / w, math.log1p(recency) / 3, (t - past[0] if past else 0) / (2 * w), interval / w]
        row += [min(recency / max(interval, 0.5), 20) / 5, len(past) / w, *ewma, ewma[0] - ewma[1]]
        row += [window(user_active, k) / k for k in windows]
        row += [steps_since(user_active) / w]
        row += [math.log1p(sum(window(other, mid) for other in amount)) / 5]
        row += [sum(window(other, w) > 0 for other in active) / 10]
        row += [window(a, w) / max(window(user_active, w), 1)]
        rows.append([2 * (min(max(v, -3), 3) - 0.5) for v in row])
    return rows


@st.composite
def histories(draw, leading: tuple[int, ...] = ()) -> History:
    shape = (*leading, draw(st.integers(1, 5)), draw(st.integers(1, 30)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return random_history(random, shape, draw(st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.0])))


@examples(60)
@given(histories(), st.sampled_from(SPECS))
def test_every_feature_is_what_its_definition_says(history, spec):
    steps = range(history.n_steps)
    slow = np.array([slow_features(history, spec, t) for t in steps])
    np.testing.assert_allclose(extract(history, spec, steps), slow, atol=3e-6)


def test_features_of_one_small_history_by_hand():
    active = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 0, 1]], bool)
    history = History(active, active * np.float32(0.2), active * np.float32([10, 0, 20, 0, 30]))
    spec = FeatureSpec(10, (1, 2, 4, 8), (1, 3))
    first, second = (
        dict(zip(spec.names, (row / 2 + 0.5).tolist(), strict=True)) for row in extract(history, spec, [4])[0]
    )
    by_hand = {
        "active_1": 0,
        "active_4": 1 / 4,
        "active_10": 2 / 10,
        "log_count_10": math.log(1.4) / 4,
        "log_amount_4": math.log(21) / 4,
        "recency": 2 / 10,
        "log_recency": math.log(3) / 3,
        "tenure": 4 / 20,
        "interval": 2 / 10,
        "recency_per_interval": 1 / 5,
        "active_total": 2 / 10,
        "ewma_1": 0,  # span 1 forgets everything but the newest step
        "ewma_3": 5 / 32,  # 1/2, 1/4, 5/8, 5/16, 5/32
        "ewma_difference": -5 / 32,
        "user_active_4": 2 / 4,
        "user_active_10": 3 / 10,
        "user_recency": 0,
        "user_log_amount_4": math.log(51) / 5,
        "user_breadth": 2 / 10,
        "share_of_user": 2 / 3,
    }
    assert {name: first[name] for name in by_hand} == pytest.approx(by_hand, abs=1e-6)
    assert second["recency"] == pytest.approx(0, abs=1e-6)
    assert second["interval"] == pytest.approx(2), "fewer than two active steps: 2 W"


def test_missing_values_follow_the_stated_policy():
    nothing = History(np.zeros((1, 3), bool), np.zeros((1, 3), np.float32), np.zeros((1, 3), np.float32))
    row = dict(zip(SPECS[0].names, (extract(nothing, SPECS[0], [2])[0, 0] / 2 + 0.5).tolist(), strict=True))
    assert (row["recency"], row["interval"], row["tenure"], row["user_recency"]) == (3, 2, 0, 3)
    assert all(row[name] == 0 for name in row if name.startswith(("active", "ewma", "user_active", "log_amount")))


def test_there_are_27_features_with_names_of_their_own():
    for spec in SPECS:
        assert spec.n_features == len(set(spec.names)) == 27


@given(histories(), st.sampled_from(SPECS), st.data())
def test_no_feature_sees_the_future(history, spec, data):
    """Whatever happens after t, what describes the steps up to t is the same, bit for bit."""
    t = data.draw(st.integers(0, history.n_steps - 1))
    other = random_history(np.random.default_rng(data.draw(st.integers(0, 2**32))), history.active.shape, 0.5)
    other.amount[...] *= np.float32(1e4)
    mixed = History(
        *(
            np.concatenate([getattr(history, name)[:, : t + 1], getattr(other, name)[:, t + 1 :]], axis=1)
            for name in ("active", "count", "amount")
        )
    )
    cut = History(*(getattr(history, name)[:, : t + 1] for name in ("active", "count", "amount")))
    past = range(t + 1)
    watch = {"window_steps": spec.window_steps, "min_active": 2, "lapse_steps": 4}
    for changed in (mixed, cut):
        assert extract(changed, spec, past).tobytes() == extract(history, spec, past).tobytes()
        assert (seen(changed, past) == seen(history, past)).all()
        assert (established(changed, past, **watch) == established(history, past, **watch)).all()


@given(histories(leading=(3,)), st.sampled_from(SPECS))
def test_many_users_at_once_are_each_user_alone(history, spec):
    steps = np.arange(history.n_steps)
    known = steps[: max(0, history.n_steps - 2)]
    watch = {"window_steps": spec.window_steps, "min_active": 2, "lapse_steps": 4}
    together = extract(history, spec, steps)
    assert together.shape == (3, history.n_steps, history.n_categories, 27) and together.dtype == np.float32
    for k in range(3):
        alone = history[k]
        np.testing.assert_allclose(together[k], extract(alone, spec, steps), atol=ONE_BIT)
        np.testing.assert_array_equal(seen(history, steps)[k], seen(alone, steps))
        np.testing.assert_array_equal(labels(history, known, 2)[k], labels(alone, known, 2))
        np.testing.assert_array_equal(established(history, steps, **watch)[k], established(alone, steps, **watch))


@given(histories())
def test_steps_may_be_asked_for_in_any_order_and_twice(history):
    steps = [history.n_steps - 1, 0, history.n_steps - 1]
    in_order = extract(history, SPECS[0], range(history.n_steps))
    np.testing.assert_allclose(extract(history, SPECS[0], steps), in_order[steps], atol=ONE_BIT)


def test_features_stay_in_their_fixed_range_for_any_behaviour():
    wild = History(np.ones((3, 40), bool), np.full((3, 40), 1e9, np.float32), np.full((3, 40), 1e30, np.float32))
    x = extract(wild, SPECS[0], range(40))
    assert np.isfinite(x).all() and x.min() >= -7 and x.max() <= 5


@pytest.mark.parametrize("steps", [[-1], [5], [0, 7], [[0]]])
def test_a_step_that_is_not_closed_is_refused(steps):
    history = random_history(np.random.default_rng(0), (2, 5))
    for ask in (lambda: extract(history, SPECS[0], steps), lambda: seen(history, steps)):
        with pytest.raises(InputError):
            ask()


@given(histories(), st.integers(1, 6))
def test_labels_are_engagement_within_the_horizon_and_unknown_ones_are_refused(history, horizon):
    known = max(0, history.n_steps - horizon)
    found = labels(history, range(known), horizon)
    for t in range(known):
        for c in range(history.n_categories):
            assert found[t, c] == history.active[c, t + 1 : t + horizon + 1].any()
    for t in range(known, history.n_steps):
        with pytest.raises(InputError):
            labels(history, [t], horizon)


@examples(60)
@given(histories(), st.sampled_from([4, 6, 12]), st.integers(1, 5), st.integers(1, 9))
def test_established_is_the_benchmark_s_monitored(history, window, min_active, lapse):
    """Monitored: the last active step saw >= min_active active steps in the window up to it, lies fewer than lapse
    steps back, and the first one at least half a window."""
    steps = range(history.n_steps)
    found = established(history, steps, window_steps=window, min_active=min_active, lapse_steps=lapse)
    for t in steps:
        for c, active in enumerate(history.active.tolist()):
            past = [s for s in range(t + 1) if active[s]]
            expected = False
            if past:
                in_window = [s for s in past if past[-1] - window < s <= past[-1]]
                expected = len(in_window) >= min_active and t - past[-1] < lapse and past[0] <= t - window // 2
            assert found[t, c] == expected, (t, c)


@given(histories())
def test_last_active_and_seen_by_their_definitions(history):
    found = last_active(history.active)
    for c, active in enumerate(history.active.tolist()):
        for t in range(history.n_steps):
            past = [s for s in range(t + 1) if active[s]]
            assert found[c, t] == (past[-1] if past else -1)
            assert seen(history, [t])[0, c] == bool(past)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 4), st.floats(0, 1e4)), max_size=60))
def test_counters_from_events_equal_counters_step_by_step(events):
    columns = [np.array([e[i] for e in events], dtype=np.int64) for i in range(3)]
    amounts = np.array([e[3] for e in events])
    at_once = History.from_events((3, 6), (columns[0], columns[1]), columns[2], amounts, with_kinds=True)
    stepwise = History.empty(3)
    for t in range(6):
        count, amount, kinds = np.zeros(3), np.zeros(3), np.zeros((5, 3), np.uint8)
        for category, step, kind, money in events:
            if step == t:
                count[category] += ENGAGEMENT[kind]
                amount[category] += money
                kinds[kind, category] += 1
        stepwise = stepwise.then(count, amount, kinds)
    np.testing.assert_array_equal(at_once.active, stepwise.active)
    np.testing.assert_allclose(at_once.count, stepwise.count, rtol=1e-6)
    np.testing.assert_allclose(at_once.amount, stepwise.amount, rtol=1e-6)
    np.testing.assert_array_equal(at_once.kinds, stepwise.kinds)
    np.testing.assert_array_equal(History.of_counters(at_once.counters()).kinds, at_once.kinds)
    for where in (np.s_[..., :4], np.s_[1], np.s_[1:], np.s_[[2, 0]], np.s_[:, 2:3]):
        if at_once.active[where].ndim == 2:
            np.testing.assert_array_equal(at_once[where].kinds, np.stack([k[where] for k in at_once.kinds]))


def test_more_events_than_a_step_remembers_stay_at_the_most():
    views = np.zeros(300, np.int64)
    history = History.from_events((1, 1), (views, views), views, views.astype(float), with_kinds=True)
    assert history.kinds[:, 0, 0].tolist() == [255, 0, 0, 0, 0] and history.count[0, 0] == pytest.approx(60)


def test_what_was_not_counted_by_kind_in_every_step_is_not_counted_by_kind():
    known, unknown = History.empty(2), History.empty(2).then(np.ones(2), np.ones(2))
    assert known.kinds is not None and unknown.kinds is None
    assert unknown.then(np.ones(2), np.ones(2), np.ones((5, 2), np.uint8)).kinds is None
    silent = known.then(np.ones(2), np.ones(2), np.ones((5, 2), np.uint8)).then_silent(3)
    assert silent.kinds.shape == (5, 2, 4) and not silent.counters()[..., 1:].any() and silent.counters()[..., 0].all()
    with pytest.raises(InputError):
        History(silent.active, silent.count, silent.amount, silent.kinds[1:])


def test_history_refuses_arrays_that_do_not_belong_together():
    with pytest.raises(InputError):
        History(np.ones((2, 3), bool), np.ones((2, 4), np.float32), np.ones((2, 3), np.float32))
    with pytest.raises(InputError):
        History(np.ones(3, bool), np.ones(3, np.float32), np.ones(3, np.float32))


@pytest.mark.parametrize(
    "arguments",
    [(8,), (12, (1, 2, 2, 4)), (12, (0, 1, 2, 4)), (12, (4, 3, 2, 1)), (12, (1, 2, 4)), (12, (1, 2, 4, 8), (0, 2))],
)
def test_windows_that_do_not_rise_are_refused(arguments):
    with pytest.raises(ConfigError):
        FeatureSpec(*arguments)
