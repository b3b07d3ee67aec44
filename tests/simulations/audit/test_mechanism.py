"""The audit of the mechanism finds nothing where there is nothing, and four mistakes where they are made."""

import math

import numpy as np
import pytest
from scipy import stats

from shared.events import Catalogue
from shared.plan import BitsPlan, Plan
from simulations.attacks.distinguishing import plan_of
from simulations.audit.mechanism import (
    DRAWS,
    MOST_SHARES,
    View,
    evidence_of,
    judged,
    released,
    thrown,
    trials_of,
    tried,
    views_of,
)
from simulations.audit.power import power_of_trials
from simulations.people.setup import Crowd, Setup
from simulations.scenarios.config import load_scenario
from tests.simulations.audit.faults import FAULTS

TRIALS = 100_000


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Few devices and little noise: what is one device's shows soon."""
    return Setup.of(load_scenario("demo", ["privacy.noise_multiplier=2.0"]), Crowd(30, Catalogue(("any",)))).plan


def by_key(plan: Plan) -> dict[str, View]:
    return {view.key: view for view in views_of(plan, whole=True)}


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_a_mistake_is_found_and_nothing_where_there_is_none(plan, fault, monkeypatch):
    keys = {"update", "update.twice"}
    if fault is not None:
        inject, key = FAULTS[fault]
        inject(monkeypatch)
        keys = {key}
    for key in keys:
        found = tried(by_key(plan)[key], TRIALS, plan.privacy.delta)
        assert found.breaks == (fault is not None), f"{found.at_least} at least, {found.stated} stated"
        assert fault is not None or found.at_least > 0


def test_what_is_released_is_the_clip_behind_the_noise_of_so_many_devices():
    kind = plan_of("demo", 60).updates[0]
    steps = kind.privacy.steps_per_clip
    assert set(released(kind, 50, there=True, shares=7, noise=0.0)) == {(steps - 1) / steps}, "rounded towards zero"
    assert not released(kind, 50, there=False, shares=7, noise=0.0).any()
    for shares in (1, 9, 70):
        seen = released(kind, 20_000, there=True, shares=shares) - released(kind, 20_000, there=False, shares=shares)
        spread = math.sqrt(2 * shares) * kind.privacy.share_sigma / steps
        assert abs(seen.mean() - 1) < 6 * spread / math.sqrt(20_000)
        assert seen.std() == pytest.approx(spread, rel=0.04)


def test_coins_without_noise_say_what_is_true():
    bits = BitsPlan(1_000_000, 28, 3)
    assert set(thrown(bits, 9, there=True, noise=0.0)) == {3.0} and not thrown(bits, 9, there=False, noise=0.0).any()
    assert thrown(bits, 20_000, there=True).mean() == pytest.approx(3 / (1 + math.exp(-1)), abs=0.05)


def test_views_are_as_far_apart_as_the_plan_says_and_thresholds_are_where_chances_are(plan):
    for key in ("update", "update.twice"):
        view = by_key(plan)[key]
        found = tried(view, 4000, plan.privacy.delta)
        at = len(found.thresholds) // 3
        for counts, centre in ((found.right, view.mu), (found.wrong, 0.0)):
            chance = stats.norm.sf(found.thresholds[at] - centre)
            assert abs(counts[at] - 4000 * chance) < 6 * math.sqrt(4000 * chance), key
    once, twice = by_key(plan)["update"], by_key(plan)["update.twice"]
    assert once.mu == pytest.approx(0.5) and twice.mu == pytest.approx(0.5 / math.sqrt(2))
    assert once.stated(1e-5) == twice.stated(1e-5), "the device is in one of the two"


def test_a_whole_run_tells_as_much_as_all_its_rounds(plan):
    whole = by_key(plan)["whole"]
    rounds = [kind.privacy for kind in plan.sums]
    assert whole.mu**2 == pytest.approx(sum(p.rounds / p.noise_multiplier**2 for p in rounds))
    found = tried(whole, 2000, plan.privacy.delta)
    assert tried(by_key(plan)["update"], 2000, plan.privacy.delta).at_least < found.at_least < found.stated
    row = whole.seen[0]
    apart = evidence_of(row, 3000, there=True) - evidence_of(row, 3000, there=False)
    assert apart.mean() == pytest.approx(row.times / row.mechanism.privacy.noise_multiplier**2, rel=0.05)


def test_coins_are_told_nearly_as_well_as_stated(plan):
    coins = by_key(plan)["alert_bit"]
    found = tried(coins, 40_000, plan.privacy.delta)
    assert 0.9 * found.stated < found.at_least <= found.stated
    assert not coins.mu and coins.thresholds.tolist() == [at + 0.5 for at in range(plan.bits.coins)]


def test_a_run_gets_the_draws_that_it_has_time_for(plan):
    few, many = trials_of(plan), trials_of(plan_of("complete-journey-eps1", 50_000))
    assert few["update"] == DRAWS and set(few) == {view.key for view in views_of(plan)}
    views = views_of(plan_of("complete-journey-eps1", 50_000))
    assert sum(many[view.key] * view.shares for view in views) <= MOST_SHARES


def test_counts_alone_give_the_bound_again(plan):
    view = by_key(plan)["update"]
    found = tried(view, 3000, plan.privacy.delta)
    again = judged(view, 3000, np.array(found.right), np.array(found.wrong), plan.privacy.delta)
    assert again == found and len(found.thresholds) == len(found.right) == len(found.wrong)


def test_power_grows_with_trials_and_is_nothing_where_noise_hides_a_quarter(plan):
    view = by_key(plan)["update"]
    few, many = (power_of_trials(view.thresholds, view.mu, n, view.stated(1e-5), 1e-5) for n in (100, 100_000))
    assert few.perfect < many.perfect < view.stated(1e-5)
    assert few.finds_quarter < 0.05 and many.finds_quarter > 0.95 > 0.05 > few.finds_twice and many.finds_twice > 0.95
    found = tried(view, 100_000, 1e-5)
    assert found.at_least == pytest.approx(many.perfect, rel=0.15), "this attacker is as good as any"
