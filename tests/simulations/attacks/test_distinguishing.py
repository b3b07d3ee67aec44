"""A measured bound on epsilon never exceeds the stated one, and with too little noise the same attack exceeds it."""

import math

import numpy as np
import pytest
from scipy import stats

from shared.plan import BitsPlan
from simulations.attacks import distinguishing
from simulations.attacks.distinguishing import Told, epsilon_at_least, plan_of, released, table_of, thrown, told
from simulations.published import attack_evidence
from simulations.published.attack_evidence import told_numbers
from simulations.scenarios.config import load_scenario

N, N_ALL = 20_000, 3_000


@pytest.fixture(scope="module")
def demo() -> dict[str, Told]:
    return told(plan_of("demo", 60), N, N_ALL)


def test_no_attack_tells_more_than_is_stated(demo):
    for key in ("share", "sum", "all", "coins"):
        assert 0 < demo[key].measured < demo[key].stated, key
    assert demo["sum"].stated < demo["all"].stated < demo["share"].stated, "a broken sum is worse than a whole run"


def test_coins_are_told_nearly_as_well_as_stated_so_the_attack_is_a_good_one(demo):
    coins = load_scenario("demo").bits
    assert demo["coins"].stated == pytest.approx(2 * coins.epsilon, abs=1e-3)
    assert demo["coins"].measured > 0.85 * demo["coins"].stated


@pytest.mark.parametrize("noise", ["quarter", "none"])
def test_too_little_noise_is_found(demo, noise):
    assert demo[f"sum.{noise}"].measured > 1.5 * demo[f"sum.{noise}"].stated
    assert demo[f"all.{noise}"].measured > 1.5 * demo["all"].measured
    assert demo[f"all.{noise}"].stated == demo["all"].stated


def test_what_is_released_is_the_clip_behind_the_noise_of_so_many_devices():
    kind = plan_of("demo", 60).updates[0]
    steps = kind.privacy.steps_per_clip
    assert set(released(kind, 50, there=True, shares=7, noise=0.0)) == {(steps - 1) / steps}, "rounded towards zero"
    assert not released(kind, 50, there=False, shares=7, noise=0.0).any()
    for shares in (1, 9):
        seen = released(kind, 20_000, there=True, shares=shares) - released(kind, 20_000, there=False, shares=shares)
        spread = math.sqrt(2 * shares) * kind.privacy.share_sigma / steps
        assert abs(seen.mean() - 1) < 6 * spread / math.sqrt(20_000)
        assert seen.std() == pytest.approx(spread, rel=0.04)


def test_coins_without_noise_say_what_is_true():
    bits = BitsPlan(1_000_000, 28, 3)
    assert set(thrown(bits, 9, there=True, noise=0.0)) == {3.0} and not thrown(bits, 9, there=False, noise=0.0).any()
    assert thrown(bits, 20_000, there=True).mean() == pytest.approx(3 / (1 + math.exp(-1)), abs=0.05)


@pytest.mark.parametrize("mu", [0.3, 1.0, 4.0])
def test_the_bound_holds_for_gaussians_whose_epsilon_is_known(mu):
    """Of 100 bounds at 90 % confidence at most 25 may exceed the best that any threshold has: expected are 10 at most."""
    random = np.random.default_rng(5)
    at = np.linspace(-2, mu + 4, 2000)
    truth = np.max(np.log(stats.norm.sf(at - mu) / stats.norm.sf(at)))
    found = [epsilon_at_least(random.normal(mu, 1, 400), random.normal(0, 1, 400), 0.0, 0.9) for _ in range(100)]
    assert sum(one > truth for one in found) <= 25 and max(found) > 0


def test_the_bound_of_what_cannot_be_told_is_nothing_and_of_what_can_it_grows_with_the_trials():
    same = np.zeros(1000)
    assert epsilon_at_least(same, same, 0.0) == 0.0
    few, many = (epsilon_at_least(np.ones(n), np.zeros(n), 0.0) for n in (100, 10_000))
    assert 1 < few < many and many == pytest.approx(math.log(5000 / 7.6), abs=0.05)
    assert epsilon_at_least(np.ones(100), np.zeros(100), 1.0) == 0.0, "delta 1 promises nothing"


def test_every_attack_is_published_beside_what_is_stated(monkeypatch):
    monkeypatch.setattr(attack_evidence, "TOLD", {"demo": (20, 400, 200)})
    found = told_numbers("demo")
    keys = {key for key in found if not key.endswith(".stated")}
    assert {f"{key}.stated" for key in keys} == set(found) - keys and len(keys) == 8
    assert all(found[key].value <= math.log(200 / 7) for key in keys)
    assert table_of("demo", {"sum": Told("a sum", 1.0, 0.5)}).row_count == 1
    assert set(distinguishing.NOISES) == {"", "quarter", "none"}
