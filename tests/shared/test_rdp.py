"""Renyi curves: dp-accounting's to 1e-9, true divergences never above them, and a charge that changes all or nothing."""

import math
import tracemalloc

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, NeighboringRelation, RandomizedResponseDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant, compute_epsilon
from hypothesis import given
from hypothesis import strategies as st

from shared import rdp
from shared.errors import InputError
from shared.plan import MIN_SHARE_SIGMA
from shared.rdp import ORDERS
from tests.world.basics import examples, make_plan

DELTA = 1e-5
ONE = NeighboringRelation.REPLACE_ONE


def coin_event(epsilon: float) -> RandomizedResponseDpEvent:
    """dp-accounting's coin: with `noise_parameter` the answer is uniform, else true."""
    return RandomizedResponseDpEvent(2 / (1 + math.exp(epsilon)), 2)


def renyi(p: np.ndarray, q: np.ndarray, order: float) -> float:
    """Renyi divergence of two distributions over the same points, from its definition."""
    return math.log(math.fsum(p**order * q ** (1 - order))) / (order - 1)


def test_the_orders_are_part_of_every_stored_ledger():
    assert ORDERS.shape == (44,) and (np.diff(ORDERS) > 0).all() and ORDERS[0] == 1.25 and ORDERS[-1] == 2**20 + 1
    with pytest.raises(ValueError):
        ORDERS[0] = 2


@examples(15)
@given(
    st.lists(st.tuples(st.floats(0.3, 50), st.integers(1, 20)), max_size=4),
    st.lists(st.tuples(st.floats(0.001, 8), st.integers(1, 4)), max_size=3),
    st.sampled_from([1e-9, 1e-5, 1e-2]),
)
def test_totals_are_dp_accounting_s(gaussians, coins, delta):
    """Gaussians and coins in one account. Coins are composed in a loop: a count is ignored by one of its accountants."""
    theirs, ours = RdpAccountant(ORDERS, ONE), rdp.zero()
    for sigma, times in gaussians:
        theirs.compose(GaussianDpEvent(sigma), times)
        ours = ours + times * rdp.gaussian(sigma)
    for epsilon, times in coins:
        for _ in range(times):
            theirs.compose(coin_event(epsilon))
            ours = ours + rdp.coin(epsilon)
    assert float(rdp.epsilon(ours, delta)) == pytest.approx(theirs.get_epsilon(delta), rel=1e-9, abs=1e-9)


@given(st.floats(1e-6, 20))
def test_a_coin_s_curve_is_its_divergence(epsilon):
    """From the two output distributions at orders where the definition is stable; epsilon bounds every order."""
    curve = rdp.coin(epsilon)
    p = np.array([1 / (1 + math.exp(-epsilon)), 1 / (1 + math.exp(epsilon))])
    for i, order in enumerate(ORDERS[:20]):
        q = p[::-1]
        assert curve[i] == pytest.approx(renyi(p, q, order), rel=1e-6, abs=1e-13)
    assert (np.diff(curve) >= -1e-12 * epsilon).all() and (curve > 0).all() and (curve <= epsilon).all()
    assert curve[-1] == pytest.approx(epsilon, rel=1e-3) or epsilon < 0.05


def test_half_a_year_of_weekly_coins_and_the_rounds_of_a_plan():
    theirs, ours = RdpAccountant(ORDERS, ONE), rdp.zero()
    for _ in range(26):
        theirs.compose(coin_event(2.0))
        ours = ours + rdp.coin(2.0)
    assert float(rdp.epsilon(ours, DELTA)) == pytest.approx(theirs.get_epsilon(DELTA), rel=1e-9)
    assert float(rdp.epsilon(ours, DELTA)) == pytest.approx(52, abs=0.01), "FACTS: a weekly coin at 2 spends 52"
    theirs.compose(GaussianDpEvent(4.0), 14)
    ours = ours + 14 * rdp.gaussian(4.0)
    assert float(rdp.epsilon(ours, DELTA)) == pytest.approx(theirs.get_epsilon(DELTA), rel=1e-9)


@pytest.mark.parametrize(("epsilon", "count"), [(2.0, 26), (1.0, 2), (0.1, 40), (0.02, 200)])
def test_coins_in_a_loop_against_the_exact_profile_of_their_composition(epsilon, count):
    """k coins: the privacy loss is epsilon (2 B - k), B binomial. Epsilon by RDP is above the exact one and by PLD close
    to it; and what one accountant does with a count is a bug that would hide 25 of 26 coins."""
    k = np.arange(count + 1)
    truth = 1 / (1 + math.exp(-epsilon))
    log_choose = np.array([math.lgamma(count + 1) - math.lgamma(i + 1) - math.lgamma(count - i + 1) for i in k])
    mass = np.exp(log_choose + k * math.log(truth) + (count - k) * math.log1p(-truth))
    loss = epsilon * (2 * k - count)

    def delta_at(eps: float) -> float:
        return math.fsum(mass * np.maximum(-np.expm1(eps - loss), 0))

    low, high = 0.0, epsilon * count
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if delta_at(middle) <= DELTA else (middle, high)
    looped, counted = PLDAccountant(ONE), PLDAccountant(ONE)
    for _ in range(count):
        looped.compose(coin_event(epsilon))
    counted.compose(coin_event(epsilon), count)
    assert looped.get_epsilon(DELTA) == pytest.approx(high, rel=0.02, abs=1e-3)
    assert counted.get_epsilon(DELTA) == pytest.approx(epsilon, rel=1e-2), "dp-accounting 0.6.0 ignores the count"
    by_rdp = float(rdp.epsilon(count * rdp.coin(epsilon), DELTA))
    assert high <= by_rdp <= min(count * epsilon, 1.5 * high) * (1 + 1e-9)


@given(st.lists(st.floats(0, 5), min_size=44, max_size=44), st.sampled_from([1e-9, 1e-5, 0.1]))
def test_any_curve_converts_as_dp_accounting_converts_it(values, delta):
    assert float(rdp.epsilon(np.array(values), delta)) == pytest.approx(
        compute_epsilon(ORDERS, values, delta)[0], rel=1e-12, abs=1e-12
    )


@pytest.mark.parametrize("scale", [0.0, 1e-14, 1e-11, 1e-9, 1e-3, 1.0, 1e6])
def test_small_and_large_curves_convert_as_dp_accounting_converts_them(scale):
    curve = scale * ORDERS
    assert float(rdp.epsilon(curve, DELTA)) == pytest.approx(compute_epsilon(ORDERS, curve, DELTA)[0], rel=1e-12)


def test_many_curves_at_once_are_each_curve_alone():
    random = np.random.default_rng(0)
    curves = np.sort(random.exponential(size=(3, 5, ORDERS.size)), axis=-1)
    together = rdp.epsilon(curves, DELTA)
    assert together.shape == (3, 5)
    for at in np.ndindex(3, 5):
        assert together[at] == rdp.epsilon(curves[at], DELTA)


@pytest.mark.parametrize("bad", [-1e-300, -1.0, math.nan, -math.inf, math.inf])
def test_a_curve_that_is_no_curve_has_infinite_epsilon(bad):
    curve = rdp.gaussian(4.0)
    curve[7] = bad
    assert rdp.epsilon(curve, DELTA) == math.inf or bad == math.inf
    assert rdp.epsilon(np.full(ORDERS.size, bad), DELTA) == math.inf


# ---- the integer Gaussian


def lattice(sigma: float, half: int) -> np.ndarray:
    weight = np.exp(-(np.arange(-half, half + 1, dtype=np.float64) ** 2) / (2 * sigma**2))
    return weight / weight.sum()


@pytest.mark.parametrize("sigma", [0.5, 0.55, 0.6, 0.7, 1.0])
@pytest.mark.parametrize("shares", [1, 2, 3, 5])
@pytest.mark.parametrize("shift", [1, 2, 3])
def test_the_true_divergence_of_a_sum_of_integer_gaussians_is_never_above_its_curve(sigma, shares, shift):
    """By convolution, in one dimension, at sigmas so small that the sum is visibly not one discrete Gaussian."""
    one = lattice(sigma, 40)
    total = one
    for _ in range(shares - 1):
        total = np.convolve(total, one)
    inside = np.flatnonzero(total > 1e-60)
    total = total[inside[0] : inside[-1] + 1]
    p, q = total[:-shift], total[shift:]
    curve = rdp.discrete_gaussian_sum(shift, sigma, shares, 1)
    for i, order in enumerate(ORDERS):
        if order < 4:
            assert renyi(p, q, order) <= curve[i] * (1 + 1e-9)


def test_the_curve_of_one_share_is_the_gaussian_s_and_more_shares_cost_what_their_distance_costs():
    np.testing.assert_allclose(rdp.discrete_gaussian_sum(8, 2.0, 1, 1000), rdp.gaussian(2.0 / 8), rtol=1e-15)
    gap = math.exp(-(math.pi**2) * 0.36)
    np.testing.assert_allclose(
        rdp.discrete_gaussian_sum(1, 0.6, 2, 10) - rdp.gaussian(0.6 * math.sqrt(2)),
        50 * gap * (2 * ORDERS - 1) / (ORDERS - 1),
    )


@pytest.mark.parametrize(("survivors", "colluders"), [(2, 0), (30, 0), (30, 12), (245, 5)])
def test_a_participation_costs_the_plan_s_noise_multiplier_whatever_the_colluders(survivors, colluders):
    """Shares are larger when fewer are trusted; what a device may trust is always the plan's noise, no more."""
    privacy = make_plan(
        privacy={
            "noise_multiplier": 4.0,
            "population": 245,
            "min_survivors": survivors,
            "max_colluders": colluders,
            "steps_per_clip": 4096,
        }
    ).privacy
    cost, planned = rdp.update_cost(privacy, 1441), rdp.gaussian(4.0)
    assert (cost >= planned * (1 - 1e-15)).all()
    np.testing.assert_allclose(cost, planned, rtol=1e-11)


@given(st.floats(0.5, 4.0), st.integers(1, 3 * rdp.EXACT_TERMS))
def test_the_gaps_of_many_shares_are_bounded_from_above_and_closely(sigma, shares):
    exact = math.fsum(math.exp(-2 * math.pi**2 * sigma**2 * k / (k + 1)) for k in range(1, shares))
    found = rdp._sum_of_gaps(sigma, shares)
    assert exact * (1 - 1e-12) <= found <= exact * 1.01
    if sigma >= MIN_SHARE_SIGMA or shares <= rdp.EXACT_TERMS:
        assert found == pytest.approx(exact, rel=1e-9, abs=1e-9)


def test_no_number_of_survivors_makes_a_cost_take_memory_or_be_less():
    tracemalloc.start()
    costs = [rdp.discrete_gaussian_sum(4096, 2.0, shares, 1441) for shares in (10**4, 10**9, 10**21)]
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    for shares, cost in zip((10**4, 10**9, 10**21), costs, strict=True):
        assert (cost >= rdp.gaussian(2.0 * math.sqrt(shares) / 4096)).all()


def test_without_noise_the_cost_is_infinite():
    privacy = make_plan(privacy={"noise_multiplier": 0.0}).privacy
    assert (rdp.update_cost(privacy, 10) == math.inf).all()
    assert rdp.epsilon(rdp.gaussian(0.0), DELTA) == math.inf


@pytest.mark.parametrize(("mu", "delta"), [(0.01, 1e-5), (0.25, 1e-5), (1.0, 1e-5), (3.5, 1e-6), (10.0, 1e-3)])
def test_gaussians_alone_have_an_exact_epsilon(mu, delta):
    from scipy import stats

    def delta_at(eps: float) -> float:
        return stats.norm.cdf(mu / 2 - eps / mu) - math.exp(eps + stats.norm.logcdf(-mu / 2 - eps / mu))

    exact = rdp.gaussian_epsilon(mu, delta)
    assert delta_at(exact) <= delta * (1 + 1e-9)
    assert exact == 0 or delta_at(exact * (1 - 1e-6)) > delta
    assert exact <= rdp.epsilon(rdp.gaussian(1 / mu), delta)
    if mu <= 1:
        by_pld = PLDAccountant(NeighboringRelation.REPLACE_SPECIAL).compose(GaussianDpEvent(1 / mu)).get_epsilon(delta)
        assert exact == pytest.approx(by_pld, rel=1e-3, abs=1e-3)


def test_exact_epsilon_at_the_ends():
    assert rdp.gaussian_epsilon(0.0, DELTA) == 0
    assert rdp.gaussian_epsilon(math.inf, DELTA) == math.inf
    values = [rdp.gaussian_epsilon(mu, DELTA) for mu in (1e-3, 0.1, 1.0, 20.0, 60.0, 1e3)]
    assert values == sorted(values) and math.isfinite(values[-1])


# ---- charge


@examples(40)
@given(st.integers(0, 2**32), st.floats(0.1, 10))
def test_a_charge_is_whole_or_nothing_and_never_beyond_the_cap(seed, cap):
    random = np.random.default_rng(seed)
    spent = rdp.zero(6) + random.uniform(0, 3, (6, 1)) * rdp.gaussian(2.0)
    before = spent.copy()
    cost = rdp.gaussian(random.uniform(0.5, 8)) + rdp.coin(random.uniform(0.01, 2))
    caps = cap * random.uniform(0.5, 2, 6)
    after, allowed = rdp.charge(spent, cost, caps, DELTA)
    np.testing.assert_array_equal(spent, before)
    np.testing.assert_array_equal(allowed, rdp.epsilon(spent + cost, DELTA) <= caps)
    np.testing.assert_array_equal(after[allowed], (spent + cost)[allowed])
    np.testing.assert_array_equal(after[~allowed], spent[~allowed])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [math.nan, -math.inf, -1e-12, -1.0, math.inf])
@pytest.mark.parametrize("cap", [1e9, math.nan, 0.0])
def test_what_is_no_cost_is_never_allowed(value, cap):
    cost = rdp.gaussian(4.0)
    cost[:] = np.where(np.arange(ORDERS.size) % 2 == 0, value, cost) if value != math.inf else math.inf
    for spent in (rdp.zero(2), rdp.zero(2) + rdp.gaussian(1.0)):
        after, allowed = rdp.charge(spent, cost, cap, DELTA)
        assert not allowed.any()
        np.testing.assert_array_equal(after, spent)


def test_an_infinite_cost_needs_an_infinite_cap():
    cost = rdp.gaussian(0.0)
    assert not rdp.charge(rdp.zero(), cost, 1e300, DELTA)[1]
    after, allowed = rdp.charge(rdp.zero(), cost, math.inf, DELTA)
    assert allowed and rdp.epsilon(after, DELTA) == math.inf
    assert not rdp.charge(after, rdp.zero(), 1e300, DELTA)[1], "and is never paid back"


@pytest.mark.parametrize(
    "call",
    [
        lambda: rdp.gaussian(-1.0),
        lambda: rdp.gaussian(math.nan),
        lambda: rdp.coin(0.0),
        lambda: rdp.coin(math.inf),
        lambda: rdp.coin(math.nan),
        lambda: rdp.discrete_gaussian_sum(0, 1.0, 1, 1),
        lambda: rdp.discrete_gaussian_sum(1, 0.4, 2, 1),
        lambda: rdp.discrete_gaussian_sum(1, 1.0, 0, 1),
        lambda: rdp.epsilon(rdp.zero(), 0.0),
        lambda: rdp.epsilon(rdp.zero(), 1.0),
        lambda: rdp.epsilon(np.zeros(43), DELTA),
        lambda: rdp.gaussian_epsilon(-1.0, DELTA),
    ],
)
def test_what_has_no_curve_is_refused(call):
    with pytest.raises(InputError):
        call()
