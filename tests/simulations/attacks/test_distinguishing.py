"""A measured bound on epsilon never exceeds the stated one, and with too little noise the same attack exceeds it."""

import math

import pytest

from simulations.attacks import distinguishing
from simulations.attacks.distinguishing import Told, plan_of, table_of, told
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
    assert demo[f"all.{noise}"].measured > 1.2 * demo["all"].measured
    assert demo[f"all.{noise}"].stated == demo["all"].stated


def test_every_attack_is_published_beside_what_is_stated(monkeypatch):
    monkeypatch.setattr(attack_evidence, "TOLD", {"demo": (20, 400, 200)})
    found = told_numbers("demo")
    keys = {key for key in found if not key.endswith(".stated")}
    assert {f"{key}.stated" for key in keys} == set(found) - keys and len(keys) == 8
    assert all(found[key].value <= math.log(200 / 7) for key in keys)
    assert table_of("demo", {"sum": Told("a sum", 1.0, 0.5)}).row_count == 1
    assert set(distinguishing.NOISES) == {"", "quarter", "none"}
