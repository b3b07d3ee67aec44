"""The rule that chooses a detector: what it counts, by hand; that it sees no test step; that it decides as it says."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.detection.chances import Chances
from client.detection.risk_levels import Direction
from client.detection.watch import Watch
from shared.errors import ConfigError
from shared.features import History
from shared.plan import Detection
from shared.register.rule_plan import RulePlan
from simulations.cli import main as cli
from simulations.evaluation.replay import SETTINGS, Scores, alerts_of, tried, with_setting
from simulations.people.of_scenario import population_of, protocol_of
from simulations.people.population import Population
from simulations.people.setup import Setup
from simulations.scenarios.config import PLANTED_PROTOCOL, Scenario, load_scenario
from simulations.search.choose_detector import (
    FallTruth,
    Outcome,
    ahead_low,
    best_of,
    budget_of,
    choose,
    ends_of,
    f_scores,
    judged_steps,
    outcome,
    verdict,
)
from tests.simulations.evaluation.test_turn_rows import PROTOCOL, of_streams

#: Of 25 steps that are known when training ends, the last 8 whose outcome is known.
RULE_PROTOCOL = PROTOCOL.model_copy(update={"train_steps": (6, 23)})
FEW = ["data.users=30", "risk.public_users=40"]


def made(detector: str, counts: list[list[float]], setting: float = 1.0, waits: tuple[float, ...] = ()) -> Outcome:
    return Outcome(detector, setting, np.array([counts], np.float64), np.array(waits))


@cache
def few() -> tuple[Scenario, Population]:
    scenario = load_scenario("demo", FEW)
    return scenario, population_of(scenario)


@cache
def found() -> dict[str, Any]:
    scenario, people = few()
    return choose(Setup.of(scenario, people), people, starts=1)


def test_steps_are_the_last_whose_outcome_is_known_when_training_ends() -> None:
    assert judged_steps(RULE_PROTOCOL).tolist() == list(range(14, 22))  # 25 is the last known, lapses take 4
    assert judged_steps(PLANTED_PROTOCOL)[[0, -1]].tolist() == [49, 90]
    for name in ("complete-journey-eps1", "online-retail-ii-eps1"):
        protocol = protocol_of(load_scenario(name))
        steps = judged_steps(protocol)
        assert steps[-1] + protocol.lapse_steps == protocol.train_at < protocol.test_steps[0]
        assert steps[0] >= protocol.window_steps
    with pytest.raises(
        ConfigError, match="expected 4 steps after the first 6 whose outcome is known by step 10, got 1"
    ):
        judged_steps(PROTOCOL.model_copy(update={"train_steps": (6, 8)}))


def test_intervals_are_over_users_of_all_starts_together() -> None:
    alike = Outcome("risk", 0.25, np.tile(np.array([4.0, 3.0, 2.0, 1.0]), (2, 9, 1)), np.zeros(0))
    for name, value in {"precision": 0.75, "recall": 0.5, "f_score": 0.6, "false_per_user": 1.0}.items():
        assert [ends_of(alike, 0)[f"{name}_{end}"] for end in ("low", "high")] == pytest.approx([value] * 2)
        assert getattr(alike, name) == pytest.approx(value)
    one = made("risk", [[4.0, 4.0, 2.0, 1.0], [4.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    ends = ends_of(one, 0)
    assert ends["precision_low"] == 0 and ends["precision_high"] == 1 and ends["false_per_user_high"] <= 4
    never = made("cusum", [[0.0, 0.0, 1.0, 0.0]] * 3)
    assert ends_of(never, 0)["precision_low"] is None and ends_of(never, 0)["recall_high"] == 0


def test_whole_lapses_count_for_recall_and_every_true_step_for_precision() -> None:
    #                     0         1         2
    #                     01234567890123456789012345
    history = of_streams(
        "00000000111111111000000000",  # last active at 16: whole, could be warned of at 16..19
        "00001111111100000000000000",  # last active at 11, before the judged steps: true while watched, not for recall
        "00000000111111111111111000",  # last active at 22: nobody can know
        "00000000111111100011110000",  # away for 3 steps only, then last active at 21
    )
    steps = judged_steps(RULE_PROTOCOL)
    truth = FallTruth.of_lapses(history.until(RULE_PROTOCOL.train_at), RULE_PROTOCOL, 4, steps)
    assert (truth.turns.user.tolist(), truth.turns.first.tolist(), truth.turns.last.tolist()) == ([0], [16], [19])
    assert [steps[row].tolist() for row in truth.true[:, :, 0]] == [[16, 17, 18, 19], [14], [], [21]]
    falls = np.zeros((4, len(steps), 1), bool)
    falls[0, 3], falls[1, 0], falls[2, 5], falls[3, 1] = True, True, True, True  # at 17, 14, 19, 15
    told = outcome("level", 0.4, falls, truth, steps)
    assert told.counts.tolist() == [[[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]]
    assert (told.precision, told.recall, told.waits.tolist()) == (0.5, 1.0, [1.0])
    assert told.f_score == pytest.approx(2 / 3) and told.false_per_user == 0.5
    assert told.to_map(0.5, 4)["lead_steps"] == 3 and told.to_map(0.5, 4)["within_budget"]
    assert not told.to_map(0.49, 4)["within_budget"]


def test_f_is_zero_where_nothing_was_called() -> None:
    assert f_scores(np.array([[0, 0, 5, 0], [4, 0, 5, 0], [4, 2, 5, 5]])).tolist() == pytest.approx([0, 0, 2 / 3])
    silent = made("level", [[0, 0, 5, 0]])
    assert silent.precision is None and silent.recall == 0 and silent.f_score == 0


def test_the_best_keeps_the_budget() -> None:
    loud, fair, mute = (
        made("level", [[20, 5, 10, 9]]),
        made("level", [[4, 2, 10, 2]], 2.0),
        made("level", [[0, 0, 10, 0]], 3.0),
    )
    assert loud.f_score > fair.f_score > mute.f_score
    assert best_of([loud, fair, mute], 15) is loud
    assert best_of([loud, fair, mute], 3) is fair
    assert best_of([loud, fair], 1) is fair  # none keeps it: the fewest false falls
    assert budget_of(Detection(false_alerts=3, budget_steps=26), 13) == 1.5


def test_a_verdict_is_clear_only_if_every_draw_of_users_and_every_start_says_so() -> None:
    random = np.random.default_rng(0)
    lapses = np.full(200, 4.0)

    def of(detector: str, share: float) -> Outcome:
        hits = random.binomial(4, share, 200).astype(float)
        return made(detector, np.stack([hits + 1, hits, lapses, hits], axis=-1).tolist())

    good, poor, other = of("risk", 0.6), of("level", 0.3), of("cusum", 0.6)
    low = ahead_low(good, poor, 0)
    assert low is not None and 0.1 < low < good.f_score - poor.f_score
    alike = ahead_low(good, other, 0)
    assert alike is not None and alike < 0
    told = verdict([good, poor], Detection(detector="level"), 5, 0, 8)
    assert told["chosen"] == "risk" and told["clear"]
    # a second start under which the same detector is no better takes the clarity away
    both = Outcome.over([good, made("risk", poor.counts[0].tolist())])
    twice = Outcome.over([poor, poor])
    assert both.f_score > twice.f_score and (ahead_low(both, twice, 0) or 0) <= 0


@pytest.mark.parametrize("name", ["demo", "complete-journey-eps1", "complete-journey", "online-retail-ii-eps7"])
def test_every_setting_is_a_valid_plan(name: str) -> None:
    settings = load_scenario(name).detection.plan(8)
    for detector, (key, _) in SETTINGS.items():
        values = tried(settings, detector)
        assert getattr(settings, key) in values
        for value in values:
            made_so = with_setting(settings, detector, value)
            assert made_so.detector == detector and getattr(made_so, key) == value
            assert made_so.quiet_steps == settings.quiet_steps


@pytest.mark.parametrize("detector", SETTINGS)
def test_falls_are_those_of_a_device(detector: str) -> None:
    """A batch of users calls what each of them would call alone, with the watch that a device keeps."""
    scenario, people = few()
    plan = replace(Setup.of(scenario, people).plan, rule=RulePlan())
    random = np.random.default_rng(1)
    p = random.uniform(0.05, 0.95, (3, 60, len(people.catalogue))).astype(np.float32)
    p[0, :, 1] = np.nan
    steps = np.arange(49, 69)
    watched = random.random((3, 20, p.shape[2])) < 0.9
    nothing = np.zeros((3, p.shape[2], 69), np.float32)
    scores = Scores(
        History(nothing > 0, nothing, nothing), steps, p[:, :40], p[:, 40:], 1 - p[:, 40:], watched, None, 1 - p[:, 40:]
    )
    settings = with_setting(plan.detection, detector, SETTINGS[detector][1][1])
    falls = alerts_of(plan, settings, scores)[:, :, Direction.FALL]
    alone = Watch.start(replace(plan, detection=settings), p[1, :40], 48)
    for i, step in enumerate(steps.tolist()):
        raised = alone.judge(settings, step, Chances.of_p(scores.p[1, i], 1 - p[1, 40 + i]), scores.watched[1, i])
        assert np.array_equal(raised[0], falls[1, i])
    assert falls.any() or detector == "cusum"


def test_nothing_after_training_is_looked_at() -> None:
    scenario, people = few()
    user = np.repeat(np.arange(people.n_users), np.diff(people.offsets))
    kept = people.time_s < (PLANTED_PROTOCOL.train_at + 1) * people.step.seconds
    cut = Population.from_events(
        name=people.name,
        catalogue=people.catalogue,
        step=people.step,
        n_steps=people.n_steps,
        simulated=True,
        n_users=people.n_users,
        user=user[kept],
        category=people.category[kept],
        kind=people.kind[kept],
        time_s=people.time_s[kept],
        amount=people.amount[kept],
    )
    assert len(people.time_s) > cut.n_events > 0
    without_truth = {**found(), "planted": None}
    assert choose(Setup.of(scenario, cut), cut, starts=1) == without_truth


def test_the_verdict_follows_the_rule() -> None:
    told = found()
    assert {row["detector"] for row in told["rows"]} == set(SETTINGS)
    best: dict[str, dict[str, Any]] = {}
    for row in told["every"]:
        if row["within_budget"] and row["f_score"] > best.get(row["detector"], {"f_score": -1})["f_score"]:
            best[row["detector"]] = row
    assert told["chosen"] == max(best.values(), key=lambda row: row["f_score"])["detector"]
    assert told["planned"]["detector"] == "cusum" and told["planned"]["setting"] == 3
    assert told["planted"]["rows"] and told["turns"] > 0
    assert json.loads(json.dumps(told)) == json.loads(json.dumps(found()))


def test_a_plan_without_phi_has_no_risk_detector() -> None:
    scenario, people = few()
    scenario = scenario.model_copy(update={"risk": scenario.risk.model_copy(update={"rounds": 0})})
    told = choose(Setup.of(scenario, people), people, starts=1)
    assert {row["detector"] for row in told["rows"]} == set(SETTINGS) - {"risk"}


def test_the_command_prints_the_rule_at_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [text for value in FEW for text in ("--set", value)]
    file = tmp_path / "choice.json"
    monkeypatch.setattr(sys, "argv", ["ebbtide", "choose", "demo", "--starts", "1", *given, "--out", str(file)])
    monkeypatch.setenv("COLUMNS", "160")
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code
    told = capsys.readouterr().out
    assert "SIMULATED data, days 49 to 90, 30 users" in told and "cusum" in told and "planted falls" in told
    assert "budget: 0.69 false falls per user in 42 steps" in told
    assert json.loads(file.read_text())["chosen"] == found()["chosen"]
