"""Rules of thumb and detectors on activity: by hand, by brute force, and without a look at the future."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from river import drift

from shared.features import FeatureSpec, History, Richer, extract
from shared.heads.inputs import LEAST_LEVEL, log_level
from simulations.baselines import counter_rules as rules
from simulations.baselines.bgnbd import BgNbd
from simulations.evaluation.replay import change_rate
from tests.world.basics import counted_history, random_history

MODEL = BgNbd(0.8, 6.0, 1.4, 3.0)


def of_streams(*streams: str) -> History:
    """One user, a category per stream: '1' is an active step."""
    active = np.array([[[mark == "1" for mark in stream] for stream in streams]])
    return History(active, active.astype(np.float32), active.astype(np.float32))


def all_pairs(history: History) -> np.ndarray:
    return np.ones(history.active.shape[:-1], bool)


RULES: dict[str, Callable[[History, list[int]], np.ndarray]] = {
    "silence": rules.silence,
    "own interval": rules.silence_per_interval,
    "ewma": partial(rules.ewma, span=4),
    "ewma rise": partial(rules.ewma_rise, spans=(2, 8)),
    "level and rate rising": partial(rules.level_and_rate, span=8),
    "cusum": rules.cusum,
    "cusum rising": partial(rules.cusum, rising=True),
    "p_alive": partial(rules.gone, model=MODEL),
    "p_silent": partial(rules.silent_ahead, model=MODEL, lapse_steps=8),
    "page-hinkley": lambda history, steps: rules.page_hinkley(history, steps, all_pairs(history)),
    "page-hinkley rising": lambda history, steps: rules.page_hinkley(history, steps, all_pairs(history), rising=True),
    "adwin": lambda history, steps: rules.adwin(history, steps, all_pairs(history)),
}


@pytest.mark.parametrize("name", RULES)
def test_no_rule_looks_at_the_future(name: str) -> None:
    random = np.random.Generator(np.random.Philox(5))
    history, other = (random_history(random, (8, 3, 40)) for _ in range(2))
    for t in (12, 25, 38):
        changed = History(*(np.array(getattr(history, column)) for column in ("active", "count", "amount")))
        for column in ("active", "count", "amount"):
            getattr(changed, column)[..., t + 1 :] = getattr(other, column)[..., t + 1 :]
        steps = [t - 2, t]
        before, after = (RULES[name](each, steps) for each in (history, changed))
        assert before.shape == (8, 2, 3)
        np.testing.assert_array_equal(before, after)
        np.testing.assert_array_equal(before, RULES[name](history.until(t), steps))


@pytest.mark.parametrize("name", [name for name in RULES if not name.endswith(("rise", "rising"))])
def test_an_end_after_a_steady_habit_scores_higher_than_the_habit(name: str) -> None:
    history = of_streams("1101101101101101101101101101", "1101101101101101000000000000")
    score = RULES[name](history, [27])[0, 0]
    assert score[1] > score[0]


@pytest.mark.parametrize("name", ["ewma rise", "cusum rising", "page-hinkley rising"])
def test_a_rise_scores_higher_than_quiet(name: str) -> None:
    history = of_streams("1000000010000000100000001000", "1000000010000000100000101111")
    score = RULES[name](history, [27])[0, 0]
    assert score[1] > score[0]


def test_silence_and_interval_by_hand() -> None:
    history = of_streams("0100100100", "0000010000")
    assert rules.silence(history, [4, 9])[0].tolist() == [[0, 5], [2, 4]]
    assert rules.silence_per_interval(history, [6, 9])[0, :, 0].tolist() == [2 / 3, 2 / 3]


def test_the_slow_average_is_that_of_the_features() -> None:
    features = FeatureSpec(12)
    history = random_history(np.random.Generator(np.random.Philox(6)), (5, 3, 30))
    x = extract(history, features, [10, 29])[..., features.names.index("ewma_8")]
    np.testing.assert_allclose(-rules.ewma(history, [10, 29], 8), x / 2 + 0.5, atol=1e-6)


def test_the_cusum_step_by_step() -> None:
    stream = "0110111010000001"
    level, n, total, expected = 0.0, 0, 0, []
    for mark in stream:
        x = int(mark)
        if n:
            own = min(max(total / n, 0.02), 0.98)
            low = own / 4
            level = max(0.0, level + (np.log(low / own) if x else np.log((1 - low) / (1 - own))))
        n, total = (n + 1, total + x) if n or x else (0, 0)
        expected.append(level)
    np.testing.assert_allclose(rules.cusum(of_streams(stream), range(16))[0, :, 0], expected)


def test_page_hinkley_is_the_test_of_page_and_river_fires_by_it() -> None:
    random = np.random.Generator(np.random.Philox(7))
    stream = np.concatenate([[1], random.random(59) < 0.7, random.random(60) < 0.1]).astype(float)
    active = (stream > 0)[None, None]
    history = History(active, active.astype(np.float32), active.astype(np.float32))
    mean = np.cumsum(stream) / np.arange(1, 121)
    total, highest, expected = 0.0, -np.inf, []
    for value, own in zip(stream, mean, strict=True):
        total = (1 - 0.0001) * total + value - own + 0.005
        highest = max(highest, total)
        expected.append(highest - total)
    score = rules.page_hinkley(history, range(120), np.ones((1, 1), bool))[0, :, 0]
    np.testing.assert_allclose(score, expected, atol=1e-9)
    detector = drift.PageHinkley(threshold=9.0, mode="down", min_instances=1)
    fired = 0
    while not detector.drift_detected:
        detector.update(stream[fired])
        fired += 1
    assert fired - 1 == int(np.argmax(score > 9.0)) > 60


@pytest.mark.parametrize("rising", [False, True])
def test_page_hinkley_of_many_streams_is_river_s_of_each(rising: bool) -> None:
    history = random_history(np.random.Generator(np.random.Philox(9)), (20, 3, 60), rate=0.15)
    score = rules.page_hinkley(history, range(10, 60), all_pairs(history), rising=rising)
    for user, category in np.ndindex(20, 3):
        stream, detector = history.active[user, category], drift.PageHinkley(threshold=np.inf, mode="up")
        for t in range(60):
            if not stream[: t + 1].any():
                assert t < 10 or np.isnan(score[user, t - 10, category])
                continue
            detector.update(float(stream[t]))
            rise = detector._sum_increase - detector._min_increase
            fall = detector._max_decrease - detector._sum_decrease
            assert t < 10 or score[user, t - 10, category] == (rise if rising else fall)


def test_adwin_forgets_what_was_before_a_change() -> None:
    steady = np.ones((1, 1, 400), bool)
    steady[..., 300:] = False
    history = History(steady, steady.astype(np.float32), steady.astype(np.float32))
    before, after = rules.adwin(history, [299, 399], np.ones((1, 1), bool))[0, :, 0]
    assert before == -1 and after > -0.2 > -steady.mean()


def test_streams_that_nobody_asked_for_are_not_watched() -> None:
    history = random_history(np.random.Generator(np.random.Philox(8)), (2, 2, 20), rate=0.9)
    pairs = np.array([[True, False], [False, True]])
    for score in (rules.page_hinkley(history, [15, 19], pairs), rules.adwin(history, [15, 19], pairs)):
        assert np.isfinite(score[0, :, 0]).all() and np.isfinite(score[1, :, 1]).all()
        assert np.isnan(score[0, :, 1]).all() and np.isnan(score[1, :, 0]).all()


def test_the_change_rate_is_that_of_the_article_and_unknown_where_p_is() -> None:
    p = np.array([np.nan, 0.2, 0.6, 0.5])[None, :, None]
    np.testing.assert_allclose(change_rate(p, 1)[0, :, 0], [np.nan, np.nan, 0.4, -0.1])
    np.testing.assert_allclose(change_rate(p, 2)[0, :, 0], [np.nan, np.nan, np.nan, 0.15])
    assert np.isnan(change_rate(p, 5)).all()


def test_the_rules_that_heads_start_from_are_what_heads_read() -> None:
    """Take-offs: log level and half the user's log rate; lapses: the log level, which ranks as the average over two windows does."""
    history = counted_history(np.random.Generator(np.random.Philox(8)), (30, 4, 40), rate=0.05)
    features = FeatureSpec(12, more=Richer(8, 0.7, 6.0, 0.6, 4.0))
    x, steps = extract(history, features, [20, 39]), [20, 39]
    half_rate = x[..., features.names.index("user_log_rate")]
    there = history.active[..., :21].any(axis=(1, 2))
    assert there.sum() > 20 and (~history.active[there].any(axis=-1)).any(), "some have seen little"
    expected = (log_level(features, x) + half_rate)[there]
    np.testing.assert_allclose(rules.level_and_rate(history, steps, 24)[there], expected, atol=2e-6)
    np.testing.assert_allclose(
        np.log(-rules.ewma(history, steps, 24) + LEAST_LEVEL)[there], log_level(features, x)[there], atol=2e-6
    )
