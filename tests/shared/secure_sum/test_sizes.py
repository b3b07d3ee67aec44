"""How many devices and seats: tails against scipy's and against counting, sizes against their definition."""

import dataclasses
import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom

from shared.errors import ConfigError
from shared.secure_sum.field import Field
from shared.secure_sum.packed_shamir import SPARE, Code
from shared.secure_sum.sizes import (
    ABANDONED,
    DEFAULTS,
    MORE_COLLUDERS,
    Assumed,
    Seats,
    colluders_behind,
    expect_sound,
    fewer_answers,
    hypergeometric,
    max_colluders,
    members_of,
    min_survivors,
    most_corrupt,
    seats,
    sized,
)
from tests.world.basics import examples


@given(
    population=st.integers(1, 20_000), sampling_rate=st.sampled_from([1.0, 0.5, 0.2, 0.03]), dropout=st.floats(0, 0.9)
)
@examples(60)
def test_survivors_are_the_most_that_nearly_every_round_reaches(population, sampling_rate, dropout):
    answers = binom(population, sampling_rate * (1 - dropout))
    least = min_survivors(population, sampling_rate, dropout)
    assert 1 <= least <= population
    assert least == 1 or answers.cdf(least - 1) <= ABANDONED * (1 + 1e-9)
    assert answers.cdf(least) > ABANDONED * (1 - 1e-9) or least == population


@given(population=st.integers(1, 20_000), sampling_rate=st.sampled_from([1.0, 0.5, 0.2, 0.03]))
@examples(60)
def test_colluders_are_all_of_them_or_the_most_that_a_sampled_cohort_is_likely_to_hold(population, sampling_rate):
    members = -(-population // 20)
    most = max_colluders(population, sampling_rate)
    if sampling_rate == 1:
        assert most == members
        return
    assert binom.sf(most, members, sampling_rate) <= MORE_COLLUDERS * (1 + 1e-9)
    assert most == 0 or binom.sf(most - 1, members, sampling_rate) > MORE_COLLUDERS * (1 - 1e-9)


@pytest.mark.parametrize("rate", [0.0, -0.5, 1.5])
def test_a_rate_that_no_plan_allows_is_refused_in_the_plan_s_words(rate):
    for follows in (lambda: min_survivors(10, rate, 0.1), lambda: max_colluders(10, rate)):
        with pytest.raises(ConfigError, match=f"expected sampling_rate in .0, 1., got {rate}"):
            follows()


@pytest.mark.parametrize(("population", "rate"), [(12, 1.0), (12, 0.5), (9, 0.3)])
def test_survivors_and_colluders_of_few_devices_are_counted_out(population, rate):
    """Every coin of every device, in fractions."""
    answers, there = Fraction(rate).limit_denominator(10) * Fraction(9, 10), Fraction(rate).limit_denominator(10)

    def fewer(n_devices: int, chance: Fraction, k: int) -> Fraction:
        total = Fraction(0)
        for coins in product([0, 1], repeat=n_devices):
            if sum(coins) < k:
                total += math.prod(chance if coin else 1 - chance for coin in coins)
        return total

    tail = Fraction(1, 50)
    assert min_survivors(population, rate, 0.1, float(tail)) == max(
        k for k in range(1, population + 1) if k == 1 or fewer(population, answers, k) <= tail
    )
    members = math.ceil(population / 4)
    assert max_colluders(population, rate, 0.25, float(tail)) == (
        members if rate == 1 else min(k for k in range(members + 1) if 1 - fewer(members, there, k + 1) <= tail)
    )


@given(most=st.integers(0, 40), population=st.integers(1, 3000), rate=st.sampled_from([1.0, 0.5, 0.2]))
@examples(60)
def test_colluders_behind_a_bound_are_the_most_that_it_holds(most, population, rate):
    behind = colluders_behind(most, population, rate)
    if rate == 1:
        assert behind == most
        return
    assert behind == most or binom.sf(most, behind, rate) <= MORE_COLLUDERS * (1 + 1e-9)
    assert behind >= population or binom.sf(most, behind + 1, rate) > MORE_COLLUDERS * (1 - 1e-9)


def test_shares_are_rounded_up_as_people_count():
    assert [members_of(0.05, n) for n in (0, 1, 20, 21, 60, 300, 10**6)] == [0, 1, 1, 2, 3, 15, 50_000]
    assert members_of(0.1, 30) == 3 and members_of(0.0, 9) == 0
    with pytest.raises(ConfigError, match=r"expected a share in \[0, 1\), got 1"):
        members_of(1.0, 9)


@given(data=st.data(), population=st.integers(0, 60))
@examples(150)
def test_draws_without_replacement_are_counted_out_at_small_numbers(data, population):
    members, drawn = data.draw(st.integers(0, population)), data.draw(st.integers(0, population))
    ways = [math.comb(members, k) * math.comb(population - members, drawn - k) for k in range(drawn + 1)]
    exact = [float(Fraction(n, math.comb(population, drawn))) for n in ways]
    np.testing.assert_allclose(hypergeometric(population, members, drawn), exact, rtol=1e-11, atol=0)


@given(data=st.data(), population=st.integers(100, 2_000_000))
@examples(60)
def test_draws_without_replacement_are_scipy_s(data, population):
    members, drawn = data.draw(st.integers(0, population)), data.draw(st.integers(0, min(population, 400)))
    ours, k = hypergeometric(population, members, drawn), np.arange(drawn + 1)
    theirs = hypergeom.pmf(k, population, members, drawn)
    far = theirs > 1e-250
    np.testing.assert_allclose(ours[far], theirs[far], rtol=1e-6)
    assert ours.sum() == pytest.approx(1) and (ours[~far] < 1e-249).all()


@pytest.mark.parametrize(("population", "members", "drawn"), [(5, 6, 2), (5, 2, 6), (5, -1, 2), (5, 2, -1)])
def test_more_than_there_are_cannot_be_drawn(population, members, drawn):
    with pytest.raises(ConfigError, match="expected members and drawn within 5 devices"):
        hypergeometric(population, members, drawn)


@pytest.mark.parametrize(
    ("enrolled", "word_bytes", "expected"),
    [
        (300, 3, Seats(100, 143, 15, 58, 74)),
        (5_000, 3, Seats(160, 229, 38, 99, 122)),
        (1_000_000, 4, Seats(160, 229, 39, 100, 122)),
    ],
)
def test_the_sizes_of_the_design_come_out_where_its_two_spare_answers_are_not_counted(enrolled, word_bytes, expected):
    """The design's table has the chance that fewer than t_rec answer. That two more are needed costs two of t_rec."""
    assert seats(enrolled, 1601, word_bytes, Assumed(spare=0, most=160)) == expected
    counted = seats(enrolled, 1601, word_bytes, Assumed(most=160))
    assert counted == dataclasses.replace(expected, t_rec=expected.t_rec - SPARE)


@given(
    n_seats=st.integers(1, 120),
    enrolled=st.sampled_from([120, 171, 172, 300, 5_000, 10**6]),
    share=st.sampled_from([0.0, 0.02, 0.05, 0.1, 0.3]),
    loss=st.sampled_from([0.0, 0.05, 0.2]),
    skip=st.sampled_from([0.0, 0.3]),
)
@examples(80)
def test_sizes_are_what_scipy_makes_of_their_definition(n_seats, enrolled, share, loss, skip):
    assumed = Assumed(corrupt_share=share, seat_loss=loss, skip=skip)
    members, drawn = math.ceil(share * enrolled - 1e-9), math.ceil(n_seats / (1 - skip) - 1e-9)
    drawn = n_seats if drawn > enrolled else drawn
    most = next(k for k in range(drawn + 1) if hypergeom.sf(k, enrolled, members, drawn) <= 1e-9 / 64)
    silent = np.arange(min(members, n_seats) + 1)
    chances = hypergeom.pmf(silent, enrolled, members, n_seats)

    def fails(t_rec: int) -> float:
        return float((chances * binom.cdf(t_rec + SPARE - 1, n_seats - silent, 1 - loss)).sum())

    t_priv = max(math.ceil((n_seats + most) / 2), 1)
    sound = [t for t in range(t_priv + 1, n_seats - SPARE + 1) if fails(t) <= ABANDONED]
    found = sized(n_seats, enrolled, assumed)
    assert found == (Seats(n_seats, drawn, most, t_priv, max(sound)) if sound else None)
    if found:
        expect_sound(found, enrolled, assumed)
        Code(Field(65537), found.n_seats, found.t_priv, found.t_rec)


def test_rounds_fail_as_often_as_drawn_people_do():
    """Corrupt seats silent, honest ones lost at random: counted over draws of a small list."""
    assumed, random = Assumed(corrupt_share=0.2, seat_loss=0.15), np.random.default_rng(3)
    n_rounds, n_seats, enrolled = 200_000, 12, 30
    corrupt = random.hypergeometric(6, 24, n_seats, n_rounds)
    answers = random.binomial(n_seats - corrupt, 0.85)
    measured = (answers[:, None] < np.arange(n_seats + 2)).mean(axis=0)
    expected = fewer_answers(enrolled, n_seats, assumed)
    np.testing.assert_allclose(measured, expected, atol=5 * math.sqrt(0.25 / n_rounds))
    assert expected[0] == 0 and expected[-1] == pytest.approx(1)


@pytest.mark.parametrize("enrolled", [30, 50, 100, 150, 200, 250, 300, 700, 5_000])
def test_seats_are_those_with_which_a_device_sends_least(enrolled):
    chosen = seats(enrolled, 1601, 3)
    candidates = [n for n in range(10, 201, 10) if 3 * n <= enrolled] + ([enrolled] if enrolled <= 200 else [])
    costs = [found.sealed_bytes(1601, 3) for n in candidates if (found := sized(n, enrolled))]
    assert chosen.sealed_bytes(1601, 3) == min(costs)
    expect_sound(chosen, enrolled)
    assert chosen.n_drawn > chosen.n_seats or chosen.n_seats == enrolled


def test_sealed_bytes_are_those_of_the_boxes():
    chosen = seats(5000, 1601, 3)
    code = Code(Field.holding(2**22), chosen.n_seats, chosen.t_priv, chosen.t_rec)
    n_words = code.n_blocks(1601) + code.tests
    assert chosen.sealed_bytes(1601, code.field.word_bytes) == (code.n_seats - code.t_priv) * (3 * n_words + 16)


@pytest.mark.parametrize("enrolled", [1, 3, 10, 20])
def test_lists_that_are_too_short_for_device_seats_are_refused(enrolled):
    with pytest.raises(ConfigError, match=f"expected devices enough for sound seats, or helpers, got {enrolled}"):
        seats(enrolled, 1601, 3)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"n_drawn": 99}, "expected seats <= drawn <= 5000"),
        ({"n_drawn": 5001}, "expected seats <= drawn <= 5000"),
        ({"n_seats": 210}, "expected at most 200 seats, got 210"),
        ({"most_corrupt": 42}, "expected at least 43 corrupt devices allowed for, got 42"),
        ({"n_drawn": 400}, "expected at least .* corrupt devices allowed for, got 43"),
        ({"t_priv": 121}, "expected t_priv >= .200 seats . 43 corrupt. / 2, got 121"),
        ({"t_rec": 154}, "expected rounds abandoned with probability <= 0.001, got 0.00"),
        ({"t_rec": 122}, "expected t_rec in 123..198, got 122"),
        ({"t_rec": 199}, "expected t_rec in 123..198, got 199"),
    ],
)
def test_seats_looser_than_assumed_are_refused(changes, expected):
    good = seats(5000, 1601, 3)
    assert good == Seats(200, 286, 43, 122, 153)
    expect_sound(good, 5000)
    expect_sound(dataclasses.replace(good, t_priv=125, t_rec=150), 5000)
    with pytest.raises(ConfigError, match=expected):
        expect_sound(dataclasses.replace(good, **changes), 5000)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"corrupt_share": 1.0}, r"corrupt_share in \[0, 1\), got 1.0"),
        ({"seat_loss": -0.1}, r"seat_loss in \[0, 1\), got -0.1"),
        ({"skip": 1}, r"skip in \[0, 1\), got 1"),
        ({"abandon": 0.0}, r"abandon in \(0, 1\), got 0.0"),
        ({"corrupt_tail": 1.0}, r"corrupt_tail in \(0, 1\), got 1.0"),
        ({"draws": 0}, "draws >= 1, got 0"),
        ({"most": 1}, "most >= 2, got 1"),
        ({"spare": -1}, "spare >= 0, got -1"),
    ],
)
def test_assumptions_that_are_none_are_refused(changes, expected):
    with pytest.raises(ConfigError, match=f"expected {expected}"):
        Assumed(**changes)
    assert Assumed() == DEFAULTS


@pytest.mark.parametrize("n_seats", [0, 51])
def test_more_seats_than_devices_are_refused(n_seats):
    with pytest.raises(ConfigError, match=f"expected seats in 1..50, the devices that are enrolled, got {n_seats}"):
        sized(n_seats, 50)


def test_more_draws_and_smaller_tails_take_more_shares():
    """The bound is over all draws of an epoch, and over the drawn, not the seated: skipping is for the server to choose."""
    once, often = (most_corrupt(5000, 229, Assumed(draws=n)) for n in (1, 10**6))
    assert once < most_corrupt(5000, 229) < often
    assert most_corrupt(5000, 160) < most_corrupt(5000, 229)
