"""BG/NBD against what it is made of: integrals over its mixtures, and simulated customers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta, gamma

from shared.errors import InputError
from shared.features import History
from simulations.baselines.bgnbd import BgNbd, Purchases, fit, fit_history
from tests.world.basics import random_history

MODEL = BgNbd(0.8, 6.0, 1.4, 3.0)


def customers(model: BgNbd, n: int, age: float, future: float, seed: int) -> tuple[np.ndarray, ...]:
    """x, t_x and T of simulated customers, who is alive at T, and who buys nothing in (T, T + future]."""
    random = np.random.Generator(np.random.Philox(seed))
    x, t_x = np.zeros(n), np.zeros(n)
    ages = random.uniform(age / 2, age, n)
    alive, silent = np.ones(n, bool), np.ones(n, bool)
    rate, leaves = random.gamma(model.r, 1 / model.alpha, n), random.beta(model.a, model.b, n)
    for i in range(n):
        t = random.exponential(1 / rate[i])
        while t <= ages[i] + future:
            if t > ages[i]:
                silent[i] = False
                break
            x[i], t_x[i] = x[i] + 1, t
            if random.random() < leaves[i]:
                alive[i] = False
                break
            t += random.exponential(1 / rate[i])
    return x, t_x, ages, alive, silent


@pytest.mark.parametrize(("x", "t_x", "age"), [(0, 0.0, 9.0), (1, 2.0, 9.0), (4, 6.5, 9.0), (7, 3.0, 20.0)])
def test_closed_forms_equal_the_integrals_over_the_mixtures(x: int, t_x: float, age: float) -> None:
    ahead = 5.0

    def over_rates(power: float, until: float) -> float:
        """E[rate ** power * exp(-rate * until)]"""
        density = gamma(MODEL.r, scale=1 / MODEL.alpha).pdf
        return quad(lambda rate: rate**power * np.exp(-rate * until) * density(rate), 0, np.inf, epsabs=1e-16)[0]

    def over_chances(leaves: int, stays: int) -> float:
        """E[p ** leaves * (1 - p) ** stays]"""
        density = beta(MODEL.a, MODEL.b).pdf
        return quad(lambda p: p**leaves * (1 - p) ** stays * density(p), 0, 1, epsabs=1e-16)[0]

    alive = over_chances(0, x) * over_rates(x, age)
    later = over_chances(0, x) * over_rates(x, age + ahead)
    left = over_chances(1, x - 1) * over_rates(x, t_x) if x else 0.0
    known = tuple(np.array([value], float) for value in (x, t_x, age))
    assert MODEL.log_likelihood(*known)[0] == pytest.approx(np.log(alive + left), abs=1e-5)
    assert MODEL.p_alive(*known)[0] == pytest.approx(alive / (alive + left), abs=1e-5)
    assert MODEL.p_silent(*known, ahead)[0] == pytest.approx((left + later) / (alive + left), abs=1e-5)


def test_parameters_are_found_again_and_probabilities_come_true() -> None:
    x, t_x, age, alive, silent = customers(MODEL, 12_000, 60.0, 10.0, seed=1)
    found = fit(x, t_x, age)
    assert found.r == pytest.approx(MODEL.r, rel=0.1) and found.alpha == pytest.approx(MODEL.alpha, rel=0.12)
    assert found.a / (found.a + found.b) == pytest.approx(MODEL.a / (MODEL.a + MODEL.b), rel=0.08)
    for p, happened in ((found.p_alive(x, t_x, age), alive), (found.p_silent(x, t_x, age, 10.0), silent)):
        for low, high in ((0, 0.3), (0.3, 0.6), (0.6, 0.85), (0.85, 1.01)):
            these = (p >= low) & (p < high)
            if these.sum() > 300:
                assert happened[these].mean() == pytest.approx(p[these].mean(), abs=0.05)
    best = found.log_likelihood(x, t_x, age).sum()
    for other in (MODEL, BgNbd(found.r * 1.1, found.alpha, found.a, found.b)):
        assert best >= other.log_likelihood(x, t_x, age).sum()


def test_customers_of_a_hand_made_history() -> None:
    active = np.zeros((3, 10), bool)
    active[0, [2, 3, 7]] = True
    active[1, 5] = True
    known = Purchases.of(History(active, active.astype(np.float32), active.astype(np.float32)), [1, 4, 8])
    assert known.x.tolist() == [[-1, -1, -1], [1, -1, -1], [2, 0, -1]]
    assert known.t_x.tolist() == [[0, 0, 0], [1, 0, 0], [5, 0, 0]]
    assert known.age.tolist() == [[0, 0, 0], [2, 0, 0], [6, 3, 0]]


def test_who_never_came_back_counts_as_alive_and_longer_silence_as_less_so() -> None:
    age = np.arange(5.0, 40.0)
    assert (MODEL.p_alive(np.zeros(35), np.zeros(35), age) == 1).all()
    p = MODEL.p_alive(np.full(35, 6.0), np.full(35, 5.0), age)
    assert (np.diff(p) < 0).all() and 0 < p[-1] < p[0] < 1
    silent = MODEL.p_silent(np.full(35, 6.0), np.full(35, 5.0), age, 8.0)
    assert (np.diff(silent) > 0).all() and (silent > 1 - p).all()


def test_a_fit_knows_nothing_of_later_steps_and_of_nobody_else() -> None:
    random = np.random.Generator(np.random.Philox(3))
    history = random_history(random, (60, 3, 40))
    changed = random_history(random, (60, 3, 40))
    for column in ("active", "count", "amount"):
        getattr(changed, column)[..., :25] = getattr(history, column)[..., :25]
    assert fit_history(history, 24) == fit_history(changed, 24)
    chosen = np.zeros((60, 3), bool)
    chosen[:30] = True
    half = history[:30]
    assert fit_history(history, 24, chosen) == fit_history(half, 24) != fit_history(history, 24)


def test_nobody_is_no_population() -> None:
    with pytest.raises(InputError, match="expected at least one customer, got 0"):
        fit(np.empty(0), np.empty(0), np.empty(0))
