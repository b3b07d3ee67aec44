"""What all published trainings cost together is more than one of them, and less than five times as much."""

import math

import pytest

from shared import rdp
from simulations.published.__main__ import TRAINED_TWICE
from simulations.published.epsilon import KEYS, epsilon_figures, stated_epsilons
from simulations.scenarios.config import load_scenario


def test_five_trainings_are_one_with_five_times_the_rounds():
    found = epsilon_figures(TRAINED_TWICE)
    assert set(found) == {
        f"epsilon.{name}.{key}{more}" for name in TRAINED_TWICE for key in KEYS for more in ("", ".bound", ".five")
    }
    for name in TRAINED_TWICE:
        for key in KEYS:
            one, bound, five = (found[f"epsilon.{name}.{key}{more}"].value for more in ("", ".bound", ".five"))
            scenario = load_scenario(f"{name}-{key}")
            parts = (scenario.privacy, scenario.risk)
            mu = math.sqrt(sum(part.rounds / part.noise_multiplier**2 for part in parts))
            for times, value in ((1, one), (5, five)):
                assert value == pytest.approx(
                    rdp.gaussian_epsilon(math.sqrt(times) * mu, scenario.privacy.delta), rel=1e-3
                )
            assert (
                one < bound <= scenario.privacy.max_epsilon * 1.2
                and one <= scenario.privacy.max_epsilon < five < 5 * one
            )


def test_every_row_is_stated_to_whoever_sees_the_models_to_the_server_and_for_a_broken_sum():
    found = stated_epsilons([("demo", 300), ("complete-journey-eps7", 2456)])
    for line in ("update", "risk_update", "alert_bit"):
        public, server, broken = (found[f"stated.demo.{line}.{whom}"].value for whom in ("public", "server", "broken"))
        assert public == server, "everybody is in every round"
        assert (broken > public) is (line != "alert_bit"), "a coin needs no sum, and two of them cost more than one"
    assert found["stated.demo.all.server"].value < sum(
        found[f"stated.demo.{line}.server"].value for line in ("update", "risk_update", "alert_bit")
    )
    assert "stated.complete-journey-eps7.update.broken" not in found, "nothing is promised there"
    assert "stated.demo.all.broken" not in found
