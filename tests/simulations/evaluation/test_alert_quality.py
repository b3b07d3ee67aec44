"""Alerts beside other detectors, against the budget and at other settings; users to draw."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from client.detection.risk_levels import Direction
from shared.features import History
from shared.plan import DETECTORS, Detection, Plan
from simulations.baselines.interest_models import GAP_BASELINES
from simulations.bench.detectors import DETECTORS as BENCHED
from simulations.evaluation import alert_quality as quality
from simulations.evaluation.alert_quality import DETECTOR_NAMES, alert_steps, over_budget, turns_of
from simulations.evaluation.examples import example_users, typical
from simulations.evaluation.ground_truth import Turns, judge
from simulations.evaluation.quality import auc
from simulations.evaluation.replay import SETTINGS, Scores, alerts_of, scores_at, with_setting
from simulations.evaluation.result_tables import AlertQuality
from simulations.evaluation.turn_quality import LEVEL, PHI, lapse_quality, rise_quality, risk_of
from simulations.evaluation.turn_rows import TurnRows, judged_lapses, judged_takeoffs
from simulations.evaluation.turn_table import CHANGE_STEPS, DIRECT, Levels, pooled_levels
from simulations.federation.alert_table import Alerts, ShownAlerts
from simulations.federation.run_folder import RunFolder
from simulations.people.labelled_rows import history_of
from simulations.people.looked_at import LookedAt
from simulations.people.of_scenario import population_of
from simulations.people.population import Population
from simulations.people.setup import Setup
from simulations.report.report import DETECTOR_RULES
from simulations.scenarios.config import PLANTED_PROTOCOL, load_scenario

USERS = 25


@cache
def people() -> Population:
    return population_of(load_scenario("demo", [f"data.users={USERS}"]))


@cache
def setup_of(rounds: int = 8) -> Setup:
    return Setup.of(load_scenario("demo", [f"data.users={USERS}", f"risk.rounds={rounds}"]), people())


def plan_of(rounds: int = 8) -> Plan:
    return setup_of(rounds).plan


def weights_of(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """A network that says something, and a phi that follows the level of p."""
    theta = 3 * plan.network.initial_theta(1)
    return theta, np.array([-1.5, -2, 0, 1, 0, 0], np.float32) if plan.risk else np.empty(0, np.float32)


@cache
def scores(rounds: int = 8) -> Scores:
    setup = setup_of(rounds)
    return scores_at(history_of(people()), setup, *weights_of(setup.plan), quality.lived_steps(setup.protocol))


@cache
def levels() -> Levels:
    return pooled_levels(history_of(people()), setup_of(), every_model=False)


def devices_alerts(plan: Plan) -> ShownAlerts:
    raised = alerts_of(plan, plan.detection, scores())
    user, step, direction, category = np.nonzero(raised)
    return ShownAlerts(user, scores().steps[step], direction, category, *np.zeros((4, len(user)), int))


@cache
def judged() -> AlertQuality:
    return quality.alert_quality(people(), history_of(people()), setup_of(), scores(), *[devices_alerts(plan_of())] * 2)


def of(user: list[int], step: list[int]) -> ShownAlerts:
    return ShownAlerts(np.array(user, int), np.array(step, int), *np.zeros((6, len(user)), int))


def test_a_user_is_over_budget_with_more_false_alerts_than_it_within_its_steps() -> None:
    settings = Detection(false_alerts=2, budget_steps=10)
    falls, rises = of([0, 0, 1, 1, 2, 2], [10, 15, 10, 15, 10, 15]), of([0, 1, 2, 3], [19, 20, 10, 1])
    # user 0: 10, 15, 19 lie within 10 steps; user 1: 10, 15, 20 do not; user 2: 10, 10, 15 do; user 3 has one
    assert over_budget([falls, rises], 4, settings) == 0.5
    assert over_budget([falls], 4, settings) == 0
    assert over_budget([of([], []), of([], [])], 4, settings) == 0
    assert over_budget([falls, rises], 8, replace(settings, false_alerts=3)) == 0


def test_the_budget_is_over_both_directions_and_only_over_false_alerts() -> None:
    told, plan = judged(), plan_of()
    false: dict[int, int] = {}
    for direction in Direction:
        _, truths = turns_of(people(), history_of(people()), setup_of(), direction)
        mine = devices_alerts(plan).of(direction, PLANTED_PROTOCOL.alert_steps)
        spans = {
            (u, c): (a, b) for u, c, a, b in zip(truths.user, truths.category, truths.first, truths.last, strict=True)
        }
        for u, s, c in zip(mine.user, mine.step, mine.category, strict=True):
            first, last = spans.get((u, c), (1, 0))
            if not first <= s <= last:
                false[u] = false.get(u, 0) + 1
    # the alert steps are fewer than the budget's, so a user's false alerts all count together
    assert told.budget.over == sum(n > plan.detection.false_alerts for n in false.values()) / USERS
    assert told.budget.beside["always"] == 1 and told.budget.beside["never"] == 0
    assert set(told.budget.beside) == set(told.fall.beside)


def test_the_plan_s_own_setting_replayed_is_what_devices_did() -> None:
    told = judged()
    for curve in told.curves.detectors:
        own = next(point for point in curve.points if point.planned)
        same = told.fall if curve.detector == "cusum" else told.fall.beside[curve.name]
        for key in ("alerts", "precision", "recall", "median_delay_steps", "false_per_user"):
            assert getattr(own, key) == getattr(same, key), curve.name
    taught = [name for kind, name in DETECTOR_NAMES.items() if kind != "slow_average"]
    assert [curve.name for curve in told.curves.detectors] == taught
    assert AlertQuality.model_validate_json(told.model_dump_json()) == told


def test_louder_settings_come_first_and_many_users_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    for curve in judged().curves.detectors:
        loud = [point.false_per_user for point in curve.points]
        assert loud == sorted(loud, reverse=True) and len(loud) >= len(SETTINGS[curve.detector][1])
        assert sum(point.planned for point in curve.points) == 1
    monkeypatch.setattr(quality, "CURVE_USERS", 7)
    plan, steps = plan_of(), alert_steps(PLANTED_PROTOCOL)
    turns, truths = turns_of(people(), history_of(people()), setup_of(), Direction.FALL)
    some = quality.curves(plan, scores(), steps, turns, truths)
    assert some.users == 7
    chosen = np.sort(np.random.Generator(np.random.Philox(0)).permutation(USERS)[:7])
    falls = alerts_of(plan, with_setting(plan.detection, "rate", 0.02), scores())[chosen, -len(steps) :, 0]
    expected = judge(
        Alerts.of_mask(falls, steps, Direction.FALL, 0), turns.of_users(chosen), 7, truths=truths.of_users(chosen)
    )
    rate = next(curve for curve in some.detectors if curve.detector == "rate")
    assert vars(expected).items() <= vars(next(point for point in rate.points if point.setting == 0.02)).items()


def test_without_phi_nobody_calls_by_it() -> None:
    told = quality.alert_quality(
        people(), history_of(people()), setup_of(0), scores(0), *[devices_alerts(plan_of())] * 2
    )
    assert DETECTOR_NAMES["risk"] not in told.fall.beside
    assert "risk" not in [curve.detector for curve in told.curves.detectors]
    assert DETECTOR_NAMES["risk"] in judged().fall.beside


@pytest.mark.parametrize("rounds", [0, 8])
def test_lapses_are_judged_with_and_without_phi(rounds: int) -> None:
    told = lapse_quality(history_of(people()), setup_of(rounds), scores(rounds), levels(), 0)
    assert told is not None
    names = [row.name for row in told.table]
    assert names[0] == (PHI if rounds else LEVEL) and (PHI in names) == bool(rounds)
    assert bool(told.calibration) == bool(rounds)


@pytest.mark.slow
def test_pooled_models_and_the_article_s_rate_of_our_own_p_are_in_every_run_s_tables() -> None:
    history = history_of(people())
    for make, turns in ((lapse_quality, "lapses"), (rise_quality, "take-offs")):
        told = make(history, setup_of(), scores(), levels(), 0)
        assert told is not None
        names = {row.name for row in told.table}
        wanted = {f"change rate of p, w = {w}, Ebbtide" for w in CHANGE_STEPS}
        wanted |= {f"level of p, {name}" for name in GAP_BASELINES} | {
            f"{name}, trained on {turns}" for name in GAP_BASELINES if name in DIRECT
        }
        assert wanted <= names and LEVEL in names


@pytest.mark.slow
def test_what_a_table_says_of_us_is_what_the_devices_computed() -> None:
    """p and phi of a row by their definition, from the row's features alone."""
    plan, history = plan_of(), history_of(people())
    rows = judged_lapses(history, PLANTED_PROTOCOL, PLANTED_PROTOCOL.lapse_test_steps)
    p, risk = risk_of(history, plan, *weights_of(plan), rows)
    told = lapse_quality(history, setup_of(), scores(), levels(), 0)
    table = {row.name: row.auc for row in told.table}
    assert table[LEVEL] == pytest.approx(auc(rows.y, -p), abs=1e-5)
    assert table[PHI] == pytest.approx(auc(rows.y, risk), abs=1e-5)
    rising = judged_takeoffs(history, PLANTED_PROTOCOL, PLANTED_PROTOCOL.lapse_test_steps)
    p, _ = risk_of(history, plan, *weights_of(plan), rising)
    table = {row.name: row.auc for row in rise_quality(history, setup_of(), scores(), levels(), 0).table}
    assert table[LEVEL] == pytest.approx(auc(rising.y, p), abs=1e-5)
    earlier = replace(rising, step=rising.step - 4)
    before = np.where(seen_at(history, earlier), risk_of(history, plan, *weights_of(plan), earlier)[0], p)
    assert table["change rate of p, w = 4, Ebbtide"] == pytest.approx(auc(rising.y, p - before), abs=1e-5)


def seen_at(history: History, rows: TurnRows) -> np.ndarray:
    """Whether each row's user had touched its category by then: (n,)."""
    return np.logical_or.accumulate(history.active, axis=-1)[rows.user, rows.category, rows.step]


def test_turns_of_some_users_are_numbered_anew() -> None:
    turns = Turns(*(np.array(column) for column in ([0, 2, 5, 7], [1, 2, 3, 4], [10, 11, 12, 13], [20, 21, 22, 23])))
    some = turns.of_users(np.array([2, 3, 7]))
    assert (some.user.tolist(), some.category.tolist(), some.first.tolist()) == ([0, 2], [2, 4], [11, 13])


def test_a_typical_turn_is_the_one_nearest_to_the_median_and_a_missed_one_the_first() -> None:
    delay = np.array([np.inf, 3.0, 30.0, np.inf, 9.0])
    assert typical(delay, True) == 4 and typical(delay, False) == 0
    assert typical(np.array([np.inf]), True) is None and typical(np.array([1.0]), False) is None


def test_planted_users_are_drawn_and_real_ones_never(tmp_path: Path) -> None:
    truth = people().truth
    assert truth is not None
    history, p = history_of(people()), np.full((USERS, people().n_steps, len(people().catalogue)), 0.5, np.float32)
    turns, _ = turns_of(people(), history, setup_of(), Direction.FALL)
    assert len(turns) >= 2
    found = of([int(turns.user[1])], [int(turns.first[1]) + 4])
    found.category[:] = turns.category[1]
    found.began[:] = turns.first[1] - 1
    drawn = example_users(RunFolder(tmp_path), setup_of(), LookedAt.of(people(), 0), history, p, found)
    assert [(user.direction, user.found) for user in drawn] == [("fall", True), ("fall", False)]
    assert drawn[0].change_step == turns.first[1] and drawn[0].alerts[0].step == turns.first[1] + 4
    assert drawn[0].alerts[0].began == turns.first[1] - 1
    assert drawn[1].change_step == turns.first[0] and not drawn[1].alerts
    unknown = Population(**{**vars(people()), "truth": None})
    assert example_users(RunFolder(tmp_path), setup_of(), LookedAt.of(unknown, 0), history, p, found) == []


def test_every_detector_has_a_name_words_values_to_try_and_a_place_in_the_bench():
    for named in (SETTINGS, DETECTOR_NAMES, DETECTOR_RULES, BENCHED):
        assert set(named) == set(DETECTORS)
