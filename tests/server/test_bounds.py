"""How long honest vectors and sums are: no honest round is ever taken for a false one, and one cheat stands out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from server.bounds import TAIL, length, longest, longest_honest_mean
from server.channel import Traffic
from server.rounds import open_sum
from shared.arrays import Words
from shared.errors import ConfigError
from shared.events import Catalogue
from shared.mechanisms import DiscreteGaussian, protect
from shared.plan import Plan, PrivacyPlan
from simulations.evaluation.aggregates import bounds_power
from simulations.evaluation.aggregates.bounds_power import POWER, found_length
from simulations.people.setup import Crowd, Setup
from simulations.scenarios.config import SCENARIOS, load_scenario
from tests.world.basics import examples, full, make_plan

#: How many people the shipped scenarios that take everybody have.
EVERYBODY = {"complete-journey": 2456, "online-retail-ii": 4718, "ta-feng": 30_859, "ta-feng-days": 30_859}
SHIPPED = sorted(file.stem for file in SCENARIOS.glob("*.toml"))


def shipped(name: str) -> tuple[Plan, tuple[float, float]]:
    """A shipped scenario's plan, and how long it takes honest means of p and of phi to be."""
    scenario = load_scenario(name)
    people = Crowd(scenario.data.users or EVERYBODY[scenario.data.name], Catalogue(("a", "b")))
    return Setup.of(scenario, people).plan, (scenario.server.longest_mean, scenario.risk.longest_mean)


def noise_of(privacy: PrivacyPlan, n_shares: int, size: int) -> Words:
    """The sum of so many shares, as few larger ones: what the two differ by is below 1e-16 here (shared/rdp.py)."""
    n = max(1, math.ceil((privacy.share_sigma * math.sqrt(n_shares) / 4000) ** 2))  # tables of more are slow to make
    one = DiscreteGaussian(privacy.share_sigma * math.sqrt(n_shares / n))
    total = np.zeros(size, np.uint32)
    for _ in range(n):
        total += one.sample_words((size,))
    return total


def direction(size: int, steps: float) -> Words:
    """A vector of this length along one direction, rounded towards zero."""
    unit = np.random.default_rng(size).normal(size=size)
    return (unit * (steps / np.linalg.norm(unit))).astype(np.int64).astype(np.uint32)


@pytest.mark.parametrize("name", SHIPPED)
def test_no_honest_round_of_a_shipped_plan_is_ever_refused(name):
    """10,000 rounds of each in `make soak`: everybody's vectors as long and as much alike as the plan's server takes honest
    ones to be, from the fewest to the most devices that can answer."""
    plan, means = shipped(name)
    for kind, longest_mean in zip(plan.updates, means, strict=False):
        privacy, traffic = kind.privacy, Traffic()
        for n in (privacy.min_survivors, privacy.population):
            honest = direction(kind.n_values, longest_honest_mean(n, longest_mean) * n * privacy.steps_per_clip)
            for _ in range(full(250)):
                total = honest + noise_of(privacy, n, kind.n_values)
                assert open_sum(total, n, privacy, traffic, longest_mean) is not None
        assert not traffic.dropped


@pytest.mark.parametrize("name", SHIPPED)
def test_no_honest_vector_of_a_shipped_plan_is_refused_and_one_of_100_clips_always_is(name):
    plan, _ = shipped(name)
    for kind in plan.updates:
        privacy = kind.privacy
        raw = np.tile(np.random.default_rng(3).normal(size=kind.n_values), (full(400), 1))  # clipped: of the full norm
        clipped = {"clip_norm": privacy.clip_norm, "steps_per_clip": privacy.steps_per_clip}
        vectors = protect(1e6 * raw, share_sigma=privacy.share_sigma, **clipped)
        bound = longest(privacy, kind.n_values)
        assert max(map(length, vectors)) <= bound
        loud = vectors + direction(kind.n_values, 99 * privacy.steps_per_clip)
        assert min(map(length, loud)) > bound


@pytest.mark.parametrize("name", SHIPPED)
def test_the_lone_attacker_that_the_docs_print_is_found_in_the_sum(name):
    plan, means = shipped(name)
    for kind, longest_mean in zip(plan.updates, means, strict=False):
        privacy = kind.privacy
        n, trials = privacy.min_survivors, full(300)
        clips = found_length(privacy, kind.n_values, n, longest_mean)
        attack = direction(kind.n_values, clips * privacy.steps_per_clip)
        found = [
            open_sum(attack + noise_of(privacy, n, kind.n_values), n, privacy, Traffic(), longest_mean) is None
            for _ in range(trials)
        ]
        assert np.mean(found) >= POWER - 4 * math.sqrt(POWER * (1 - POWER) / trials)


def test_where_the_honest_mean_is_short_about_24_times_the_noise_is_found():
    """Behind so much noise that the mean is next to nothing beside it."""
    cohort = {"population": 1000, "min_survivors": 1000, "steps_per_clip": 512}
    privacy = make_plan(privacy={"noise_multiplier": 1000.0, **cohort}).privacy
    assert 22 < found_length(privacy, 1441, 1000, longest_mean=1e-3) / privacy.noise_multiplier < 27


def test_far_above_the_noise_the_lone_attacker_is_found_as_just_below(monkeypatch):
    """The series and what stands for it, where both hold; and a million devices get a number."""
    cohort = {"population": 300_000, "min_survivors": 270_000, "steps_per_clip": 1024, "delta": 1e-7}
    privacy = make_plan(privacy={"noise_multiplier": 3.65, **cohort}).privacy
    lengths = []
    for far in (0.0, math.inf):
        monkeypatch.setattr(bounds_power, "FAR", far)
        lengths.append(found_length(privacy, 1441, 270_000))
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-9)
    monkeypatch.undo()
    cohort |= {"population": 1_000_000, "min_survivors": 900_000}
    many = make_plan(privacy={"noise_multiplier": 3.65, **cohort}).privacy
    beyond = found_length(many, 1441, 900_000) - 900_000
    assert beyond == pytest.approx(lengths[0] - 270_000, rel=0.01), "what it adds to honest clips is of the noise alone"


def test_the_mean_of_devices_drawn_from_people_is_as_short_as_is_said():
    """Of unit vectors whose mean is a tenth long, few and many of them, drawn again and again."""
    random = np.random.default_rng(4)
    for n in (10, 100, 2000):
        bound = longest_honest_mean(n, 0.1)
        for _ in range(full(200)):
            drawn = random.normal(size=(n, 20))
            drawn[:, 0] += 0.45  # in 20 dimensions: about a tenth of a vector's length
            drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
            assert np.linalg.norm(drawn.mean(axis=0)) <= bound <= 1


def test_a_sum_that_one_device_spoils_is_not_opened_and_counted_and_the_next_is():
    plan = make_plan(privacy={"population": 8, "min_survivors": 4, "noise_multiplier": 1.0})
    (kind,) = plan.updates
    honest, traffic = noise_of(plan.privacy, 8, kind.n_values), Traffic()
    for spoiled in (2**30, 2**31 - 1, -(2**31), 100 * plan.privacy.steps_per_clip):
        vector = honest + np.full(kind.n_values, spoiled, np.int64).astype(np.uint32)
        assert open_sum(vector, 8, plan.privacy, traffic) is None
    assert traffic.dropped == {"round_too_long": 4}
    assert open_sum(honest, 8, plan.privacy, traffic) is not None


@examples(200)
@given(
    st.integers(1, 2000),
    st.integers(1, 10_000),
    st.floats(1e-3, 1.0),
    st.floats(0.0, 20.0),
)
def test_the_bound_is_never_below_the_clips_and_grows_with_everything(n_values, n_vectors, mean, z):
    privacy = PrivacyPlan(1.0, z if z > 0.5 else 0.0, 1.0, 1, 10_000, 100, steps_per_clip=4096)
    bound = longest(privacy, n_values, n_vectors, mean)
    assert bound >= mean * n_vectors * privacy.steps_per_clip * (1 - 1e-12)
    assert longest(privacy, n_values + 1, n_vectors, mean) >= bound
    assert longest(privacy, n_values, n_vectors + 1, mean) > bound


def test_the_stated_tail_is_an_upper_bound():
    """Against the exact chi-square: the bound is beyond the quantile of half the tail, and not far beyond."""
    privacy = make_plan(privacy={"noise_multiplier": 4.0, "population": 300, "min_survivors": 255}).privacy
    for size in (2, 100, 1441):
        sigma = privacy.share_sigma * math.sqrt(255)
        mean = longest_honest_mean(255, 1e-12) * 255 * privacy.steps_per_clip / sigma
        exact = math.sqrt(stats.ncx2.isf(TAIL / 2, size, mean**2))
        assert exact < longest(privacy, size, 255, longest_mean=1e-12) / sigma < 1.2 * exact


@pytest.mark.parametrize("mean", [0.0, -1.0, 1.01, math.nan, math.inf])
def test_a_longest_mean_that_is_none_is_refused(mean):
    with pytest.raises(ConfigError, match="longest_mean"):
        longest(make_plan().privacy, 10, 2, mean)
