"""Epsilon: closed forms where nobody is sampled, never below dp-accounting where somebody is; the loop stops in time."""

import math
from dataclasses import replace

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.pld import PLDAccountant
from scipy import signal, stats

from server.privacy.accounting import (
    RoundAccountant,
    account_of,
    affordable_rounds,
    charged_lines,
    epsilon_bound,
    epsilon_if_broken,
    epsilon_to_public,
    epsilon_unamplified,
    to_server,
)
from server.privacy.composition import slack
from server.privacy.lone_share import lone_share_epsilon
from server.privacy.votes import VotesCharge
from shared import rdp
from shared.charges import Charge, charges_of
from shared.plan import BitsPlan, Plan, SumPlan
from tests.world.basics import charged, make_plan, make_risk

DELTA = 1e-5
NEIGHBOURS = NeighboringRelation.REPLACE_SPECIAL
COINS = BitsPlan(1_000_000, 28, 2)


def plan_of(*, bits: BitsPlan | None = None, phi: dict | None = None, **changes) -> Plan:
    base = {
        "noise_multiplier": 1.0,
        "sampling_rate": 1.0,
        "rounds": 100,
        "population": 1000,
        "min_survivors": 100,
        "delta": DELTA,
    }
    privacy = {**base, **changes}
    expected = round(privacy["sampling_rate"] * privacy["population"])
    privacy["min_survivors"] = min(privacy["min_survivors"], max(expected, 1))
    risk = make_risk(privacy={**privacy, "max_epsilon": math.inf, **phi}) if phi else None
    return make_plan(privacy=privacy, risk=risk, bits=bits)


def public(plan: Plan, *rounds: int) -> float:
    return epsilon_to_public(charged(plan, *rounds), plan.privacy.delta)


def by_dp_accounting(*parts: tuple[float, float, int], delta: float = DELTA) -> float:
    """PLD of (sigma, q, rounds), without our code in between."""
    accountant = PLDAccountant(NEIGHBOURS)
    for sigma, q, rounds in parts:
        event = GaussianDpEvent(sigma) if q == 1 else PoissonSampledDpEvent(q, GaussianDpEvent(sigma))
        accountant.compose(SelfComposedDpEvent(event, rounds))
    return accountant.get_epsilon(delta)


def gaussian_delta(epsilon: float, mu: float) -> float:
    """Balle and Wang 2018, theorem 8: delta of composed Gaussians, exactly."""
    return stats.norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon + stats.norm.logcdf(-mu / 2 - epsilon / mu))


# ---- everybody in every round


@pytest.mark.parametrize(("sigma", "times"), [(1.0, 1), (1.0, 7), (4.0, 14), (0.7, 3)])
def test_rounds_of_everybody_are_one_gaussian(sigma, times):
    plan = plan_of(noise_multiplier=sigma)
    epsilon = public(plan, times)
    assert gaussian_delta(epsilon, math.sqrt(times) / sigma) == pytest.approx(DELTA, rel=2e-3)
    assert epsilon == pytest.approx(by_dp_accounting((sigma, 1.0, times)), rel=1e-4)
    assert epsilon == epsilon_unamplified(charged(plan, times), DELTA) < epsilon_bound(charged(plan, times), DELTA)


def test_two_parts_are_one_gaussian_too():
    """mu's of composed Gaussians add in squares: 6 times sigma 4 and 3 times sigma 3."""
    plan = plan_of(noise_multiplier=4.0, phi={"noise_multiplier": 3.0})
    assert gaussian_delta(public(plan, 6, 3), math.sqrt(6 / 4**2 + 3 / 3**2)) == pytest.approx(DELTA, rel=2e-3)
    assert max(public(plan, 6, 0), public(plan, 0, 3)) < public(plan, 6, 3) < public(plan, 6, 0) + public(plan, 0, 3)


def test_the_known_figures_of_participation():
    """At sigma 4 that is 2.5 for 6 times, 4.05 for 14."""
    plan = plan_of(noise_multiplier=4.0, rounds=60)
    assert [round(public(plan, times), 2) for times in (6, 14)] == [2.50, 4.05]


def test_bits_count_in_what_the_public_sees():
    plan = plan_of(noise_multiplier=4.0, bits=COINS)
    with_coins, without = public(plan, 14), public(replace(plan, bits=None), 14)
    assert without < with_coins < without + 2
    assert with_coins == pytest.approx(5.913, abs=1e-3)
    assert public(plan, 0) == pytest.approx(2, abs=1e-3) and public(plan, 0) < 2, "the coins alone"


# ---- sampled cohorts


@pytest.mark.parametrize(
    ("sigma", "q", "rounds"), [(1.0, 0.2, 40), (4.0, 0.1, 60), (2.0, 0.1, 20), (0.8, 0.05, 20), (6.0, 0.5, 12)]
)
def test_a_sampled_plan_never_costs_less_than_any_attendance_alone(sigma, q, rounds):
    """Nor than the textbook's Gaussian; and not more than without the secrecy of its cohorts."""
    honest = round(0.7 * 1000 * q)
    plan = plan_of(noise_multiplier=sigma, sampling_rate=q, rounds=rounds, min_survivors=honest)
    ours = public(plan, rounds)
    assert ours >= by_dp_accounting((sigma, q, rounds))
    spread = 4 * math.sqrt(1000 * q * (1 - q))
    for attending in (honest, round(1000 * q), round(1000 * q + spread)):
        assert ours >= by_dp_accounting((sigma * math.sqrt(attending / honest), attending / 1000, rounds))
    everybody = plan_of(noise_multiplier=sigma, rounds=rounds, min_survivors=honest)
    assert ours <= epsilon_bound(charged(everybody, rounds), DELTA)


def test_a_sampled_plan_is_told_as_a_bound():
    sampled, plain = plan_of(sampling_rate=0.2, noise_multiplier=4.0), plan_of(noise_multiplier=4.0)
    assert account_of(sampled, charges_of(sampled))["by_bound"] and not account_of(plain, charges_of(plain))["by_bound"]


def test_little_noise_is_answered_at_once():
    """Multipliers that privacy loss distributions take minutes and gigabytes for."""
    for noise in (0.3, 0.1):
        plan = plan_of(noise_multiplier=noise, sampling_rate=0.2, rounds=40, min_survivors=42, population=300)
        assert public(plan, 40) > 50


# ---- edges, and how epsilon moves


def test_without_noise_epsilon_is_infinite_and_without_rounds_it_is_0():
    for q in (0.05, 1.0):
        plan = plan_of(noise_multiplier=0.0, sampling_rate=q)
        assert public(plan, 3) == epsilon_bound(charged(plan, 3), DELTA) == math.inf
        assert epsilon_unamplified(charged(plan, 3), DELTA) == math.inf
        assert RoundAccountant(plan).affords_another(), "an infinite cap affords it, and says so"
    assert not RoundAccountant(plan_of(noise_multiplier=0.0, max_epsilon=1e9)).affords_another()
    assert RoundAccountant(plan_of()).epsilon == public(plan_of(), 0) == epsilon_bound((), DELTA) == 0


def test_a_part_that_was_not_run_costs_nothing_and_one_without_noise_everything():
    plan = plan_of(noise_multiplier=2.0, phi={"noise_multiplier": 0.0})
    assert public(plan, 7, 0) == public(plan_of(noise_multiplier=2.0), 7)
    assert public(plan, 7, 1) == math.inf


@pytest.mark.parametrize("q", [0.1, 1.0])
@pytest.mark.parametrize("account", [epsilon_to_public, epsilon_bound])
def test_epsilon_grows_with_rounds_and_falls_with_noise_and_delta(account, q):
    def cost(rounds: int = 3, delta: float = DELTA, **changes) -> float:
        plan = plan_of(**{"noise_multiplier": 3.0, "sampling_rate": q, "min_survivors": 80, **changes})
        return account(charged(plan, rounds), delta)

    def rising(values: list[float]) -> bool:
        return all(a < b for a, b in zip(values, values[1:], strict=False))

    assert rising([cost(rounds) for rounds in (1, 5, 20)])
    assert rising([cost(noise_multiplier=s) for s in (6.0, 3.0, 1.5)])
    assert rising([cost(delta=d) for d in (1e-4, 1e-6)])


def test_sampling_less_costs_less():
    costs = [
        public(plan_of(noise_multiplier=3.0, sampling_rate=q, min_survivors=round(800 * q)), 3) for q in (0.1, 0.5, 1)
    ]
    assert costs == sorted(costs) and len(set(costs)) == 3


# ---- what is set aside of delta


def test_the_slack_is_small_where_epsilon_says_something_and_eats_delta_where_it_does_not():
    row = Charge(plan_of(noise_multiplier=5.0, steps_per_clip=4096).updates[0], 60)
    assert 0 < slack([row], DELTA, 7.0) < 1e-3 * DELTA
    assert slack([row], DELTA, 60.0) > DELTA
    assert slack([Charge(COINS, 2)], DELTA, 2.0) == 0, "a coin is exact"
    loud = plan_of(noise_multiplier=0.3)
    assert public(loud, 100) == math.inf, "nothing is promised, and nothing printed that looks like a promise"


@pytest.mark.parametrize("steps", [256, 1024, 4096])
@pytest.mark.parametrize("noise", [1.0, 2.0, 6.0])
def test_a_round_of_integers_adds_no_more_to_delta_than_is_set_aside_for_the_grid(steps, noise):
    """The discrete Gaussian against the continuous one, neighbours a whole clip apart along one axis, summed exactly."""
    sigma = noise * steps
    x = np.arange(-math.ceil(14 * sigma), math.ceil(14 * sigma) + steps, dtype=np.float64)
    p, q = (np.exp(-((x - shift) ** 2) / (2 * sigma**2)) for shift in (steps, 0))
    whole = math.fsum(q)
    plan = plan_of(noise_multiplier=noise, steps_per_clip=steps)
    room = slack([Charge(plan.updates[0], 1)], DELTA, 0.0)
    for epsilon in np.linspace(0.05, 6 / noise, 40):
        discrete = math.fsum(np.maximum(p - math.exp(epsilon) * q, 0)) / whole
        assert discrete - gaussian_delta(epsilon, 1 / noise) <= room


def test_nor_do_several_rounds():
    """Four rounds, one after the other: losses add, so their distribution is convolved."""
    steps, noise, rounds = 256, 2.0, 4
    sigma, reach = noise * steps, math.ceil(12 * noise * steps)
    x = np.arange(-reach, reach + 1, dtype=np.float64)
    once = np.exp(-(x**2) / (2 * sigma**2))
    once /= math.fsum(once)
    summed = once
    for _ in range(rounds - 1):
        summed = signal.fftconvolve(summed, once)
    q = np.maximum(summed, 0)
    at = np.arange(q.size) - q.size // 2
    log_ratio = (2 * at * steps + rounds * steps**2) / (2 * sigma**2)  # at at + rounds * steps, where p has q's value
    room = slack([Charge(plan_of(noise_multiplier=noise, steps_per_clip=steps).updates[0], rounds)], DELTA, 0.0)
    for epsilon in (0.1, 0.5, 1.0, 2.0):
        discrete = math.fsum(q * np.maximum(-np.expm1(epsilon - log_ratio), 0))
        assert discrete - gaussian_delta(epsilon, math.sqrt(rounds) / noise) <= room


# ---- the loop


@pytest.mark.parametrize("q", [0.1, 1.0])
@pytest.mark.parametrize("budget", [0.5, 1.0])
def test_the_loop_stops_before_the_budget_and_not_before_it_must(budget, q):
    plan = plan_of(noise_multiplier=8.0, sampling_rate=q, rounds=500, min_survivors=80, max_epsilon=budget)
    accountant = RoundAccountant(plan)
    while accountant.affords_another():
        before = accountant.rounds, accountant.epsilon
        accountant.charge()
        assert accountant.rounds == before[0] + 1 and accountant.epsilon >= before[1]
    assert 0 < accountant.rounds < 500
    assert public(plan, accountant.rounds) <= budget < public(plan, accountant.rounds + 1)


def test_asking_costs_nothing():
    plan = plan_of(noise_multiplier=30.0, rounds=8, max_epsilon=0.3)
    accountant = RoundAccountant(plan)
    accountant.charge(3)
    epsilon = accountant.epsilon
    for _ in range(5):
        accountant.affords_another()
    assert (accountant.rounds, accountant.epsilon) == (3, epsilon)
    assert not RoundAccountant(plan_of(noise_multiplier=3.0, rounds=4, max_epsilon=1e-4)).affords_another()


def test_all_else_that_a_plan_charges_is_set_aside_before_p_s_rounds_are_run():
    alone = plan_of(noise_multiplier=8.0, rounds=500, max_epsilon=5.0)
    beside = plan_of(noise_multiplier=8.0, rounds=500, max_epsilon=5.0, phi={"noise_multiplier": 12.0, "rounds": 12})
    with_coins = replace(beside, bits=COINS)
    counts = [affordable_rounds(plan) for plan in (with_coins, beside, alone)]
    assert 0 < counts[0] < counts[1] < counts[2] < 500
    for plan, most in zip((with_coins, beside, alone), counts, strict=True):
        assert public(plan, most) <= 5 < public(plan, most + 1)
        accountant = RoundAccountant(plan)
        while accountant.affords_another():
            accountant.charge()
        assert accountant.rounds == most


def test_what_takes_all_leaves_no_round():
    for dear in ({"noise_multiplier": 0.8}, {"noise_multiplier": 0.0}):
        plan = plan_of(noise_multiplier=30.0, rounds=5, max_epsilon=0.9, phi={"rounds": 12, **dear})
        assert affordable_rounds(plan) == 0 and not RoundAccountant(plan).affords_another()
    assert affordable_rounds(plan_of(noise_multiplier=30.0, rounds=5, max_epsilon=0.9, bits=COINS)) == 0


# ---- in words and numbers for people


SEATS = SumPlan(0, 40, 58, 23, 25)
LEARNS = {
    SumPlan(2): "if one of 2 helpers is honest",
    SumPlan(3): "if one of 3 helpers is honest",
    SEATS: "if at most 6 of 58 devices drawn as its seats are hostile",
    replace(
        SEATS, helpers=2
    ): "if one of 2 helpers is honest, or at most 6 of 58 devices drawn as its seats are hostile",
}


@pytest.mark.parametrize(("planned", "condition"), LEARNS.items(), ids=str)
def test_what_the_server_learns_is_said_with_what_it_rests_on(planned, condition):
    plan = replace(
        plan_of(noise_multiplier=4.0, phi={"noise_multiplier": 6.0, "min_survivors": 7}, bits=COINS), sum=planned
    )
    fewest = min(kind.privacy.min_survivors for kind in plan.updates)
    assert to_server(plan, charges_of(replace(plan, bits=None)), DELTA) == (
        f"the noisy sum of each round over at least {fewest} devices, {condition}"
    )
    coins = "; randomised bits: 2 coins of epsilon 1 each, 2 together"
    assert to_server(plan, charges_of(plan), DELTA).endswith(condition + coins)


def test_without_noise_nobody_says_noisy_and_without_a_sum_nothing_is_sent():
    plan = replace(plan_of(noise_multiplier=0.0), sum=SumPlan(3))
    said = to_server(plan, charges_of(plan), DELTA)
    assert said.startswith("the sum of each round over") and ", without noise, if one of 3" in said
    none = to_server(replace(plan, sum=None), charges_of(plan), DELTA)
    assert none == "nothing of updates: without a secure sum no device sends one"


def test_every_row_of_the_table_has_its_own_epsilon():
    plan = plan_of(noise_multiplier=4.0, rounds=14, phi={"noise_multiplier": 6.0, "rounds": 3}, bits=COINS)
    table = charges_of(plan)
    lines = charged_lines(table, DELTA)
    assert [(line.line, line.times) for line in lines] == [("update", 14), ("risk_update", 3), ("alert_bit", 2)]
    assert [line.epsilon_to_public for line in lines] == [epsilon_to_public((row,), DELTA) for row in table]
    assert [line.epsilon_to_server for line in lines] == [epsilon_unamplified((row,), DELTA) for row in table]
    assert [line.epsilon_if_broken for line in lines] == [epsilon_if_broken(row) for row in table]
    account = account_of(plan, table)
    alone = [line.epsilon_to_public for line in lines]
    assert max(alone) < account["epsilon_to_public"] < sum(alone)
    assert account["epsilon_to_public"] < account["epsilon_bound"]
    ledger = sum(row.times * row.cost for row in table)
    assert account["epsilon_bound"] == pytest.approx(float(rdp.epsilon(ledger, DELTA)), rel=1e-4)


@pytest.mark.parametrize("noise", [1.5, 5.0, 40.0])
def test_a_choice_by_votes_before_a_run_is_one_more_gaussian(noise):
    """As dp-accounting composes it, with the part of delta that names of one user take set aside."""
    plan, votes = plan_of(noise_multiplier=4.0, rounds=14), VotesCharge("choice", noise, 16, 4096.0, 1e-8)
    table = charges_of(plan)
    mu = math.sqrt(14 / 4.0**2 + 1 / noise**2)
    account = account_of(plan, (*table, votes))
    assert account["epsilon_to_public"] == pytest.approx(rdp.gaussian_epsilon(mu, DELTA - 1e-8), rel=1e-4)
    event = SelfComposedDpEvent(GaussianDpEvent(4.0), 14)
    theirs = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE).compose(event).compose(GaussianDpEvent(noise))
    assert account["epsilon_to_public"] == pytest.approx(theirs.get_epsilon(DELTA - 1e-8), rel=1e-3)
    alone = account_of(plan, table)
    for name in ("epsilon_to_public", "epsilon_to_server", "epsilon_bound"):
        assert account[name] > alone[name]
    row = account["lines"][-1]
    assert (row["line"], row["times"], row["noise_multiplier"], row["coin_epsilon"]) == ("choice", 1, noise, None)
    assert row["epsilon_to_public"] == row["epsilon_if_broken"] == epsilon_to_public((votes,), DELTA)


def test_a_choice_by_votes_promises_nothing_at_a_delta_that_its_names_eat_up():
    votes = VotesCharge("choice", 5.0, 16, 4096.0, 1e-6)
    assert epsilon_to_public((votes,), 1e-5) < 1.5
    assert math.isinf(epsilon_to_public((votes,), 1.5e-6)) and math.isinf(epsilon_bound((votes,), 1.5e-6))


def test_the_server_gets_no_amplification_and_is_told_the_same_where_there_is_none():
    sampled, plain = plan_of(sampling_rate=0.2, noise_multiplier=4.0), plan_of(noise_multiplier=4.0)
    for plan in (sampled, plain):
        account = account_of(plan, charges_of(plan))
        mu = math.sqrt(plan.privacy.rounds) / plan.privacy.noise_multiplier
        assert account["epsilon_to_server"] == pytest.approx(rdp.gaussian_epsilon(mu, DELTA), rel=1e-3)
        assert (account["epsilon_to_server"] == account["epsilon_to_public"]) is not account["by_bound"]
        assert account["epsilon_to_server"] >= account["epsilon_to_public"]


def test_colluders_cost_noise_unless_the_plan_counts_them():
    """The same share, of a plan that counts five colluders: less noise in a sum without these five, and the epsilon of that."""
    counted = plan_of(noise_multiplier=4.0, min_survivors=100, max_colluders=5)
    ignored = plan_of(noise_multiplier=4.0 * math.sqrt(100 / 95), min_survivors=100)
    assert counted.privacy.share_sigma == pytest.approx(ignored.privacy.share_sigma)
    assert account_of(counted, charged(counted, 9))["epsilon_to_server"] > public(ignored, 9)


# ---- a broken sum


@pytest.mark.parametrize(("noise", "survivors"), [(4.0, 25), (4.0, 100), (20.0, 100)])
def test_a_lone_share_is_one_discrete_gaussian_exactly(noise, survivors):
    """Beside the continuous one, and by a sum over integers that shares no code with ours."""
    plan = plan_of(noise_multiplier=noise, min_survivors=survivors, steps_per_clip=1024)
    epsilon = lone_share_epsilon(plan.privacy, 1441)
    mu = math.sqrt(survivors) / noise
    assert gaussian_delta(epsilon, mu) == pytest.approx(DELTA, rel=1e-3)
    sigma, steps = plan.privacy.share_sigma, plan.privacy.steps_per_clip
    x = np.arange(-math.ceil(13 * sigma), math.ceil(13 * sigma) + steps)
    p, q = (stats.norm.pdf(x, shift, sigma) for shift in (steps, 0))
    exact = math.fsum(np.maximum(p - math.exp(epsilon) * q, 0)) / math.fsum(p)
    assert exact <= DELTA * (1 + 1e-9) and exact == pytest.approx(DELTA, rel=1e-6)


def test_a_lone_share_that_promises_nothing_says_so():
    assert lone_share_epsilon(plan_of(noise_multiplier=0.0).privacy, 9) == math.inf
    assert lone_share_epsilon(plan_of(noise_multiplier=1.0, min_survivors=400).privacy, 1441) == math.inf
    assert epsilon_if_broken(Charge(COINS, 2)) == 1.0, "a coin needs no sum"


def test_a_lone_share_hides_less_than_a_sum_and_the_less_the_more_share_the_noise():
    epsilons = [
        lone_share_epsilon(plan_of(noise_multiplier=8.0, min_survivors=n, steps_per_clip=1024).privacy, 9)
        for n in (1, 9, 100)
    ]
    assert epsilons == sorted(set(epsilons))
    assert epsilons[0] == pytest.approx(public(plan_of(noise_multiplier=8.0), 1), rel=1e-3), "alone it is the sum"
