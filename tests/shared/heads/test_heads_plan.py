"""What a plan says of heads, and what it must not say."""

import dataclasses

import pytest

from shared.errors import ConfigError
from shared.features import FeatureSpec
from shared.register.heads_plan import HeadPlan
from tests.world.basics import NETWORK, make_plan, make_risk, version_2
from tests.world.heads import heads_plan, make_heads, make_start
from tests.world.spellings import value_of


def test_a_plan_learns_phi_on_top_of_p_or_by_heads_which_need_features_of_version_2():
    plan = heads_plan()
    assert [kind.reply for kind in plan.updates] == ["update", "crowd", "curvature", "head_update"]
    assert [kind.n_values for kind in plan.updates[1:]] == [10, 812, 56]
    with pytest.raises(ConfigError, match="either risk or heads"):
        dataclasses.replace(plan, risk=make_risk())
    without = dataclasses.replace(plan.heads.features, more=None)
    others = dataclasses.replace(plan.heads.features.more, groups=(3, 4))
    for wrong in (without, dataclasses.replace(plan.heads.features, more=others)):
        with pytest.raises(ConfigError, match="version 2, with averages and rates, for heads"):
            dataclasses.replace(plan.heads, features=wrong)
    for other in (version_2(), {"features": FeatureSpec(13)}):
        with pytest.raises(ConfigError, match="version 1's features in the same windows"):
            make_plan(heads=plan.heads, **other)
    assert (
        "heads" not in value_of(make_plan().canonical)
        and "takeoff_line" not in value_of(make_plan().canonical)["detection"]
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"inputs_version": 2}, "inputs of version 1"),
        ({"start_sha256": b"short"}, "start_sha256 of 32 bytes, got 5 bytes"),
        ({"n_categories": 0}, "n_categories in 1..512"),
        ({"lapse": HeadPlan(8, 16.0, 10, 0.5, 1.0, 0.7)}, "shares of heads that add up to 1 at most, got 1.1"),
        ({"privacy": {"clip_norm": 0.5}}, "clip_norm 1 of crowd, got 0.5"),
        ({"privacy": {"rounds": 2}}, "one sum of crowd, got 2"),
    ],
)
def test_heads_of_a_plan_are_held_to_what_they_mean(wrong, said):
    with pytest.raises(ConfigError, match=said):
        make_heads(make_start(NETWORK), **wrong)


@pytest.mark.parametrize("name", ["rows", "per", "history_steps", "curvature_clip", "gradient_clip", "share"])
def test_numbers_of_a_head_are_bounded(name):
    for wrong in (0, -1, 1e9):
        with pytest.raises(ConfigError, match=f"expected .*{name}"):
            dataclasses.replace(HeadPlan(8, 16.0, 10, 0.5, 1.0, 0.6), **{name: wrong})
