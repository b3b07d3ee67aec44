"""The randomised bit: e^epsilon exactly, silence included; a schedule that the cap pays for, and the calendar alone moves."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.privacy.caps import Caps, LedgerLine
from client.privacy.ledger import Ledger
from shared import rdp
from shared.errors import ConfigError, InputError, Refusal
from shared.messages import REGISTER, REQUESTS
from shared.randomised_response import BitSchedule, bit_schedule, randomised_response, truth_probability, truth_weight
from shared.register.bounds import MAX_BIT_EPSILON_MICRO
from tests.world.basics import examples, replayed_entropy

DELTA = 1e-5
DRAWS = 2**62
MICROS = st.integers(1, MAX_BIT_EPSILON_MICRO)


def exp_bounds(x: Fraction) -> tuple[Fraction, Fraction]:
    """Rationals around e^x, 0 <= x <= 20: a Taylor sum, and the same with its geometric remainder."""
    term = total = Fraction(1)
    for k in range(1, 121):
        term *= x / k
        total += term
    return total, total + term


def draw_of(value: int):
    """A source whose every 8 bytes are the draw `value`, with any two bits below it."""
    return lambda n: (value << 2 | 3).to_bytes(8, "little") * (n // 8)


@examples(60)
@given(MICROS)
def test_no_output_tells_the_bits_apart_by_more_than_e_to_the_epsilon(epsilon_micro):
    """Exactly: out of 2^62 draws, `weight` tell the truth. Rounding costs no more than three draws."""
    weight = truth_weight(epsilon_micro)
    low, high = exp_bounds(Fraction(epsilon_micro, 10**6))
    assert DRAWS / 2 <= weight < DRAWS
    assert Fraction(weight, DRAWS - weight) <= low
    assert Fraction(weight + 3, DRAWS - weight - 3) > high
    assert truth_probability(epsilon_micro) == Fraction(weight, DRAWS)


@given(MICROS, st.booleans(), st.integers(0, DRAWS - 1))
def test_exactly_the_draws_below_the_weight_tell_the_truth(epsilon_micro, bit, other):
    weight = truth_weight(epsilon_micro)
    for draw in (0, weight - 1, weight, DRAWS - 1, other):
        assert randomised_response(bit, epsilon_micro, draw_of(draw)) == (bit if draw < weight else not bit)


def test_the_ledger_charges_at_least_what_the_coin_costs():
    for epsilon_micro in (1, 1000, 1_000_007, MAX_BIT_EPSILON_MICRO):
        weight = truth_weight(epsilon_micro)
        true_epsilon = math.log(Fraction(weight, DRAWS - weight))
        assert true_epsilon <= epsilon_micro / 1e6 * (1 + 1e-9)
        assert (rdp.coin(true_epsilon) <= rdp.coin(epsilon_micro / 1e6) * (1 + 1e-9)).all()


def test_many_bits_at_once_are_each_bit_alone():
    bits = np.random.default_rng(0).random((3, 50)) < 0.3
    together = randomised_response(bits, 1_000_000, replayed_entropy("coins"))
    words = replayed_entropy("coins")(8 * bits.size)
    assert together.dtype == np.uint8 and together.shape == bits.shape
    for i, (bit, out) in enumerate(zip(bits.ravel(), together.ravel(), strict=True)):
        assert randomised_response(bit, 1_000_000, lambda n, i=i: words[8 * i : 8 * i + 8]) == out


def test_every_bit_has_a_coin_of_its_own():
    out = randomised_response(np.zeros(100_000, bool), 1_000_000, replayed_entropy(1))
    lie = 1 - float(truth_probability(1_000_000))
    assert abs(out.mean() - lie) < 5 * math.sqrt(lie * (1 - lie) / out.size)
    assert abs(np.corrcoef(out[:-1], out[1:])[0, 1]) < 5 / math.sqrt(out.size)
    assert not np.array_equal(randomised_response(np.zeros(64, bool), 1), randomised_response(np.zeros(64, bool), 1))


@pytest.mark.parametrize("bit", [True, False])
def test_a_source_that_runs_dry_fails_alike_for_either_input(bit):
    with pytest.raises(InputError, match="expected 8 bytes of entropy, got 7"):
        randomised_response(bit, 1_000_000, lambda n: bytes(n - 1))


@pytest.mark.parametrize("bit", [1, 0, 2, 0.5, None, "1"])
def test_only_booleans_are_bits(bit):
    with pytest.raises(InputError, match="booleans"):
        randomised_response(bit, 1_000_000)


@pytest.mark.parametrize("epsilon_micro", [0, -1, MAX_BIT_EPSILON_MICRO + 1, 1.0, True])
def test_an_epsilon_out_of_range_is_refused(epsilon_micro):
    with pytest.raises(ConfigError):
        randomised_response(True, epsilon_micro)
    with pytest.raises(ConfigError):
        BitSchedule(epsilon_micro, 3)


# ---- the schedule


@examples(30)
@given(st.floats(0.05, 5), st.integers(1, 60), st.floats(0.2, 3))
def test_a_schedule_spends_the_cap_and_no_more(cap, period_steps, least):
    schedule = bit_schedule(cap, DELTA, period_steps, least)
    for start in (0, 1, schedule.every_steps - 1, 1000):
        due = sum(schedule.is_due(step) for step in range(start, start + period_steps))
        spent = rdp.zero()
        for _ in range(due):
            spent = spent + rdp.coin(schedule.epsilon)
        assert rdp.epsilon(spent, DELTA) <= cap
    assert schedule.epsilon >= least or schedule.every_steps == period_steps
    bits = -(-period_steps // schedule.every_steps)
    louder = rdp.coin(schedule.epsilon * 1.02 + 1e-5)
    assert rdp.epsilon(bits * louder, DELTA) > cap


def test_the_default_caps_pay_for_two_coins_of_epsilon_1_a_period():
    caps = Caps()
    schedule = bit_schedule(caps.lines[LedgerLine.ALERT_BIT].period, caps.delta, 26)
    assert schedule.every_steps == 13 and schedule.epsilon == pytest.approx(1.0, abs=1e-4)
    ledger = Ledger.from_bytes(None, caps)
    for _ in range(2):
        ledger = ledger.charge("alert_bit", rdp.coin(schedule.epsilon))
    with pytest.raises(Refusal, match="period_budget"):
        ledger.charge("alert_bit", rdp.coin(schedule.epsilon))


def test_bits_cover_every_step_once_and_only_the_past():
    schedule = BitSchedule(1, 5)
    due = [step for step in range(100) if schedule.is_due(step)]
    assert [step for at in due for step in schedule.covered(at)] == list(range(100))
    assert all(max(schedule.covered(at)) == at for at in due)


def test_a_device_answers_no_louder_no_oftener_and_at_no_other_step():
    own = BitSchedule(1_000_000, 13)
    assert own.grants(own, 12) and own.grants(BitSchedule(999_999, 14), 13)
    assert not own.grants(own, 13)
    assert not own.grants(own, -1)
    assert not own.grants(BitSchedule(1_000_001, 13), 12)
    assert not own.grants(BitSchedule(1_000_000, 12), 11)


@pytest.mark.parametrize("bad", [(0.0, 10, 1.0), (math.nan, 10, 1.0), (1.0, 0, 1.0), (1.0, 10, 0.0), (1e-9, 10, 1.0)])
def test_a_cap_that_pays_for_no_coin_is_refused(bad):
    cap, steps, least = bad
    with pytest.raises(ConfigError):
        bit_schedule(cap, 1e-12, steps, least)


def test_question_and_answer_bound_the_coin_alike():
    for fields in (REGISTER["alert_bit"].fields, REQUESTS["bits_query"].fields):
        assert (fields["epsilon_micro"].type.low, fields["epsilon_micro"].type.high) == (1, MAX_BIT_EPSILON_MICRO)
