"""Reasons: complete, exact, in words; counterfactuals: a device that lives through one stays silent; nothing shows raw."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.detection.chances import Weights, as_ruled, chances_of, recent_rows
from client.detection.explain import (
    MOST_REASONS,
    Explanation,
    at_earlier_rate,
    earlier_visits,
    explain,
)
from client.detection.risk_levels import Direction, RiskLevel
from client.detection.shapley import GROUPS, group_of, mixtures, shapley
from client.detection.watch import MARK_EVERY, MARKS, Watch, past_steps
from client.device import Alert
from client.model.runtime import open_model, pinned_model
from client.model.scorer import Scorer
from shared.errors import InputError
from shared.events import Step
from shared.features import FeatureSpec, History, extract, seen
from shared.heads import Heads
from shared.heads.inputs import input_names
from shared.lapse_risk import logit
from shared.plan import Plan
from shared.register.rule_plan import RulePlan
from tests.world.basics import (
    Diary,
    activity_theta,
    counted_history,
    examples,
    make_plan,
    make_risk,
    random_history,
    ready,
    version_2,
    view,
)
from tests.world.heads import heads_plan, make_heads, make_start

DAILY = FeatureSpec(28, (1, 3, 7, 14), (3, 14))
NO_RISK = np.empty(0, np.float32)
DETECTIONS = {
    "cusum": {"detector": "cusum", "season_steps": 7, "false_alerts": 20, "budget_steps": 30},
    "own_level": {"detector": "own_level", "fall_margin": 0.8, "rise_margin": 0.8},
    "level": {"detector": "level", "fall_level": 0.3, "rise_level": 0.7},
    "rate": {"detector": "rate", "rate_window_steps": 3, "rate_threshold": 0.1},
    "risk": {"detector": "risk", "risk_line": 0.4, "rise_level": 0.7},
    "slow_average": {"detector": "slow_average", "risk_line": 0.4, "takeoff_line": 0.4},
    "heads": {"detector": "risk", "risk_line": 0.4, "takeoff_line": 0.4},
}
#: A rule that is sure of itself.
RULE = RulePlan(2.0, -2.6, 1.2, 3.0)
#: A phi that follows the level of p, how fast it falls, and the silence.
PHI = np.array([-1.5, -1.5, -3.0, 0.5, 0.3, -0.3], np.float32)


def daily_plan(detector: str = "cusum") -> Plan:
    detection = {**DETECTIONS[detector], "min_active_steps": 2}
    if detector == "heads":
        heads = make_heads(HEADS.start, features=RICHER)
        return heads_plan(heads=heads, features=DAILY, horizon_steps=7, detection=detection)
    risk = make_risk(rate_steps=3) if detector == "risk" else None
    return make_plan(features=DAILY, horizon_steps=7, detection=detection, risk=risk, rule=RULE)


def richer() -> FeatureSpec:
    """Long averages, of a history whose kinds nobody counted."""
    spec = version_2(DAILY)["features"]
    return replace(spec, more=replace(spec.more, kinds=()))


def telling_heads() -> Heads:
    """Heads of which that of lapses looks at silence and the short average, that of take-offs at the short average."""
    start = make_start(make_plan().network)
    names, weights = input_names(RICHER), np.zeros((2, 28), np.float32)
    for task, name, weight in (
        (0, "log_recency", 3),
        (0, "average_4", -4),
        (1, "average_4", 12),
        (1, "average_28", -2),
    ):
        weights[task, names.index(name)] = weight
    weights[:, -1] = -0.3, -2.5
    return Heads(replace(start, weights=weights), np.zeros(4, np.float32), weights)


RICHER = richer()
HEADS = telling_heads()


def weights_of(plan: Plan) -> np.ndarray:
    """phi's weights under the plan."""
    return PHI if plan.risk else NO_RISK


def scorer_of(theta: np.ndarray) -> Scorer:
    return Scorer(open_model(pinned_model()), theta)


def score(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    return Scorer(open_model(pinned_model()), theta).score(x)


def all_weights(plan: Plan, scorer: Scorer, risk: np.ndarray) -> Weights:
    """Under a plan with heads, those; and a network of their size."""
    return Weights(HEADS.start.networks[0], risk, HEADS) if plan.heads else Weights(scorer._theta, risk)


def explained(plan: Plan, scorer: Scorer, risk: np.ndarray, *about: Any) -> Explanation:
    return explain(plan, all_weights(plan, scorer, risk), score, *about)


def slow_theta() -> np.ndarray:
    """p follows activity over two weeks, its amounts, and the rest of the shop a little."""
    theta = activity_theta()
    kernel_1 = make_plan().network.split(theta)[0]
    kernel_1[:, 0] = 0
    for name, weight in (("active_7", 0.5), ("active_14", 0.7), ("log_amount_7", 0.1), ("user_active_14", 0.1)):
        kernel_1[DAILY.names.index(name), 0] = weight
    return theta


def lapsing(seed: int, n_steps: int = 150) -> History:
    """Four categories whose activity changes for good at some step, up or down."""
    random = np.random.default_rng(seed)
    history = random_history(random, (4, n_steps), 0.5)
    for c, (at, keep) in enumerate(zip(random.integers(100, n_steps, 4), (0.0, 0.2, 0.6, 1.0), strict=True)):
        lost = random.random(n_steps - at) >= keep
        for values in (history.active, history.count, history.amount):
            values[c, at:][lost] = 0
            values[3 - c, : int(at) - 40][random.random(int(at) - 40) < 0.5 * (c % 2)] = 0
    return History(history.count > 0, history.count, history.amount)


def lived(plan: Plan, scorer: Scorer, history: History, start: int) -> tuple[np.ndarray, list[Watch]]:
    """What a watch that began at `start` raises at each later step, (S, 2, C), and the watch after each."""
    steps = np.arange(max(0, start + 1 - past_steps(plan)), history.n_steps)
    weights = all_weights(plan, scorer, weights_of(plan))
    p = score(weights.theta, extract(history, plan.features, steps))
    p = np.where(seen(history, steps), p, np.float32(np.nan))
    past = start + 1 - steps[0]
    watch, raised, after = Watch.start(plan, p[:past], start), [], []
    for i in range(past, len(steps)):
        step = int(steps[i])
        known = history.until(step)
        x, touched = recent_rows(known, plan, step)
        raised.append(
            watch.see(plan, known, step, as_ruled(plan, chances_of(plan, weights, score, x, touched), known))[0]
        )
        after.append(Watch.of({name: array.copy() for name, array in watch.arrays().items()}))
    return np.array(raised), after


# ---- reasons


def test_what_version_2_adds_is_in_the_group_that_a_person_would_look_in():
    spec = version_2(DAILY)["features"]
    groups = dict(zip(spec.names, (GROUPS[g] for g in group_of(spec)), strict=True))
    assert list(groups.values())[:27] == [GROUPS[g] for g in group_of(DAILY)], "version 1 as it was"
    for group, names in {
        "silence": ("bgnbd_gone", "rate_silence", "cart_freshness"),
        "lately": ("view_average_4", "view_log_count_7", "abandoned_7", "open_cart", "average_4"),
        "amounts": ("average_log_amount_28",),
        "elsewhere": ("user_average_28", "user_log_age", "popularity"),
        "long run": ("view_average_28", "average_112", "abandoned_28", "purchase_per_cart", "log_rate"),
    }.items():
        assert {groups[name] for name in names} == {group}


@pytest.mark.parametrize("features", [DAILY, FeatureSpec(12), FeatureSpec(26, (1, 2, 4, 8), (2, 8))])
def test_every_feature_is_in_exactly_one_group_and_no_group_is_empty(features):
    groups = group_of(features)
    assert groups.shape == (features.n_features,)
    assert np.bincount(groups, minlength=len(GROUPS)).min() >= 1 and groups.max() < len(GROUPS)
    for name, group in (
        ("recency", "silence"),
        ("interval", "rhythm"),
        ("tenure", "long run"),
        ("share_of_user", "share"),
    ):
        assert GROUPS[groups[features.names.index(name)]] == group


@examples(40)
@given(st.integers(1, 4), st.integers(0, 2**32))
def test_shapley_values_are_the_mean_over_all_orders(n_groups, seed):
    worth = np.random.default_rng(seed).normal(size=2**n_groups)
    expected = np.zeros(n_groups)
    for order in itertools.permutations(range(n_groups)):
        inside = 0
        for group in order:
            expected[group] += worth[inside | 1 << group] - worth[inside]
            inside |= 1 << group
    np.testing.assert_allclose(shapley(worth), expected / math.factorial(n_groups), atol=1e-12)


def test_mixtures_go_from_the_row_before_to_the_row_now():
    before, now = np.zeros(27, np.float32), np.arange(1, 28, dtype=np.float32)
    mixed = mixtures(DAILY, before, now)
    assert mixed.shape == (2 ** len(GROUPS), 27) and len(np.unique(mixed, axis=0)) == len(mixed)
    np.testing.assert_array_equal(mixed[0], before)
    np.testing.assert_array_equal(mixed[-1], now)


@examples(40)
@given(st.integers(0, 2**32), st.sampled_from(["cusum", "own_level"]), st.integers(0, 149))
def test_values_sum_to_the_change_of_logit_p_against_the_user_s_own_baseline(seed, detector, step):
    plan, history = daily_plan(detector), lapsing(seed)
    random = np.random.default_rng(seed)
    theta = (plan.network.initial_theta(0) * random.uniform(1, 8)).astype(np.float32)
    scorer = scorer_of(theta)
    watch = Watch.start(plan, np.full((60, 4), 0.5, np.float32), 0)
    category, direction = int(random.integers(4)), Direction(int(random.integers(2)))
    told = explained(plan, scorer, NO_RISK, history, watch, category, step, direction, Step.DAY)
    assert told.texts and all(told.texts) and bool(told.reasons) is not bool(told.why_none), (
        "a reason, or why there is none"
    )
    calm = max(0, step - 14)
    rows = extract(history, DAILY, np.arange(max(0, calm - 27), calm + 1))[:, category]
    now = extract(history, DAILY, [step])[0, category]
    p = np.array([scorer.score(rows.mean(axis=0)[None])[0], scorer.score(now[None])[0]])
    change = float(np.diff(logit(p).astype(np.float64))[0])
    assert abs(sum(told.values.values()) - change) <= 1e-5
    assert abs(sum(told.values.values()) - told.change) <= 1e-9
    assert len(told.reasons) <= MOST_REASONS
    wanted = -1 if direction is Direction.FALL else 1
    assert all(np.sign(reason.value) == wanted and reason.now != reason.usual for reason in told.reasons)


@examples(30)
@given(st.integers(0, 2**32), st.integers(20, 149), st.sampled_from(list(Direction)))
def test_where_a_head_called_the_turn_values_sum_to_the_change_of_its_logit(seed, step, direction):
    """Interest rises as the chance of a lapse falls, and as that of a take-off rises."""
    plan, history = daily_plan("heads"), lapsing(seed)
    watch = Watch.start(plan, np.full((60, 4), 0.5, np.float32), 0)
    told = explained(plan, scorer_of(slow_theta()), NO_RISK, history, watch, 1, step, direction, Step.DAY)
    calm = max(0, step - 14)
    rows = extract(history, RICHER, np.arange(max(0, calm - 27), calm + 1))[:, 1]
    ends = np.stack([rows.mean(axis=0), extract(history, RICHER, [step])[0, 1]])
    lapse, takeoff = HEADS.chances(HEADS.inputs(RICHER, score, ends, np.zeros(2, np.float32)))
    happened = -logit(lapse) if direction is Direction.FALL else logit(takeoff)
    assert abs(sum(told.values.values()) - float(np.diff(happened.astype(np.float64))[0])) <= 1e-4


def test_a_fall_is_told_in_words_with_numbers_of_one_s_own():
    plan = daily_plan()
    active = np.zeros((2, 120), bool)
    active[0, ::2], active[1] = True, True
    active[0, 110:] = False
    history = History(active, active.astype(np.float32), active * np.float32(10))
    raised, watches = lived(plan, scorer_of(slow_theta()), history, 80)
    at = int(np.flatnonzero(raised[:, Direction.FALL, 0])[0])
    step = 81 + at
    told = explained(plan, scorer_of(slow_theta()), NO_RISK, history, watches[at], 0, step, Direction.FALL, Step.DAY)
    had = int(active[0, step - 6 : step + 1].sum())
    visits = earlier_visits(history, DAILY, 0, step, 7)
    assert {reason.group for reason in told.reasons} <= {"lately", "long run"}
    assert f"visits to this category fell: {had} in the last 7 days, usually 3.5" in told.texts
    assert told.counterfactual is not None and visits in (3, 4)
    assert told.texts[-1] == f"no alert if visits had stayed at {visits} in 7 days (they were {had})"
    for part in (told, *told.reasons, told.counterfactual):
        assert repr(part) == f"{type(part).__name__}(<raw>)"


# ---- the counterfactual


@examples(24)
@given(st.integers(0, 2**32), st.sampled_from(list(DETECTIONS)))
def test_who_had_lived_the_counterfactual_would_have_seen_no_alert(seed, detector):
    """The whole life is lived again with the changed activity, through the watch of a device."""
    plan, history, scorer = daily_plan(detector), lapsing(seed), scorer_of(slow_theta())
    raised, watches = lived(plan, scorer, history, 90)
    for i, d, category in zip(*np.nonzero(raised), strict=True):
        step, direction = 91 + int(i), Direction(int(d))
        told = explained(plan, scorer, weights_of(plan), history, watches[i], int(category), step, direction, Step.DAY)
        if (other := told.counterfactual) is not None:
            assert (other.visits > other.had) == (direction is Direction.FALL)
            instead = at_earlier_rate(history, DAILY, int(category), step, other.stretch_steps)
            assert instead.active[category, -other.stretch_steps :].sum() == other.visits
            again, _ = lived(plan, scorer, instead, 90)
            begin = max(0, len(again) - other.stretch_steps)
            assert not again[begin:, d, category].any()


@pytest.mark.parametrize("detector", list(DETECTIONS))
def test_most_falls_have_a_counterfactual(detector):
    plan, scorer, given_one = daily_plan(detector), scorer_of(slow_theta()), []
    for seed in range(6):
        history = lapsing(seed)
        raised, watches = lived(plan, scorer, history, 90)
        for i, category in zip(*np.nonzero(raised[:, Direction.FALL]), strict=True):
            arguments = int(category), 91 + int(i), Direction.FALL, Step.DAY
            told = explained(plan, scorer, weights_of(plan), history, watches[i], *arguments)
            given_one.append(told.counterfactual is not None)
    least = 0.2 if detector == "slow_average" else 0.5  # two weeks are a quarter of what it averages over
    assert len(given_one) >= 5 and np.mean(given_one) >= least


def test_no_counterfactual_where_activity_did_not_change_or_the_marks_have_gone():
    plan, scorer, history = daily_plan(), scorer_of(slow_theta()), lapsing(3)
    raised, watches = lived(plan, scorer, history, 90)
    i, d, category = (int(v[0]) for v in np.nonzero(raised))
    arguments = (int(category), 91 + i, Direction(d), Step.DAY)
    late = explained(plan, scorer, NO_RISK, history, watches[-1], *arguments)
    assert 91 + i < 150 - MARK_EVERY * MARKS and late.counterfactual is None and late.values
    steady = History(*(np.ones((2, 150), kind) for kind in (bool, np.float32, np.float32)))
    _, after = lived(plan, scorer, steady, 90)
    for direction in Direction:
        told = explained(plan, scorer, NO_RISK, steady, after[-1], 0, 149, direction, Step.DAY)
        assert told.counterfactual is None


@examples(40)
@given(st.integers(0, 2**32), st.sampled_from([7, 14]), st.integers(20, 149))
def test_only_the_last_steps_of_the_category_change_and_to_the_earlier_rate(seed, stretch, step):
    history = lapsing(seed)
    other = at_earlier_rate(history, DAILY, 1, step, stretch)
    assert other.n_steps == step + 1
    for name in ("active", "count", "amount"):
        was, now = getattr(history, name)[:, : step + 1], getattr(other, name)
        np.testing.assert_array_equal(np.delete(now, 1, axis=0), np.delete(was, 1, axis=0))
        np.testing.assert_array_equal(now[1, : step + 1 - stretch], was[1, : step + 1 - stretch])
    assert other.active[1, -stretch:].sum() == earlier_visits(history, DAILY, 1, step, stretch)
    np.testing.assert_array_equal(other.active, other.count > 0)


@examples(40)
@given(st.integers(0, 2**32), st.sampled_from([(4,), (3, 4), (1, 2, 3)]), st.integers(14, 59))
def test_an_added_step_has_events_of_what_is_interest(seed, interest, step):
    """However few of each kind there were: features read the step from them again."""
    spec = replace(DAILY, interest=interest)
    history = spec.of(counted_history(np.random.default_rng(seed), (2, 60), 0.4))
    other = at_earlier_rate(history, spec, 1, step, spec.short_steps[3])
    np.testing.assert_array_equal(spec.of(other).active, other.active)


# ---- on a device


def test_a_device_explains_its_own_alert_and_nothing_else(new_device):
    diary, plan = Diary(), daily_plan("level")
    device = ready(new_device(on_step=diary.write), plan, activity_theta())
    for step in range(60):
        device.record(view(step, 0))
        if step < 40:
            device.record(view(step, 1))
    falls = [alert for alert in diary.alerts if alert.direction is Direction.FALL]
    told = device.explain(falls[0])
    assert isinstance(told, Explanation) and told.reasons and falls[0].category == 1
    assert device.explain(Alert(Direction.FALL, 1, RiskLevel.LOW, falls[0].step, 99)) is None, "another model called it"
    assert not device.problems
    for category, step in ((9, 50), (-1, 50), (1, 60), (1, -1)):
        assert device.explain(Alert(Direction.FALL, category, RiskLevel.LOW, step, 0)) is None
    assert device.problems == {"InputError": 4}
    assert new_device().explain(falls[0]) is None, "no model"
    device.install(plan, b"", activity_theta(), NO_RISK, 9)
    gone = device.explain(falls[0])
    assert gone is not None and not gone.reasons and "here no more" in gone.texts[0]


def test_an_alert_of_a_step_that_was_not_lived_is_an_input_error():
    plan, history = daily_plan(), lapsing(0)
    watch = Watch.start(plan, np.full((60, 4), 0.5, np.float32), 0)
    for category, step in ((4, 10), (0, 150)):
        with pytest.raises(InputError, match="expected the step and category of an alert of this device"):
            explained(plan, scorer_of(slow_theta()), NO_RISK, history, watch, category, step, Direction.FALL, Step.DAY)
