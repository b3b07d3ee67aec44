"""How far one device can move a sum. Neighbours: its contribution becomes the null contribution while it still takes part,
noise share and all. Measured in whole grid steps, after quantisation, so that rounding is inside the bound."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.lapse_risk import N_COEFFICIENTS, READINGS
from shared.mechanisms import clip_to_grid, from_grid, protect
from tests.world.basics import (
    event_stream,
    examples,
    full,
    make_plan,
    make_profile,
    make_risk,
    open_device,
    ready,
    replayed_entropy,
)

CLIPS = [1e-3, 0.1, 1 / 3, 0.5, 7.7, 1e6]
STEPS = [16, 100, 4096, 2**24]
SIZES = [1, 2, 3, 16, 256, 1441]


def norm_squared(grid: np.ndarray) -> int:
    """Exact, in Python integers."""
    return sum(v * v for v in grid.tolist())


def adversarial(clip_norm: float, steps: int, size: int, seed: int) -> list[np.ndarray]:
    """Vectors on and around the clip sphere, where one rounding the wrong way breaks the bound."""
    random = np.random.default_rng(seed)
    grid_step = clip_norm / steps
    direction = random.normal(size=size)
    direction /= np.linalg.norm(direction)
    single = np.zeros(size)
    single[random.integers(size)] = random.choice([-1, 1])
    whole = np.trunc(direction * steps)  # already on the grid
    edges = (np.trunc(direction * steps * 0.99) + random.choice([-0.5, 0.5], size)) * grid_step  # halfway
    equal = np.full(size, clip_norm / math.sqrt(size))
    out = [direction * clip_norm, single * clip_norm, equal, whole * grid_step, edges]
    if size >= 2:
        pythagoras = np.zeros(size)
        pythagoras[:2] = 0.6, 0.8
        out.append(pythagoras * clip_norm)
    out += [np.nextafter(v, np.where(v == 0, 0, np.copysign(np.inf, v))) for v in out]
    out += [v * factor for v in out[:6] for factor in (1 - 1e-15, 1 + 1e-15, 1 + 1e-9, 1 + 1e-3, 3, 1e3, 1e100)]
    out += [v.astype(np.float32) for v in out[:6]]
    return [*out, np.zeros(size), np.full(size, 1.7e308), np.full(size, 5e-324), np.full(size, np.nan)]


@examples(60)
@given(st.sampled_from(CLIPS), st.sampled_from(STEPS), st.sampled_from(SIZES), st.integers(0, 2**32))
def test_no_vector_is_longer_than_the_clip_after_rounding(clip_norm, steps, size, seed):
    for vector in adversarial(clip_norm, steps, size, seed):
        assert norm_squared(clip_to_grid(vector, clip_norm, steps)) <= steps**2


@examples(200)
@given(
    st.lists(st.floats(width=64), min_size=1, max_size=40),
    st.floats(1e-300, 1e300),
    st.integers(16, 2**24),
)
def test_nor_is_any_vector_that_hypothesis_finds(values, clip_norm, steps):
    assert norm_squared(clip_to_grid(np.array(values), clip_norm, steps)) <= steps**2


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("size", SIZES[1:])
def test_these_vectors_would_find_rounding_to_nearest(steps, size):
    """The family has teeth: the usual rounding exceeds the clip on it."""
    found = False
    for seed in range(20):
        for vector in adversarial(0.5, steps, size, seed):
            if np.abs(vector).max() < 1e10:
                scale = max(np.linalg.norm(vector), 0.5)
                found |= norm_squared(np.rint(vector / scale * steps).astype(np.int64)) > steps**2
    assert found


def moved(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Difference of two sums modulo 2^32, in grid steps."""
    return (one - other).view(np.int32).astype(np.int64)


@examples(60)
@given(
    st.integers(1, 6),
    st.sampled_from([0.1, 0.5, 7.7]),
    st.sampled_from([16, 4096, 2**20]),
    st.sampled_from([2, 16, 256]),
    st.integers(0, 2**32),
    st.data(),
)
def test_replacing_one_contribution_moves_the_sum_by_at_most_the_clip(others, clip_norm, steps, size, seed, data):
    """The whole way: protect (clip, grid, noise share), sum modulo 2^32, back to model units."""
    settings = {"clip_norm": clip_norm, "steps_per_clip": steps, "share_sigma": 12.5}
    family = adversarial(clip_norm, steps, size, seed)
    vectors = [family[data.draw(st.integers(0, len(family) - 1))] for _ in range(others + 1)]
    who = data.draw(st.integers(0, others))

    def total(of: list[np.ndarray]) -> np.ndarray:
        words = [protect(v, entropy=replayed_entropy((seed, i)), **settings) for i, v in enumerate(of)]
        return np.sum(words, axis=0, dtype=np.uint32)

    neighbour = [np.zeros(size) if i == who else v for i, v in enumerate(vectors)]
    one, other = total(vectors), total(neighbour)
    assert norm_squared(moved(one, other)) <= steps**2
    step = clip_norm / steps
    assert np.linalg.norm(from_grid(one, step) - from_grid(other, step)) <= clip_norm * (1 + 1e-9)


@pytest.mark.parametrize("clip_norm", [1e-4, 0.5])
@pytest.mark.parametrize("part", ["interest", "risk"])
def test_a_real_device_moves_the_sum_by_at_most_the_clip(tmp_path, clip_norm, part):
    """Device.update and Device.risk_update of a population and of its neighbour, in which one user never did anything.
    The small clip is always reached, so the bound is tight there. phi's plan has a grid of its own."""
    bound = {"clip_norm": clip_norm, "noise_multiplier": 0.5}
    risk = make_risk(privacy={**bound, "steps_per_clip": 2**14})
    plan = make_plan(privacy=bound, training={"learning_rate": 2.0}, detection={"lapse_steps": 4}, risk=risk)
    theta = plan.network.initial_theta(3)
    basis, coefficients = np.ones((len(READINGS), N_COEFFICIENTS), np.float32), np.ones(N_COEFFICIENTS, np.float32)
    users = [event_stream(np.random.default_rng(seed), 26, rate) for seed, rate in enumerate((0.3, 0.5, 0.9))]

    def total(name: str, population: list, round_number: int) -> np.ndarray:
        words = []
        for user, events in enumerate(population):
            device = open_device(
                tmp_path / name / f"{user}-{round_number}",
                make_profile(number=user),
                entropy=replayed_entropy((user, round_number)),
            )
            for event in events:
                device.record(event)
            device.close_until(26)
            ready(device, plan)
            if part == "interest":
                words.append(device.work(plan.sha256, theta).update(theta, round_number))
            else:
                words.append(
                    device.work(plan.sha256, theta).risk_update(theta, basis.ravel(), coefficients, round_number)
                )
        return np.sum(words, axis=0, dtype=np.uint32)

    privacy = plan.privacy if part == "interest" else risk.privacy
    steps, n_values = privacy.steps_per_clip, plan.network.n_parameters if part == "interest" else N_COEFFICIENTS
    for round_number in range(full(2)):
        everyone = total("all", users, round_number)
        for who in range(len(users)):
            neighbour = [[] if i == who else events for i, events in enumerate(users)]
            apart = norm_squared(moved(everyone, total(f"without-{who}", neighbour, round_number)))
            least = steps - math.sqrt(n_values) if clip_norm < 1e-3 else 1
            assert least**2 <= apart <= steps**2
