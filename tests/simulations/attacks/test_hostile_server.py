"""A server that wants one device's vector is refused by name, or gets what is independent of it."""

import numpy as np
import pytest
from scipy import stats

from shared.errors import SumError
from simulations.attacks.hostile_server import ATTACKS, STEPS, Sums, everybody, gained, honest_sum
from simulations.published.attack_evidence import server_numbers

REFUSED = {"alone": "few", "bar": "signature", "copies": "box", "second": "second_list"}
NOTHING = ("split", "two")


@pytest.fixture(scope="module")
def sums() -> Sums:
    return Sums()


def test_every_attack_is_here():
    assert set(ATTACKS) == {"whole", *REFUSED, *NOTHING}


@pytest.mark.parametrize("key", REFUSED)
def test_a_server_is_refused_by_name(sums, key):
    with pytest.raises(SumError) as refused:
        ATTACKS[key][1](sums.round(there=True))
    assert refused.value.reason == REFUSED[key]


def test_an_honest_sum_is_the_sum_so_there_is_something_to_find(sums):
    assert [honest_sum(sums.round(there=there)) for there in (True, False)] == [STEPS, 0]


@pytest.mark.parametrize("key", NOTHING)
def test_what_a_server_gets_is_uniform_whatever_the_device_sent(sums, key):
    """Kolmogorov and Smirnov: the worlds' scores are alike, and a single value is as uniform as can be."""
    scores = [[ATTACKS[key][1](sums.round(there=there)) for _ in range(60)] for there in (True, False)]
    assert stats.ks_2samp(*scores).pvalue > 1e-6
    assert np.std(scores) > STEPS, "spread over the whole field, and not around what was sent"


def test_a_split_list_opens_no_sum_of_either(sums):
    r = sums.round(there=True)
    found = ATTACKS["split"][1](r)
    assert found not in (0, STEPS) and len(everybody(r)) == 5


def test_gains_are_counted_and_published(monkeypatch):
    nothing, control = gained("alone", 3), gained("whole", 40)
    assert (nothing.tried, nothing.refused, nothing.measured, nothing.reason) == (6, {"few": 6}, 0.0, "few")
    assert not control.refused and control.measured > 0.5
    monkeypatch.setattr("simulations.published.attack_evidence.SERVER_TRIALS", 2)
    found = server_numbers()
    assert set(found) == {f"attack.server.{key}.{m}" for key in ATTACKS for m in ("refused", "epsilon")}
    assert {found[f"attack.server.{key}.refused"].value for key in REFUSED} == {1.0}
