"""The CUSUM: what it finds, what it is immune to whatever p does, what time does to it, and what it remembers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.detection.chances import Chances
from client.detection.cusum import CLIP, DRIFT, GAIN, LEARNED, MOST, CusumDetector, immune_steps
from shared.errors import ConfigError
from tests.world.basics import examples

THRESHOLD = 4.4
any_p = st.one_of(st.floats(0, 1, width=32), st.sampled_from([0.0, 0.001, 0.5, 0.999, 1.0, math.nan]))
streams = st.lists(any_p, min_size=1, max_size=60).map(lambda p: np.array(p, np.float32))


def probability(logits: np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def noisy(n_steps: int, n: int, seed: int = 0, scale: float = 0.3) -> np.ndarray:
    """Logits (T, N) of streams around their own levels."""
    random = np.random.default_rng(seed)
    return random.normal(-0.3, 0.7, n) + scale * random.normal(size=(n_steps, n))


def run(p: np.ndarray, threshold=THRESHOLD, detector: CusumDetector | None = None, memory=None, first: int = 0):
    """(falls, rises, fall statistics, rise statistics, judged) of streams p (T, ..., C), each (T, ..., C); and the memory."""
    rule = detector or CusumDetector()
    memory = rule.start(p.shape[1:]) if memory is None else memory
    everybody, out = np.ones(p.shape[1:], bool), []
    for t, now in enumerate(p):
        a = rule.update(memory, Chances.of_p(now), everybody, first + t, threshold)
        out.append((a.fall, a.rise, *a.strength, a.judged))
    return tuple(np.array(column) for column in zip(*out, strict=True)), memory


def plain(p: list[float], warm: int = 28, season: int = 7) -> list[tuple[float, float]]:
    """Both statistics of one stream at every step, nothing set back: the formulas, in plain Python and double."""
    mean, n, c0, c1, v, last, fall, rise, offsets, out = 0.0, 0, 0.09, 0.0, 0.09, 0.0, 0.0, 0.0, [0.0] * season, []
    for t, value in enumerate(p):
        phi = min(max(c1 / c0, 0.0), 0.8)
        if math.isnan(value):
            last *= phi
        else:
            held = min(max(value, 0.01), 0.99)
            gap = math.log(held / (1 - held)) - mean - offsets[t % season]
            warmed, limit = n >= warm, 3 * math.sqrt(c0)
            residual = min(max(gap, -limit), limit) if warmed else gap
            fresh, scale = gap - phi * last, max(math.sqrt(v), 0.05)
            z = min(max(fresh / scale, -CLIP), CLIP)
            if warmed:
                fall = min(max(fall - DRIFT * z - DRIFT**2 / 2, 0.0), MOST)
                rise = min(max(rise + DRIFT * z - DRIFT**2 / 2, 0.0), MOST)
            if n >= 7:
                w = 1 / min(n + 4, 120)
                c0, c1 = c0 + w * (residual**2 - c0), c1 + w * (residual * last - c1)
                v += w * (min(fresh**2, 9 * scale**2) - v)
                offsets[t % season] += min(max(gap, -1.5), 1.5) / min(n / season + 4, 16)
            mean += residual / min(n + 1, 120)
            last, n = residual, n + 1
        out.append((fall, rise))
    return out


@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_the_statistics_are_those_of_the_formulas(missing):
    logits = noisy(240, 6, seed=3)
    logits[120:, :3] -= 0.4
    p = probability(logits)
    p[np.random.default_rng(1).random(p.shape) < missing] = np.nan
    (_, _, falls, rises, _), _ = run(p, math.inf)
    for i in range(p.shape[1]):
        expected = np.array(plain(p[:, i].tolist()))
        np.testing.assert_allclose(falls[:, i], expected[:, 0], atol=2e-2)
        np.testing.assert_allclose(rises[:, i], expected[:, 1], atol=2e-2)
    assert falls.max() > 3 and np.isfinite(falls).all()


def test_a_lasting_drop_is_a_fall_and_a_lasting_climb_a_rise_within_days():
    logits = noisy(160, 400)
    logits[120:, :200] -= 1.4
    logits[120:, 200:] += 1.4
    (fall, rise, *_), _ = run(probability(logits))
    right = np.concatenate([fall[120:, :200], rise[120:, 200:]], axis=1)
    wrong = np.concatenate([rise[120:, :200], fall[120:, 200:]], axis=1)
    assert right.any(axis=0).mean() > 0.98 and wrong.any(axis=0).mean() < 0.02
    assert np.median(right.argmax(axis=0) + 1) <= 6


def test_after_an_alarm_the_new_level_is_the_usual_one():
    logits = noisy(400, 300, seed=1)
    logits[120:] -= 1.5
    (fall, rise, *_), _ = run(probability(logits))
    assert fall[120:160].any(axis=0).mean() > 0.98
    assert (fall[160:] | rise[160:]).mean() < 1 / 500


def test_a_weekly_season_is_no_shift_once_it_is_learned():
    t = np.arange(300)[:, None]
    weekly = noisy(300, 300, seed=2, scale=0.2) + 1.0 * (t % 7 >= 5)
    (fall, rise, *_), _ = run(probability(weekly))
    assert (fall | rise)[60:].mean() < 1 / 1000
    drop = weekly.copy()
    drop[200:] -= 0.4
    seen = [run(probability(drop), detector=CusumDetector(season_steps=s))[0][0][200:231].any(axis=0) for s in (7, 1)]
    assert seen[0].mean() > 0.95 > 0.5 > seen[1].mean()


# ---- immunity


@examples(150)
@given(streams, streams, st.floats(1.0, 12.0))
def test_no_p_whatever_raises_a_statistic_to_the_threshold_within_the_immune_steps(before, burst, threshold):
    """From a statistic of 0, any `immune_steps(h)` observed steps stay below h, and no step adds more than GAIN."""
    calm = probability(noisy(60, 1)[:, 0])
    _, memory = run(np.concatenate([calm, before])[:, None], math.inf)
    memory[7:9] = 0
    n = immune_steps(threshold)
    (fall, rise, low, high, _), _ = run(burst[:n, None], threshold, memory=memory, first=60 + len(before))
    assert not fall.any() and not rise.any()
    for statistic in (low, high):
        assert (np.diff(statistic[:, 0], prepend=0) <= GAIN + 1e-5).all()


@examples(60)
@given(streams, st.floats(2.0, 6.0))
def test_an_alarm_means_that_its_statistic_was_above_0_for_more_than_the_immune_steps(tail, threshold):
    p = np.concatenate([probability(noisy(70, 1)[:, 0]), tail, tail, tail])
    (fall, rise, low, high, judged), _ = run(p[:, None], threshold)
    for fired, statistic in ((fall[:, 0], low[:, 0]), (rise[:, 0], high[:, 0])):
        for t in np.flatnonzero(fired):
            zeros = np.flatnonzero(statistic[:t] == 0)
            begun = int(zeros[-1]) + 1 if zeros.size else 0
            assert judged[begun : t + 1, 0].sum() > immune_steps(threshold)


def test_the_bound_is_sharp():
    n = immune_steps(THRESHOLD)
    p = np.full(n + 1, 0.999, np.float32)
    _, memory = run(probability(noisy(100, 1)))
    memory[7:9], memory[6] = 0, 0
    (_, rise, *_), _ = run(p[:, None], THRESHOLD, memory=memory, first=100)
    assert np.flatnonzero(rise[:, 0]).tolist() == [n]


# ---- time, NaN, edges


@given(streams)
@pytest.mark.filterwarnings("error")
def test_any_stream_leaves_finite_numbers_behind(p):
    (_, _, low, high, judged), memory = run(np.concatenate([p, p, p])[:, None])
    assert np.isfinite(memory[:-1]).all() and memory.dtype == np.float32
    for statistic in (low, high):
        assert ((statistic >= 0) & (statistic <= MOST)).all()
    assert not judged[np.isnan(np.concatenate([p, p, p]))].any()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
def test_a_stream_that_never_moves_never_fires_and_0_and_1_are_values_like_others(value):
    (fall, rise, *_), memory = run(np.full((300, 1), value, np.float32))
    assert not fall.any() and not rise.any() and np.isfinite(memory).all()
    moved = np.concatenate([np.full((200, 1), 0.5, np.float32), np.full((20, 1), value, np.float32)])
    (fall, rise, *_), _ = run(moved)
    assert bool(fall.any()) == (value == 0.0) and bool(rise.any()) == (value == 1.0)


def test_a_step_without_a_score_teaches_nothing_and_a_jump_of_the_clock_is_such_steps():
    p = probability(noisy(120, 5, seed=4))
    _, memory = run(p)
    kept = memory.copy()
    nothing = np.full((30, 5), np.nan, np.float32)
    (fall, rise, _, _, judged), _ = run(nothing, memory=memory, first=120)
    assert not fall.any() and not rise.any() and not judged.any()
    np.testing.assert_array_equal(np.delete(memory[:-1], 6, axis=0), np.delete(kept[:-1], 6, axis=0))
    assert (np.abs(memory[6]) <= np.abs(kept[6])).all(), "the last residual fades"
    one, other = kept.copy(), kept.copy()
    after = probability(noisy(10, 5, seed=5))
    straight, _ = run(after, memory=one, first=120)
    jumped, _ = run(after, memory=other, first=120 + 7 * 1000)
    for a, b in zip(straight, jumped, strict=True):
        np.testing.assert_array_equal(a, b)


def test_falls_of_interests_that_are_not_established_are_not_shown_but_relearned():
    rule, p = CusumDetector(), probability(np.concatenate([noisy(100, 1), noisy(20, 1) - 2]))
    memory = rule.start((1,))
    fired = [rule.update(memory, Chances.of_p(now), np.zeros(1, bool), t, THRESHOLD) for t, now in enumerate(p)]
    assert not any(a.fall.any() for a in fired) and memory[LEARNED, 0] < 20


# ---- memory


@examples(20)
@given(st.integers(0, 2**32), st.integers(1, 119))
def test_memory_saved_and_restored_at_any_step_goes_on_bit_for_bit(seed, at):
    logits = noisy(120, 8, seed)
    logits[80:] -= 1
    p = probability(logits)
    p[np.random.default_rng(seed).random(p.shape) < 0.1] = np.nan
    straight, end = run(p)
    _, memory = run(p[:at])
    again = np.frombuffer(memory.tobytes(), np.float32).reshape(memory.shape).copy()
    rest, restored_end = run(p[at:], memory=again, first=at)
    assert restored_end.tobytes() == end.tobytes()
    for a, b in zip(straight, rest, strict=True):
        assert a[at:].tobytes() == b.tobytes()


def test_many_streams_at_once_are_each_stream_alone():
    logits = noisy(150, 12, seed=9)
    logits[100:, ::2] -= 1.2
    p = probability(logits)
    p[np.random.default_rng(5).random(p.shape) < 0.1] = np.nan
    together, _ = run(p.reshape(150, 3, 4))
    assert together[0].any()
    for k in np.ndindex(3, 4):
        alone, _ = run(p.reshape(150, 3, 4)[(slice(None), *k)][:, None])
        for many, one in zip(together, alone, strict=True):
            np.testing.assert_array_equal(many[(slice(None), *k)], one[:, 0])


@pytest.mark.parametrize(("season", "window"), [(7, 1), (1, 1), (15, 1), (7, 9)])
def test_a_stream_takes_at_most_100_bytes_for_ever(season, window):
    rule = CusumDetector(season_steps=season, window_steps=window)
    _, memory = run(probability(noisy(50, 10)), detector=rule)
    assert memory.nbytes / 10 <= 100


@pytest.mark.parametrize("arguments", [(7, 7, 1), (28, 0, 1), (28, 7, 0)])
def test_impossible_settings_are_refused(arguments):
    with pytest.raises(ConfigError):
        CusumDetector(*arguments)
