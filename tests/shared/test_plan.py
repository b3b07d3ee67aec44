import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError, SurvivorsError
from shared.network import NetworkSpec
from shared.plan import MAX_SHARE_SIGMA, MIN_SHARE_SIGMA, BitsPlan, Detection, LocalTraining, Plan, PrivacyPlan, SumPlan
from shared.register.bounds import MAX_PARAMETERS, MAX_PLAN_BYTES, MAX_STEP
from tests.world.basics import examples, make_plan, make_risk, version_2
from tests.world.heads import heads_plan
from tests.world.hostile import HOSTILE
from tests.world.plan_leaves import changed, leaves, other_than
from tests.world.spellings import spelled, value_of
from tests.world.work import work_of


def test_a_plan_of_before_there_was_a_second_version_is_written_as_it_was():
    plan = make_plan()
    assert not {"more", "interest"} & set(value_of(plan.canonical)["features"])
    later = make_plan(**version_2())
    fields = value_of(later.canonical)
    assert Plan.from_bytes(later.canonical) == later and fields["features"]["more"]["kinds"] == [0, 1, 2, 3, 4]
    fields["features"]["more"] = None
    with pytest.raises(ConfigError, match="another spelling"):
        Plan.from_bytes(spelled(fields))
    with pytest.raises(ConfigError, match="a network of 87 features"):
        make_plan(features=version_2()["features"])


def test_the_hash_changes_with_every_number_of_the_plan():
    plan = make_plan(risk=make_risk(), bits=BitsPlan(1_000_000, 28, 2), **version_2())
    hashes, n_changed = {plan.sha256}, 0
    for path, value in leaves(plan):
        if (other := other_than(path, value)) is None:
            continue
        n_changed += 1
        again = changed(plan, path, other)
        assert Plan.from_bytes(again.canonical) == again, path
        hashes.add(again.sha256)
    assert len(hashes) == n_changed + 1 > 50
    heads = heads_plan()
    for path, value in leaves(heads):
        if path[0] != "heads" or (other := other_than(path, value)) is None:
            continue
        again = changed(heads, path, other)
        assert Plan.from_bytes(again.canonical) == again, path
        hashes.add(again.sha256)
        n_changed += 1
    assert len(hashes) == n_changed + 1
    assert make_plan(bits=plan.bits, **version_2()).sha256 not in hashes, "to learn no phi is another plan"
    assert make_plan(risk=plan.risk, **version_2()).sha256 not in hashes, "and to ask for no bits"
    assert make_plan(risk=plan.risk, bits=plan.bits).sha256 not in hashes, "and to look at other features"
    seats = {"seats": 10, "drawn": 12, "t_priv": 6, "t_rec": 8}
    held = [make_plan(sum=SumPlan(0, **{**seats, **more})) for more in ({}, *({name: n + (name != "t_priv") - (
        name == "t_priv")} for name, n in seats.items() if name != "t_rec"), {"t_rec": 7})]  # fmt: skip
    assert all(Plan.from_bytes(one.canonical) == one for one in held) and len({one.sha256 for one in held}) == 5


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"rows": 4097}, {"history_steps": 0}, {"rate_steps": 0}])
def test_a_plan_of_phi_out_of_range_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        make_risk(**wrong)


@examples(60)
@given(
    st.floats(1e-3, 1e3),
    st.floats(0.1, 20),
    st.floats(1e-3, 1),
    st.integers(1, 1000),
    st.integers(1, 10_000),
    st.floats(1e-9, 9e-6),
    st.integers(0, 2**64 - 1),
)
def test_a_plan_goes_round(clip_norm, noise, rate, rounds, more, delta, seed):
    privacy = {
        "clip_norm": clip_norm,
        "noise_multiplier": noise,
        "sampling_rate": rate,
        "rounds": rounds,
        "population": math.ceil(100 / rate) + more,
        "min_survivors": 100,
        "delta": delta,
    }
    plan = make_plan(privacy=privacy, training={"seed": seed})
    again = Plan.from_bytes(plan.canonical)
    assert again == plan and again.sha256 == plan.sha256 and again.canonical == plan.canonical
    assert isinstance(again.features.short_steps, tuple) and isinstance(again.network.hidden, tuple)


@pytest.mark.parametrize(
    ("rate", "population", "most"),
    [(1.0, 8, 8), (0.5, 9, 4), (0.29, 100, 29), (1e-3, 10**6, 1000), (1.0, 1, 1), (0.1, 4, 1)],
)
def test_a_plan_that_counts_on_more_noise_than_its_cohort_can_give_is_none(rate, population, most):
    cohort = {"sampling_rate": rate, "population": population, "steps_per_clip": 1 << 14, "delta": 1e-7}
    assert make_plan(privacy={**cohort, "min_survivors": most}).privacy.min_survivors == most
    with pytest.raises(SurvivorsError, match="expected cohort"):
        make_plan(privacy={**cohort, "min_survivors": most + 1})
    with pytest.raises(SurvivorsError):
        make_plan(privacy={**cohort, "min_survivors": 10**9, "max_colluders": 10**9 - most})


def test_equal_plans_have_equal_bytes():
    assert make_plan().canonical == make_plan().canonical
    as_whole, as_float = (
        make_plan(privacy={"noise_multiplier": one, "rounds": three}) for one, three in ((1, 3), (1.0, 3.0))
    )
    assert as_whole == as_float and as_whole.sha256 == as_float.sha256


def test_a_plan_of_before_there_were_bits_is_read_and_keeps_its_hash():
    old = make_plan(risk=make_risk())
    assert "bits" not in value_of(old.canonical) and Plan.from_bytes(old.canonical).bits is None
    with_bits = make_plan(risk=make_risk(), bits=BitsPlan(1_000_000, 28, 2))
    assert Plan.from_bytes(with_bits.canonical) == with_bits
    spelled_out = spelled({**value_of(old.canonical), "bits": None})
    with pytest.raises(ConfigError, match="another spelling"):
        Plan.from_bytes(spelled_out)


def test_a_plan_of_before_there_were_sums_is_read_and_keeps_its_hash():
    old = make_plan(sum=None)
    assert "sum" not in value_of(old.canonical) and Plan.from_bytes(old.canonical) == old
    assert Plan.from_bytes(make_plan().canonical).sum == SumPlan() and make_plan().sha256 != old.sha256
    with pytest.raises(ConfigError, match="another spelling"):
        Plan.from_bytes(spelled({**value_of(old.canonical), "sum": None}))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"helpers": 1}, "at least two helpers"),
        ({"helpers": 0}, "at least two helpers"),
        ({"helpers": 6}, "helpers in 0..5"),
        ({"drawn": 3}, "no thresholds"),
        ({"seats": 3, "drawn": 3, "t_priv": 1, "t_rec": 2}, "seats in 4..240"),
        ({"seats": 10, "drawn": 9, "t_priv": 6, "t_rec": 8}, "drawn in seats..2"),
        ({"seats": 10, "drawn": 21, "t_priv": 6, "t_rec": 8}, "drawn in seats..2"),
        ({"seats": 10, "drawn": 12, "t_priv": 8, "t_rec": 8}, "0 < t_priv < t_rec"),
        ({"seats": 10, "drawn": 12, "t_priv": 0, "t_rec": 8}, "0 < t_priv < t_rec"),
        ({"seats": 10, "drawn": 12, "t_priv": 6, "t_rec": 9}, "t_rec <= seats - 2"),
    ],
)
def test_who_adds_a_round_up_is_refused_where_that_is_nobody_or_opens_no_sum(wrong, why):
    with pytest.raises(ConfigError, match=why):
        SumPlan(**wrong)


def test_bytes_that_are_not_a_plan_are_refused():
    data = make_plan(risk=make_risk()).canonical
    fields = value_of(data)
    wrong = [data[:cut] for cut in range(0, len(data), 7)] + [b"", data + b"\0", spelled([1]), b"\x81" * 100_000]
    entries = [spelled(name) + spelled(value) for name, value in sorted(fields.items(), reverse=True)]
    wrong.append(bytes([0xA0 | len(fields)]) + b"".join(entries))
    wrong.append(spelled({**fields, "n_examples": 3}))
    wrong.append(spelled({**fields, "privacy": {**fields["privacy"], "slack": 1}}))
    wrong.append(spelled({**fields, "privacy": {}}))
    wrong.append(spelled({**fields, "privacy": {**fields["privacy"], "clip_norm": -1.0}}))
    wrong.append(spelled({**fields, "privacy": {**fields["privacy"], "rounds": "many"}}))
    wrong.append(spelled({**fields, "horizon_steps": 0}))
    wrong.append(spelled({**fields, "risk": {}}))
    wrong.append(spelled({**fields, "risk": {**fields["risk"], "privacy": None}}))
    wrong.append(spelled({**fields, "risk": {**fields["risk"], "rows": 8.0}}))
    for number in (16.0, 16.5, True, "16", math.inf, math.nan, None):
        wrong.append(spelled({**fields, "training": {**fields["training"], "rows": number}}))
        wrong.append(spelled({**fields, "training": {**fields["training"], "history_steps": number}}))
    wrong.append(spelled({**fields, "privacy": {**fields["privacy"], "noise_multiplier": 1}}))
    wrong.append(spelled({**fields, "features": {**fields["features"], "window_steps": 12.5}}))
    wrong.append(spelled({**fields, "network": {**fields["network"], "hidden": [32.0, 16]}}))
    wrong.append(spelled({**fields, "sum": {}}))
    wrong.append(spelled({**fields, "sum": {**fields["sum"], "helpers": 1}}))
    for name in fields:
        if name != "sum":  # left out, it is a plan of before there were any
            wrong.append(spelled({k: v for k, v in fields.items() if k != name}))
        if name != "risk":  # None there is a plan, one that learns no phi
            wrong.append(spelled({**fields, name: None}))
    for bad in wrong:
        with pytest.raises(ConfigError):
            Plan.from_bytes(bad)


STRANGE = [
    None, True, -1, 0, 2**63, 2**64 - 1, -(2**64), 0.5, -0.0, 1e308, 5e-324, math.nan, math.inf, "", "rate", "x" * 1000, b"", bytes(32),
    [], [0], [1, 2], [2**64 - 1] * 2, [1.0, 2.0], [True, True], [[1], [2]], [1] * 200, [1] * 50_000, {}, {"rows": 1}, {"": {"": {}}},
]  # fmt: skip


def with_value(fields: dict, path: tuple[str, ...], value: object) -> dict:
    """The map, with one value in it replaced."""
    inner = with_value(fields[path[0]], path[1:], value) if len(path) > 1 else value
    return {**fields, path[0]: inner}


PATHS = [path for path, _ in leaves(make_plan(risk=make_risk()))]


@pytest.mark.parametrize("path", [*PATHS, *sorted({path[:-1] for path in PATHS if len(path) > 1})], ids="/".join)
def test_a_value_of_any_type_in_any_place_is_a_plan_or_a_config_error_that_shows_little(path):
    fields = value_of(make_plan(risk=make_risk()).canonical)
    n_refused = 0
    for value in STRANGE:
        data = spelled(with_value(fields, path, value))
        try:
            plan = Plan.from_bytes(data)
        except ConfigError as error:
            assert len(str(error)) < 500
            n_refused += 1
            continue
        assert plan.canonical == data and Plan.from_bytes(plan.canonical) == plan
        assert plan.network.n_parameters <= MAX_PARAMETERS and all(update.reply for update in plan.updates)
    assert n_refused >= 15


@pytest.mark.parametrize("shape", HOSTILE)
def test_bytes_that_are_made_to_cost_are_refused_as_no_plan(shape):
    def read(data):
        with pytest.raises(ConfigError):
            Plan.from_bytes(data)

    for n in (100, MAX_PLAN_BYTES - 100, 1 << 21):
        assert work_of(read, HOSTILE[shape](n)).calls < 5000


@examples(200)
@given(st.data())
def test_a_damaged_plan_is_refused_or_is_another_plan(data):
    plan = make_plan()
    damaged = bytearray(plan.canonical)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = Plan.from_bytes(bytes(damaged))
    except ConfigError:
        return
    assert other != plan and other.sha256 != plan.sha256


GOOD_PRIVACY = {
    "clip_norm": 0.5,
    "noise_multiplier": 1.0,
    "sampling_rate": 0.5,
    "rounds": 3,
    "population": 10,
    "min_survivors": 4,
}
BAD_PRIVACY = [
    ("clip_norm", -1.0),
    ("clip_norm", 0.0),
    ("clip_norm", math.nan),
    ("clip_norm", math.inf),
    ("noise_multiplier", -0.1),
    ("noise_multiplier", math.nan),
    ("noise_multiplier", 1e5),
    ("sampling_rate", 0.0),
    ("sampling_rate", 1.01),
    ("sampling_rate", math.nan),
    ("rounds", 0),
    ("population", 0),
    ("population", 2**64),
    ("min_survivors", 2**64),
    ("delta", 0.0),
    ("delta", 1.0),
    ("delta", 0.1),  # 1 / population
    ("max_epsilon", 0.0),
    ("max_epsilon", math.nan),
    ("max_colluders", -1),
    ("max_colluders", 4),
    ("min_survivors", 0),
    ("steps_per_clip", 255),
    ("steps_per_clip", 2**25),
]


@pytest.mark.parametrize(("field", "value"), BAD_PRIVACY)
def test_a_privacy_plan_that_protects_nothing_is_refused_by_name(field, value):
    with pytest.raises(ConfigError) as refused:
        PrivacyPlan(**{**GOOD_PRIVACY, field: value})
    assert "expected" in str(refused.value) and "got" in str(refused.value)


def test_a_delta_that_protects_nobody_in_particular_is_refused_with_what_to_set():
    with pytest.raises(ConfigError, match=r"expected delta below 1 / population = 0\.1, .*, got 0\.5"):
        PrivacyPlan(**{**GOOD_PRIVACY, "delta": 0.5})
    assert PrivacyPlan(**{**GOOD_PRIVACY, "delta": 0.099}).delta == 0.099


@pytest.mark.parametrize(
    ("part", "fields"),
    [
        (LocalTraining, {"learning_rate": -1}),
        (LocalTraining, {"learning_rate": math.nan}),
        (LocalTraining, {"local_steps": 0}),
        (LocalTraining, {"rows": 0}),
        (LocalTraining, {"l2": -1}),
        (LocalTraining, {"dropout": 1.0}),
        (LocalTraining, {"history_steps": 0}),
        (LocalTraining, {"seed": -1}),
        (LocalTraining, {"seed": 2**64}),
        (Detection, {"detector": "oracle"}),
        (Detection, {"rate_window_steps": 0}),
        (Detection, {"rate_threshold": 0}),
        (Detection, {"fall_level": 0.9}),
        (Detection, {"rise_level": 1.1}),
        (Detection, {"min_active_steps": 0}),
        (Detection, {"lapse_steps": 0}),
        (Detection, {"quiet_steps": -1}),
        (Detection, {"quiet_steps": MAX_STEP + 1}),
        (Detection, {"own_span_steps": 2**63}),
        (Detection, {"fall_margin": math.nan}),
        (Detection, {"rise_margin": math.nan}),
        (Detection, {"rise_margin": 0.0}),
        (LocalTraining, {"history_steps": MAX_STEP + 1}),
    ],
)
def test_settings_out_of_range_are_refused(part, fields):
    with pytest.raises(ConfigError, match="expected"):
        part(**fields)


@pytest.mark.parametrize(
    "changes",
    [
        {"horizon_steps": 0},
        {"network": NetworkSpec(26)},
        {"catalogue_sha256": bytes(31)},
        {"model_sha256": bytes(33)},
    ],
)
def test_a_plan_whose_parts_do_not_fit_is_refused(changes):
    with pytest.raises(ConfigError):
        make_plan(**changes)


def test_shares_of_the_survivors_add_up_to_the_planned_noise():
    privacy = PrivacyPlan(
        **{**GOOD_PRIVACY, "population": 100, "min_survivors": 50, "max_colluders": 14, "noise_multiplier": 2.5}
    )
    assert privacy.share_sigma**2 * (50 - 14) == pytest.approx((2.5 * privacy.steps_per_clip) ** 2)
    assert privacy.grid_step * privacy.steps_per_clip == pytest.approx(privacy.clip_norm)
    assert privacy.expected_cohort == 50


@pytest.mark.parametrize(
    ("share_sigma", "steps", "advice"),
    [(0.99 * MIN_SHARE_SIGMA, 256, "raise steps_per_clip"), (1.01 * MAX_SHARE_SIGMA, 8192, "lower steps_per_clip")],
)
def test_a_noise_share_off_the_grid_s_range_is_refused_with_advice(share_sigma, steps, advice):
    with pytest.raises(ConfigError, match=advice):
        noise_multiplier = share_sigma * math.sqrt(GOOD_PRIVACY["min_survivors"]) / steps
        PrivacyPlan(**{**GOOD_PRIVACY, "noise_multiplier": noise_multiplier, "steps_per_clip": steps})


def test_a_sum_that_could_wrap_is_refused():
    big = {**GOOD_PRIVACY, "population": 10_000, "sampling_rate": 1.0, "min_survivors": 5000}
    assert PrivacyPlan(**{**big, "steps_per_clip": 2**17}).largest_sum < 2**31
    with pytest.raises(ConfigError, match="lower steps_per_clip"):
        PrivacyPlan(**{**big, "steps_per_clip": 2**18})


def test_a_plan_cannot_be_changed(plan):
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.privacy.clip_norm = 9.0
