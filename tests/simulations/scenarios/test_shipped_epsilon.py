"""Epsilon of every scenario that comes along, as it is printed, against two computations that share no code with ours: the
closed form of Gaussians, and privacy losses on a grid, composed by Fourier transform, coins included."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from server.privacy.accounting import account_of, epsilon_to_public
from shared.charges import charges_of
from shared.events import Catalogue
from simulations.people.of_scenario import protocol_of
from simulations.scenarios.config import SCENARIOS, load_scenario

NAMES = sorted(file.stem for file in SCENARIOS.glob("*.toml"))
N_USERS = {"complete-journey": 2456, "online-retail-ii": 4718, "ta-feng": 30_859, "ta-feng-days": 30_859}
GRID, CELLS = 5e-4, 1 << 18


def plan_of(name: str):
    scenario = load_scenario(name)
    n_devices = scenario.data.users or N_USERS[scenario.data.name]
    return scenario.plan(protocol_of(scenario), Catalogue(("a", "b")), n_devices, bytes(32))


def parts_of(plan) -> tuple[list[tuple[float, int]], list[tuple[float, int]]]:
    """(noise multiplier, rounds) of what is learned and asked for, (epsilon, how many) of coins: read off the plan's own fields."""
    rounds = [(plan.privacy.noise_multiplier, plan.privacy.rounds)]
    if plan.risk:
        rounds.append((plan.risk.privacy.noise_multiplier, plan.risk.privacy.rounds))
    if plan.heads:
        parts = plan.heads.crowd, plan.heads.curvature, plan.heads.updates
        rounds += [(privacy.noise_multiplier, privacy.rounds) for privacy in parts]
    rounds += [(query.privacy.noise_multiplier, query.privacy.rounds) for query in plan.queries]
    return rounds, [(plan.bits.epsilon_micro / 1e6, plan.bits.coins)] if plan.bits else []


def gaussian_epsilon(rounds, delta: float) -> float:
    """Balle and Wang 2018, theorem 8, solved for epsilon."""
    mu = math.sqrt(sum(n / z**2 for z, n in rounds))
    return brentq(
        lambda e: norm.sf(e / mu - mu / 2) - math.exp(e + norm.logsf(e / mu + mu / 2)) - delta, 1e-6, 60, xtol=1e-10
    )


def fourier_epsilon(rounds, coins, delta: float) -> float:
    """The loss of one round is normal with mean 1 / (2 z^2) and variance 1 / z^2, that of a coin +- its epsilon: put on a
    grid, rounded up, one by one, and multiplied as Fourier transforms."""
    loss = (np.arange(CELLS) - CELLS // 2) * GRID
    whole = np.ones(CELLS // 2 + 1, complex)
    for z, n in rounds:
        mass = np.diff(norm.cdf(loss, 1 / (2 * z * z), 1 / z), prepend=0.0)
        whole *= np.fft.rfft(np.fft.ifftshift(mass)) ** n
    for epsilon, n in coins:
        mass, truth = np.zeros(CELLS), 1 / (1 + math.exp(-epsilon))
        mass[CELLS // 2 + round(epsilon / GRID)], mass[CELLS // 2 - round(epsilon / GRID)] = truth, 1 - truth
        for _ in range(n):
            whole *= np.fft.rfft(np.fft.ifftshift(mass))
    mass = np.fft.fftshift(np.fft.irfft(whole, CELLS))
    above = lambda e: float((mass * -np.expm1(np.minimum(e - loss, 0))).sum())  # noqa: E731
    return brentq(lambda e: above(e) - delta, 0, 60, xtol=1e-9)


def test_the_two_ways_agree_with_each_other():
    rounds = [(4.0, 14), (9.0, 5)]
    assert fourier_epsilon(rounds, [], 1e-5) == pytest.approx(gaussian_epsilon(rounds, 1e-5), abs=6e-3)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_printed_is_what_others_compute(name):
    plan = plan_of(name)
    assert all(kind.privacy.sampling_rate == 1 for kind in plan.updates)
    rounds, coins = parts_of(plan)
    printed = account_of(plan, charges_of(plan))["epsilon_to_public"]
    if coins:
        together = [(1 / math.sqrt(sum(n / z**2 for z, n in rounds)), 1)]  # so many Gaussians are one
        assert printed == pytest.approx(fourier_epsilon(together, coins, plan.privacy.delta), abs=1e-3)
        steps = sum(n for _, n in rounds) * GRID  # one by one, every rounding is upwards by less than a cell
        ours = fourier_epsilon(rounds, coins, plan.privacy.delta)
        assert printed <= ours + 1e-3 and ours - printed <= steps + 1e-3
    else:
        assert printed == pytest.approx(gaussian_epsilon(rounds, plan.privacy.delta), rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_promised_is_kept_by_the_coarser_bound_too_or_is_printed_beside_it(name):
    plan = plan_of(name)
    account = account_of(plan, charges_of(plan))
    assert account["epsilon_to_public"] <= min(plan.privacy.max_epsilon, account["epsilon_bound"])
    assert account["epsilon_bound"] < 1.2 * account["epsilon_to_public"]


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name.endswith(("eps1", "heads")) or name.startswith("ta-feng")]
)
def test_epsilon_of_one_is_one(name):
    plan = plan_of(name)
    assert 0.95 < epsilon_to_public(charges_of(plan), plan.privacy.delta) <= 1
