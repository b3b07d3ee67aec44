"""The article's worked example with the right numbers; crossings; and every detector against plain Python."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from client.detection.chances import Chances
from client.detection.cusum import CusumDetector
from client.detection.detector_table import DETECTORS as TABLE
from client.detection.detector_table import detector_for
from client.detection.detectors import Alarms, LevelDetector, OwnLevelDetector, RateDetector
from shared.errors import ConfigError
from shared.plan import DETECTORS as NAMES
from shared.plan import Detection

DETECTORS = [
    RateDetector(1, 0.2),
    RateDetector(3, 0.05),
    LevelDetector(0.15, 0.85),
    LevelDetector(0.3, 0.6, window_steps=2),
    OwnLevelDetector(8, 1.0, 1.5),
    OwnLevelDetector(3, 0.4, 0.4, window_steps=3),
]


def run(detector, stream: np.ndarray, established: np.ndarray | None = None) -> list[Alarms]:
    """Alarms of a stream (T, ..., C), step by step; established everywhere unless told."""
    memory, out = detector.start(stream.shape[1:]), []
    watched = np.ones(stream.shape, bool) if established is None else established
    for p, at in zip(stream.astype(np.float32), watched, strict=True):
        alarms = detector.update(memory, Chances.of_p(p), at)
        assert memory.dtype == np.float32
        out.append(alarms)
    return out


ARTICLE = np.array([[0.3, 0.4, 0.6, 0.5], [0.2, 0.3, 0.5, 0.4], [0.1, 0.2, 0.4, 0.5]]).T  # (observation, A B C)


def test_the_article_s_worked_example():
    """MISSION: rates A +.1 +.2 -.1, B +.1 +.2 -.1, C +.1 +.2 +.1; "reaches .2" fires on A, B and C at observation 3."""
    alarms = run(RateDetector(1, 0.2), ARTICLE)
    assert np.isnan(alarms[0].rate).all(), "no rate before the second observation"
    rates = np.array([a.rate for a in alarms[1:]]).T
    np.testing.assert_allclose(rates, [[0.1, 0.2, -0.1], [0.1, 0.2, -0.1], [0.1, 0.2, 0.1]], atol=1e-6)
    assert [a.rise.tolist() for a in alarms] == [[False] * 3, [False] * 3, [True] * 3, [False] * 3]
    assert not any(a.fall.any() for a in alarms)


def test_the_article_s_example_backwards_is_a_fall_and_never_a_rise():
    """The same sizes downwards: |r| would be the same, falls and rises are not."""
    alarms = run(RateDetector(1, 0.2), 1 - ARTICLE)
    assert [a.fall.tolist() for a in alarms] == [[False] * 3, [False] * 3, [True] * 3, [False] * 3]
    assert not any(a.rise.any() for a in alarms)


@pytest.mark.parametrize("threshold", [0.1, 0.2, 0.3, 0.05, 0.7])
def test_reaching_the_threshold_counts_in_floating_point_too(threshold):
    """.3 - .2 is not .1 in binary; a rise by the threshold fires, a rise by less does not."""
    for start in np.arange(0, 1 - threshold, 0.1):
        reached = run(RateDetector(1, threshold), np.array([[start], [start + threshold]]))
        short = run(RateDetector(1, threshold), np.array([[start], [start + threshold - 1e-4]]))
        assert reached[1].rise.all() and not short[1].rise.any()


def test_the_rate_is_per_step_over_a_window():
    alarms = run(RateDetector(3, 0.1), np.array([[0.1], [0.9], [0.1], [0.4], [0.6]]))
    assert [math.isnan(float(a.rate[0])) for a in alarms] == [True, True, True, False, False]
    np.testing.assert_allclose([a.rate[0] for a in alarms[3:]], [0.1, -0.1], atol=1e-6)
    assert [(bool(a.fall[0]), bool(a.rise[0])) for a in alarms[3:]] == [(False, True), (True, False)]


def test_level_fires_on_the_crossing_only():
    stream = np.array([0.5, 0.15, 0.1, 0.1, 0.16, 0.12, 0.85, 0.9, 0.5, 0.85])[:, None]
    established, new = (
        run(LevelDetector(0.15, 0.85), stream),
        run(LevelDetector(0.15, 0.85), stream, np.zeros(stream.shape, bool)),
    )
    assert [t for t, a in enumerate(established) if a.fall[0]] == [1, 5]
    assert [t for t, a in enumerate(new) if a.rise[0]] == [6, 9]


def test_level_falls_are_for_established_interests_and_rises_for_new_ones():
    fall, rise = np.array([[0.5], [0.1]]), np.array([[0.5], [0.9]])
    nobody = np.zeros((2, 1), bool)
    assert run(LevelDetector(0.15, 0.85), fall)[1].fall.all()
    assert not run(LevelDetector(0.15, 0.85), fall, nobody)[1].fall.any()
    assert not run(LevelDetector(0.15, 0.85), rise)[1].rise.any()
    assert run(LevelDetector(0.15, 0.85), rise, nobody)[1].rise.all()


def slow_own_level(stream: list[float], span: int, fall_margin: float, rise_margin: float) -> list[tuple[bool, bool]]:
    level, was_low, was_high, out = None, False, False, []
    for p in stream:
        held = min(max(p, 0.01), 0.99)
        logit = math.log(held / (1 - held))
        level = logit if level is None else level
        gap = logit - level
        assume(min(abs(gap + fall_margin), abs(gap - rise_margin)) > 1e-4)  # too close to call in float32
        low, high = gap <= -fall_margin, gap >= rise_margin
        out.append((low and not was_low, high and not was_high))
        was_low, was_high, level = low, high, level + 2 / (span + 1) * gap
    return out


@given(st.integers(0, 2**32))
def test_own_level_is_the_gap_to_a_slow_average_of_logits(seed):
    random = np.random.default_rng(seed)
    stream = np.clip(0.5 + np.cumsum(random.normal(0, 0.15, 40)), 0, 1)
    alarms = run(OwnLevelDetector(8, 1.0, 1.5), stream[:, None])
    assert [(bool(a.fall[0]), bool(a.rise[0])) for a in alarms] == slow_own_level(stream.tolist(), 8, 1.0, 1.5)


def test_own_level_fires_once_for_a_lasting_drop_and_only_when_established():
    stream = np.array([0.8] * 6 + [0.2] * 6)[:, None]
    assert [t for t, a in enumerate(run(OwnLevelDetector(8, 1.0, 1.0), stream)) if a.fall[0]] == [6]
    nobody = np.zeros(stream.shape, bool)
    assert not any(a.fall.any() for a in run(OwnLevelDetector(8, 1.0, 1.0), stream, nobody))
    assert [t for t, a in enumerate(run(OwnLevelDetector(8, 1.0, 1.0), 1 - stream, nobody)) if a.rise[0]] == [6]


streams = st.lists(
    st.one_of(st.floats(0, 1, width=32), st.just(math.nan), st.sampled_from([0.0, 0.15, 0.85, 1.0])), max_size=25
)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: f"{type(d).__name__}-{d.window_steps}")
@given(stream=streams, seed=st.integers(0, 99))
def test_no_score_never_fires_and_never_both_ways_at_once(detector, stream, seed):
    values = np.array(stream, np.float64)[:, None]
    established = np.random.default_rng(seed).random(values.shape) < 0.5
    for p, alarms in zip(stream, run(detector, values, established), strict=True):
        assert alarms.fall.dtype == alarms.rise.dtype == bool
        assert not (alarms.fall & alarms.rise).any()
        if math.isnan(p):
            assert not alarms.fall.any() and not alarms.rise.any()


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: f"{type(d).__name__}-{d.window_steps}")
def test_the_first_score_of_a_stream_never_fires(detector):
    for p in (0.0, 0.01, 0.5, 0.99, 1.0):
        for established in (True, False):
            stream = np.array([[math.nan], [math.nan], [p]])
            for alarms in run(detector, stream, np.full(stream.shape, established)):
                assert not alarms.fall.any() and not alarms.rise.any()


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: f"{type(d).__name__}-{d.window_steps}")
def test_many_streams_at_once_are_each_stream_alone(detector):
    random = np.random.default_rng(5)
    stream = random.random((30, 3, 4))
    stream[random.random(stream.shape) < 0.05] = np.nan
    established = random.random(stream.shape) < 0.5
    together = run(detector, stream, established)
    n_fired = sum(int(a.fall.sum() + a.rise.sum()) for a in together)
    assert n_fired > 10
    for k in np.ndindex(3, 4):
        at = (slice(None), *k)
        alone = run(detector, stream[at][:, None], established[at][:, None])
        for many, one in zip(together, alone, strict=True):
            assert (many.fall[k], many.rise[k]) == (one.fall[0], one.rise[0])
            np.testing.assert_array_equal(many.rate[k], one.rate[0])


def test_the_table_makes_every_detector_that_a_plan_may_name_and_no_other():
    assert set(TABLE) == set(NAMES)
    made = {name: detector_for(Detection(detector=name)) for name in TABLE}
    assert {name for name, one in made.items() if one.adapts} == {"cusum"}
    assert {name for name, one in made.items() if one.reads_risk} == {"risk", "slow_average"}


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_detector_takes_the_same_arguments_and_says_what_it_reads(name):
    """phi moves the alarms of a detector that reads it and of no other; so does a threshold, and only an adapting one judges."""
    detector = detector_for(Detection(detector=name, warm_steps=8))
    random = np.random.default_rng(2)
    stream = np.where(np.arange(60)[:, None] < 40, 0.9, 0.1) + 0.05 * random.random((60, 5))

    def said(risk, threshold):
        memory, out = detector.start((5,)), []
        for step, p in enumerate(stream.astype(np.float32)):
            alarms = detector.update(memory, Chances.of_p(p, risk), np.ones(5, bool), step, threshold)
            assert (alarms.judged is not None) == detector.adapts
            out.append(alarms.fall)
        return np.array(out)

    quiet = said(None, math.inf)
    assert (said(np.full(5, 0.9, np.float32), math.inf) != quiet).any() == detector.reads_risk
    assert (said(None, 2.0) != quiet).any() == detector.adapts


def test_a_plan_names_its_detector():
    rate = detector_for(Detection(detector="rate", rate_window_steps=3, rate_threshold=0.4))
    assert isinstance(rate, RateDetector) and (rate.window_steps, rate.threshold) == (3, 0.4)
    level = detector_for(Detection(detector="level", fall_level=0.2, rise_level=0.7, rate_window_steps=2))
    assert isinstance(level, LevelDetector) and (level.fall_level, level.rise_level, level.window_steps) == (
        0.2,
        0.7,
        2,
    )
    own = detector_for(Detection(detector="own_level", own_span_steps=9, fall_margin=0.5, rise_margin=0.6))
    cusum = detector_for(Detection(detector="cusum", warm_steps=30, season_steps=7))
    assert isinstance(cusum, CusumDetector) and (cusum.warm_steps, cusum.season_steps) == (30, 7)
    assert isinstance(own, OwnLevelDetector) and (own.span_steps, own.fall_margin, own.rise_margin) == (9, 0.5, 0.6)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (RateDetector, (0, 0.2)),
        (RateDetector, (1, 0.0)),
        (RateDetector, (1, math.nan)),
        (LevelDetector, (0.9, 0.1)),
        (LevelDetector, (-0.1, 0.5)),
        (LevelDetector, (0.1, 1.5)),
        (OwnLevelDetector, (0, 1.0, 1.0)),
        (OwnLevelDetector, (5, 0.0, 1.0)),
        (OwnLevelDetector, (5, 1.0, -1.0)),
    ],
)
def test_settings_that_could_never_or_always_fire_are_refused(kind, arguments):
    with pytest.raises(ConfigError):
        kind(*arguments)
