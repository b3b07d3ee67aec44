"""The integer noise: the table is exact, its distribution is the discrete Gaussian, and a wrong scale is noticed.

Draws come from a replayed stream, so that a right sampler never fails by bad luck.
"""

import math
import os
from decimal import Decimal, localcontext

import numpy as np
import pytest
from scipy import stats

from shared.mechanisms import _OPEN, DiscreteGaussian, _alias_table, _draw_table, table_error
from shared.plan import MAX_SHARE_SIGMA
from tests.world.basics import SOAK, full, make_plan, replayed_entropy

TOTAL = 1 << 96
SIGMAS = [2.0, 3.7, 15.7, 261.7]


def table_masses(sigma: float) -> dict[int, int]:
    """How many of the 2^96 draws give each integer, recovered from the table that is drawn from."""
    half, threshold, alias = _alias_table(sigma)
    capacity, rest = divmod(TOTAL, len(threshold))
    assert rest == 0 and all(0 <= own <= capacity for own in threshold)
    masses: dict[int, int] = {}
    for column, (own, other) in enumerate(zip(threshold, alias, strict=True)):
        masses[column - half] = masses.get(column - half, 0) + own
        masses[other - half] = masses.get(other - half, 0) + capacity - own
    return {value: mass for value, mass in masses.items() if mass}


@pytest.mark.parametrize("sigma", SIGMAS)
def test_every_column_gives_its_own_integer_below_the_threshold_and_its_alias_from_there(sigma):
    """The edges of every column, by crafted entropy: so the sampler's distribution is the table's, exactly."""
    half, threshold, alias = _alias_table(sigma)
    capacity = TOTAL // len(threshold)
    first, tied, expected = [], [], []
    for column, (own, other) in enumerate(zip(threshold, alias, strict=True)):
        for rest in (r for r in (0, own - 1, own, capacity - 1) if 0 <= r < capacity):
            draw = column * capacity + rest  # 96 bits: 32 come first, the other 64 only where those tie
            first.append(draw >> 64)
            if rest >> 64 == own >> 64:
                tied.append(draw & (2**64 - 1))
            expected.append((column if rest < own else other) - half)
    words = iter([np.array(first, "<u4"), np.array(tied, "<u8")])

    def crafted(n: int) -> bytes:
        raw = next(words).tobytes()
        assert len(raw) == n
        return raw

    found = DiscreteGaussian(sigma).sample((len(first),), crafted)
    np.testing.assert_array_equal(found, expected)
    assert len(tied) >= len(threshold) // 2, "the second words were used"


@pytest.mark.parametrize("sigma", [*SIGMAS, 1047.3])
def test_the_shortcut_by_first_bits_gives_what_the_whole_word_gives(sigma):
    """At both ends of every cell, where it would be wrong first. Ties take the same second words."""
    table = _draw_table(sigma)
    cells = table.cells.size
    width = 2**32 // cells
    first = np.arange(cells, dtype=np.uint64) * np.uint64(width)
    for word in (first, first + np.uint64(width - 1)):
        word = word.astype(np.uint32)
        by_cell = table.of_cells(word)
        closed = by_cell != _OPEN
        assert closed.mean() > 0.9
        for second in (b"\0", b"\xff"):
            whole = table.of_words(word, lambda n, second=second: second * n)
            np.testing.assert_array_equal(by_cell[closed], whole[closed])


def exact_weights(sigma: float, most: int) -> list[Decimal]:
    """exp(-k^2 / (2 sigma^2)) for k = 0..most, to 60 digits; the binary value of sigma is taken as it is."""
    with localcontext() as context:
        context.prec = 60
        return [(-Decimal(k * k) / (2 * Decimal(sigma) ** 2)).exp() for k in range(most + 1)]


def exact_pmf(sigma: float, values: np.ndarray) -> np.ndarray:
    weights = exact_weights(sigma, math.ceil(14 * sigma))
    total = weights[0] + 2 * sum(weights[1:])
    return np.array([float(weights[abs(v)] / total) if abs(v) < len(weights) else 0.0 for v in values.tolist()])


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_alias_table_holds_the_intended_integer_masses(sigma):
    """Nothing is lost or invented when weights become columns: masses add up to 2^96, mirror each other, and each is the
    rounded share of its integer."""
    masses = table_masses(sigma)
    half = math.ceil(12 * sigma)
    assert sum(masses.values()) == TOTAL
    assert all(-half <= value <= half for value in masses)
    assert all(masses.get(-value) == mass for value, mass in masses.items())
    weights = exact_weights(sigma, half)
    with localcontext() as context:
        context.prec = 60
        total = weights[0] + 2 * sum(weights[1:])
        for value in range(-half, half + 1):
            if value:  # the middle takes what rounding left over
                assert abs(masses.get(value, 0) - weights[abs(value)] / total * TOTAL) <= Decimal("0.5000001")


@pytest.mark.parametrize("sigma", [*SIGMAS, 1047.3, *([MAX_SHARE_SIGMA] if SOAK else [])])
def test_the_table_is_as_near_to_the_discrete_gaussian_as_is_said(sigma):
    masses = table_masses(sigma)
    weights = exact_weights(sigma, math.ceil(15 * sigma))
    with localcontext() as context:
        context.prec = 60
        total = weights[0] + 2 * sum(weights[1:])
        share = Decimal(TOTAL)
        distance = sum(
            (1 if k == 0 else 2) * abs(Decimal(masses.get(k, 0)) / share - weight / total)
            for k, weight in enumerate(weights)
        )
        assert distance / 2 <= Decimal(table_error(sigma))
        assert distance / 2 >= Decimal(table_error(sigma)) / 100, "and not so much nearer that the claim says nothing"
    assert 15 * sigma > max(masses), "nothing beyond what was compared"


def p_value(draws: np.ndarray, sigma: float) -> float:
    """Chi-square of draws against the discrete Gaussian: at least 30 expected in each bin, and one beyond 5 sigma."""
    reach = math.ceil(5 * sigma)
    values = np.arange(-reach, reach + 1)
    probability = exact_pmf(sigma, values)
    width = max(1, round(sigma / 5))
    bins = np.minimum(np.arange(values.size) // width, values.size // width)
    expected = np.bincount(bins, probability) * draws.size
    inside = np.abs(draws) <= reach
    observed = np.bincount(bins[draws[inside] + reach], minlength=expected.size)
    expected = np.append(expected, draws.size - expected.sum())
    observed = np.append(observed, draws.size - observed.sum())
    rare = expected < 30
    expected = np.append(expected[~rare], expected[rare].sum())
    observed = np.append(observed[~rare], observed[rare].sum())
    return float(stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_chi_square_accepts_the_right_scale_and_rejects_two_thirds_and_three_halves(sigma):
    n = full(60_000)
    draws = DiscreteGaussian(sigma).sample((n,), replayed_entropy(sigma))
    assert p_value(draws, sigma) > 1e-3
    for wrong in (sigma * 2 / 3, sigma * 3 / 2):
        assert p_value(draws, wrong) < 1e-12
        assert p_value(DiscreteGaussian(wrong).sample((n,), replayed_entropy(sigma)), sigma) < 1e-12


def test_chi_square_also_notices_a_rounded_continuous_gaussian_of_a_slightly_wrong_scale():
    n = full(200_000)
    draws = np.rint(np.random.default_rng(0).normal(0, 2 * 1.05, n)).astype(np.int64)
    assert p_value(draws, 2.0) < 1e-6


@pytest.mark.parametrize("sigma", SIGMAS)
def test_moments_and_symmetry(sigma):
    n = full(100_000)
    draws = DiscreteGaussian(sigma).sample((n,), replayed_entropy(("moments", sigma))).astype(np.float64)
    assert abs(draws.mean()) < 5 * sigma / math.sqrt(n)
    assert abs(draws.var() / sigma**2 - 1) < 5 * math.sqrt(2 / n)


def test_draws_use_every_bit_and_differ():
    sampler = DiscreteGaussian(100.0)
    first, second = (sampler.sample((4, 500)) for _ in range(2))
    assert (first != second).mean() > 0.9, "operating system entropy never repeats"
    again = [sampler.sample((2000,), replayed_entropy(1)) for _ in range(2)]
    np.testing.assert_array_equal(*again)
    flat = again[0].reshape(40, 50)
    assert len({row.tobytes() for row in flat}) == 40
    correlation = np.corrcoef(flat[:-1].ravel(), flat[1:].ravel())[0, 1]
    assert abs(correlation) < 0.12
    asked = []

    def counted(n: int) -> bytes:
        asked.append(n)
        return os.urandom(n)

    sampler.sample((300, 700), counted)
    assert asked[0] == 4 * 210_000, "four fresh bytes for every draw"
    assert sum(asked[1:]) < 8 * 210, "and eight more for the few that tie"


def test_the_sum_of_the_survivors_shares_has_the_planned_noise():
    """As many shares as min_survivors - max_colluders give a discrete Gaussian of the planned scale, and no less."""
    privacy = make_plan(
        privacy={
            "noise_multiplier": 1.5,
            "steps_per_clip": 256,
            "population": 30,
            "min_survivors": 30,
            "max_colluders": 6,
        }
    ).privacy
    n, planned = full(20_000), 1.5 * 256
    entropy = replayed_entropy("shares")
    sampler = DiscreteGaussian(privacy.share_sigma)
    total = sum(sampler.sample((n,), entropy) for _ in range(30 - 6))
    assert abs(total.var() / planned**2 - 1) < 5 * math.sqrt(2 / n)
    assert p_value(total, planned) > 1e-3
    assert p_value(total, planned * 2 / 3) < 1e-12 > p_value(total, planned * 3 / 2)
