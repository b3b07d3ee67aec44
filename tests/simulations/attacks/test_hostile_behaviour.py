"""Hostile input on a device: short bursts, impossible rates, poisoned baselines, features pushed against the model."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import client.detection.watch
from client.detection.alert_budget import LEAST
from client.detection.chances import Chances
from client.detection.cusum import FALL, RISE, immune_steps
from client.detection.risk_levels import Direction
from client.detection.watch import Watch, budget_for
from shared.events import MAX_AMOUNT, EventKind
from shared.features import FeatureSpec, History, extract
from shared.plan import Plan
from simulations.attacks.hostile_behaviour import (
    DETECTORS,
    FIRST,
    PUBLISHED,
    START,
    Effect,
    World,
    effects,
    pushed,
    table_of,
    with_events,
)
from simulations.published.attacks import hostile_numbers
from tests.world.basics import N_CATEGORIES, examples, make_plan, ready, view

ALWAYS = np.ones(1, bool)
any_p = st.one_of(st.floats(0, 1, width=32), st.sampled_from([0.0, 0.01, 0.5, 0.99, 1.0, math.nan]))


def cusum_plan() -> Plan:
    return make_plan(detection={"detector": "cusum", "season_steps": 7, "false_alerts": 100, "budget_steps": 1})


def watch_of(plan: Plan, p: np.ndarray) -> Watch:
    """A watch on streams p (T, C) whose first step is 0; no statistic has begun to rise."""
    watch = Watch.start(plan, p, len(p) - 1)
    watch.memory[[FALL, RISE]] = 0
    return watch


# ---- bots and click farms


@examples(150)
@given(st.lists(any_p, min_size=1, max_size=immune_steps(LEAST)), st.integers(0, 2**32), st.integers(30, 120))
def test_a_burst_shorter_than_the_immunity_cannot_alert_whatever_p_does(burst, seed, n_before):
    """At the lowest threshold that any user ever has. A longer one can: the next test."""
    plan, random = cusum_plan(), np.random.default_rng(seed)
    before = 1 / (1 + np.exp(-random.normal(0, random.uniform(0, 0.6), (n_before, 1))))
    watch = watch_of(plan, before.astype(np.float32))
    watch.spending.moved[...] = LEAST - budget_for(plan.detection, (1,)).start_threshold
    for i, p in enumerate(burst):
        assert not watch.judge(plan.detection, n_before + i, Chances.of_p(np.array([p], np.float32)), ALWAYS).any()


def test_a_lasting_change_does_alert():
    plan = cusum_plan()
    watch = watch_of(plan, np.full((60, 1), 0.6, np.float32))
    low = Chances.of_p(np.full(1, 0.1, np.float32))
    raised = [watch.judge(plan.detection, 60 + i, low, ALWAYS) for i in range(20)]
    assert np.any(raised, axis=0)[Direction.FALL, 0] and not np.any(raised[: immune_steps(LEAST)])


# ---- impossible rates


def test_a_flood_of_the_largest_events_leaves_counts_features_and_p_finite(new_device):
    device = ready(new_device(), make_plan())
    for step in range(3):
        for _ in range(2_000):
            assert device.record(view(step, 1, EventKind.PURCHASE, MAX_AMOUNT))
    device.close_until(4)
    assert device._state.history.amount.max() == pytest.approx(2_000 * MAX_AMOUNT, rel=1e-3)
    assert np.isfinite(device.interests()[1]) and 0 <= device.interests()[1] <= 1
    assert not device.problems and np.isnan(np.delete(device.interests(), 1)).all()


@examples(60)
@given(st.integers(0, 2**32), st.floats(0, 1e30))
def test_features_are_bounded_whatever_the_counters_hold(seed, most):
    random = np.random.default_rng(seed)
    shape = (N_CATEGORIES, 20)
    active = random.random(shape) < 0.5
    count, amount = (np.where(active, random.random(shape) * most, 0).astype(np.float32) for _ in range(2))
    x = extract(History(active, count, amount), FeatureSpec(12), np.arange(20))
    assert np.isfinite(x).all() and x.min() >= -7 and x.max() <= 5


# ---- poisoning


def drifting(logits_per_step: float, n_steps: int = 182, n: int = 400, seed: int = 0) -> np.ndarray:
    """p (T, N) of plain streams around .4 that drift after 60 steps."""
    random = np.random.default_rng(seed)
    logits = -0.4 + 0.3 * random.normal(size=(n_steps, n))
    logits -= logits_per_step * np.maximum(np.arange(n_steps) - 60, 0)[:, None]
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def alerted(p: np.ndarray) -> float:
    """Share of streams (T, N), each a user of its own, with a fall after step 60."""
    plan = make_plan(detection={"detector": "cusum", "season_steps": 7})
    watch = Watch.start(plan, np.moveaxis(p[:61, :, None], 0, 1), 60)
    everybody = np.ones((p.shape[1], 1), bool)
    now = map(Chances.of_p, p[61:, :, None])
    raised = [watch.judge(plan.detection, t, one, everybody) for t, one in enumerate(now, start=61)]
    return float(np.any(raised, axis=0)[:, Direction.FALL, 0].mean())


def test_a_baseline_can_be_moved_unnoticed_only_slowly():
    """Half a logit in four months is seen in nearly every stream, a twentieth of one hardly more often than nothing."""
    fast, slow, none = (alerted(drifting(moved / 120)) for moved in (0.5, 0.05, 0.0))
    assert fast >= 0.9 and slow <= none + 0.15


def test_spikes_that_poison_the_scale_hide_no_lasting_drop():
    p = drifting(0.0)
    logits = np.log(p / (1 - p))
    spiked = logits.copy()
    spiked[:60:8] += 3
    spiked[4:60:8] -= 3
    for stream in (logits, spiked):
        stream[100:] -= 1.5
    plain, poisoned = (alerted((1 / (1 + np.exp(-v))).astype(np.float32)) for v in (logits, spiked))
    assert plain >= 0.9 and poisoned >= 0.75


# ---- the report, on planted users


@pytest.fixture(scope="module")
def world() -> World:
    return World.make(60, 0)


@pytest.fixture(scope="module")
def found(world) -> dict[str, dict[str, Effect]]:
    """Every attack's effect on each detector, by the attack's first words."""
    each = {name: effects(world.under(name), pushes=(0.2,)) for name in DETECTORS}
    return {name: {re.split(r", (?!d|t)", e.attack)[0]: e for e in rows} for name, rows in each.items()}


#: By how much each attack may raise the share of users with a fall, with a rise, against the CUSUM and against phi's
#: line. What is allowed to be large is the bad news of docs/detectors.md.
MOST = {
    "bot": ((0.05, 0.1), (0.05, 0.2)),
    "click farm": ((0.05, 0.15), (0.05, 0.2)),
    "flood": ((0.05, 0.05), (0.05, 0.35)),
    "poison": ((0.5, 0.0), (0.1, 0.0)),
    "slow poison": ((0.5, 0.0), (0.1, 0.0)),
    "features pushed by 0.2, down": ((0.25, 0.0), (0.15, 0.0)),
    "features pushed by 0.2, to and fro": ((0.05, 0.05), (0.15, 0.15)),
}


@pytest.mark.parametrize("attack", MOST)
def test_no_attack_makes_more_false_alerts_than_we_say(found, attack):
    for rows, (falls, rises) in zip(found.values(), MOST[attack], strict=True):
        none, hit = rows["none"], rows[attack]
        assert hit.falls <= none.falls + falls + 1e-9 and hit.rises <= none.rises + rises + 1e-9


def test_scores_move_within_bounds(found):
    """Events move p by much for some user-steps; pushed features by less than they are pushed, for both scores."""
    for rows in found.values():
        assert rows["none"].most_move == 0
        for attack, effect in rows.items():
            assert effect.mean_move <= (0.1 if attack.startswith("features") else 0.25)
            assert effect.most_move <= (0.2 if attack.startswith("features") else 0.7)


def test_without_the_rule_for_bursts_a_bot_would_make_rises(found, world, monkeypatch):
    """In every second user or so, and, once it is gone, a fall in many."""
    monkeypatch.setattr(
        client.detection.watch, "held_by_burst", lambda history, features, steps: np.zeros((len(steps), 1), bool)
    )
    assert min(e.rises for e in effects(world, pushes=())[1:3]) >= found["cusum"]["none"].rises + 0.2


def test_withdrawn_poison_does_make_false_falls_under_the_cusum(found):
    """The bad news: if this fails for good, docs/detectors.md is too modest."""
    assert found["cusum"]["poison"].falls >= found["cusum"]["none"].falls + 0.1


def test_pushed_features_stay_plausible_and_go_the_way_they_are_pushed(world):
    x = world.rows(world.history)[world.mine]
    for sign in (1, -1):
        moved = pushed(world, x, 0.1, np.full(x.shape[1], sign))
        assert (moved >= x.min(axis=(0, 1))).all() and (moved <= x.max(axis=(0, 1))).all()
        assert np.abs(moved - x).max() <= 0.1 + 1e-6
        assert sign * float((world.p(moved) - world.p(x)).mean()) > 0.005


def test_added_events_touch_the_attacked_category_alone(world):
    per_step = np.where(np.arange(world.history.n_steps) == FIRST, 5.0, 0.0)
    other = with_events(world, EventKind.CLICK, per_step)
    change = other.count - world.history.count
    assert change[np.arange(60), world.category, FIRST] == pytest.approx(2.0)
    assert np.count_nonzero(change) == 60 and START < FIRST


def test_the_table_has_a_row_without_attack_and_one_for_each(found):
    for detector, rows in found.items():
        assert next(iter(rows)) == "none" and len(rows) == 1 + len(MOST)
        assert all(e.mean_move > 0 and e.most_move >= e.mean_move for e in list(rows.values())[1:])
        assert table_of(list(rows.values()), 60, detector).row_count == 8


def test_a_push_against_phi_is_one_of_phi(world):
    """The score of the risk world is 1 - phi, and a push down raises phi more than the same push of p does."""
    risk = world.under("risk")
    x = world.rows(world.history)[world.mine]
    down = np.full(x.shape[1], -1)

    def risen(moved: np.ndarray) -> float:
        return float((risk.score(x, risk.before(risk.p(x))) - risk.score(moved, risk.before(risk.p(moved)))).mean())

    assert risen(pushed(risk, x, 0.1, down)) > risen(pushed(world, x, 0.1, down)) > 0


@pytest.mark.slow
def test_published_figures_name_detector_attack_and_measure(monkeypatch, world, found):
    monkeypatch.setattr("simulations.attacks.hostile_behaviour.PUBLISHED_SEEDS", 1)
    monkeypatch.setattr(World, "make", lambda n_users, seed: world)
    monkeypatch.setattr(
        "simulations.attacks.hostile_behaviour.effects",
        lambda world, pushes: list(found[world.plan.detection.detector].values()),
    )
    figures = hostile_numbers()
    assert len(figures) == len(DETECTORS) * len(PUBLISHED) * 3
    assert figures["hostile.cusum.poison.falls"].value == pytest.approx(found["cusum"]["poison"].falls, abs=1e-5)
    assert figures["hostile.risk.down.most_move"].unit == "of phi"
