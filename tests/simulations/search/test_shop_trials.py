"""Planted shops end to end: a reduced count of what the figures decide.coverage and verdict.right_of_40 say of forty."""

import pytest

from simulations.published.decide import figures_of
from simulations.search.shop_trials import try_shop

pytestmark = pytest.mark.slow


def test_a_verdict_is_never_the_wrong_way_round_and_rules_are_rules():
    trials = [try_shop(kind, seed, crowd=3000) for kind in ("steady", "fading") for seed in (904, 905)]
    for one in trials:
        assert {one.verdict, one.truth} != {"learning", "rule"}
    assert all(one.truth == "rule" for one in trials if one.kind == "steady")
    found = figures_of(trials)
    assert found["verdict.wrong_of_40"].value == 0
    assert {key for key in found if key.startswith("decide.")} == {
        "decide.coverage",
        "decide.coverage.right",
        "decide.coverage.wrong",
        "decide.coverage.missed",
    }
