"""Sums besides training, from the server's side, with real devices: asked when they are due, paid for first, and once."""

import json
from pathlib import Path

import numpy as np
import pytest

from client.model.recipes import VECTORS, Seen
from server.insights import sum_queries
from server.insights.readings import auc_of
from server.insights.sum_queries import sums_account
from server.state import ServerFolder
from shared.register.recipes import N_BINS
from tests.server.test_app import IN_SUMS, PRIVACY, Phones, run_config, serve
from tests.world.basics import activity_theta, make_plan
from tests.world.queries import counts, evaluation

AGREED = {1, 2, 4, 5, 7}
DUE = [14, 19]
DETECTION = {"detector": "rate", "rate_threshold": 0.3, "quiet_steps": 1}
PLAN = make_plan(
    privacy=PRIVACY,
    detection=DETECTION,
    sum=IN_SUMS,
    queries=(evaluation(rounds=2), counts(rounds=2)),
)


@pytest.fixture
def phones(tmp_path):
    return Phones(tmp_path / "phones", 8, identified=AGREED)


@pytest.fixture
def config(tmp_path):
    np.save(tmp_path / "theta.npy", activity_theta())
    begin = {"server.theta-file": str(tmp_path / "theta.npy"), "server.learning-rate": 0.01}
    return run_config(tmp_path, PLAN, **begin)


def account_in(config) -> dict:
    return json.loads(ServerFolder(tmp_folder(config)).account_file.read_text())


def tmp_folder(config) -> Path:
    return Path(config["server.folder"])


def expected(phones, recipe, step, number) -> np.ndarray:
    """The plain sum over who agreed, by what lies in their vaults."""
    query, total = PLAN.query(recipe), 0.0
    for node in sorted(AGREED):
        device = phones.devices[node]
        state = device._state
        told = [(0, a.direction, a.category, a.level, a.step) for a in device.alerts()]
        history, table = state.history.until(step)[None], np.array(told, np.int64).reshape(-1, 5)
        own = np.array([device.profile.number])
        about = Seen(PLAN, query, history, state.installed.scorer.score, table, own, number, step)
        total = total + VECTORS[recipe](about)[0]
    return total


def test_a_run_asks_for_what_is_due_and_the_sum_is_that_of_who_agreed(phones, config):
    serve(phones.grid(), config)
    account = account_in(config)
    told = [(one["recipe"], one["step"], one["asked"], one["answered"]) for one in account["sums"]]
    assert told == [(recipe, step, 8, len(AGREED)) for step in DUE for recipe in ("evaluation", "alert_counts")]
    lines = [(line["line"], line["times"]) for line in account["lines"]]
    assert lines == [("update", 3), ("evaluation", 2), ("alert_counts", 2)]
    assert account["epsilon_to_public"] is None, "these queries carry no noise, and the account says so"
    for i, one in enumerate(account["sums"]):
        number = 3 + 1 + i // 2 + 2 * (one["recipe"] == "alert_counts")
        plain, near = expected(phones, one["recipe"], one["step"], number), 0.02
        if one["recipe"] == "evaluation":
            clear = auc_of(plain, 0.0)
            assert one["reading"]["auc"]["estimate"] == pytest.approx(clear.estimate, abs=near)
            assert one["reading"]["rows"] > 0 and len(one["reading"]["bins"]) == N_BINS
        else:
            assert np.ravel(one["reading"]["counts"]) == pytest.approx(plain, abs=near)
    assert sum(np.sum(one["reading"]["counts"]) for one in account["sums"][1::2]) > 1, "somebody had an alert"
    traffic = ServerFolder(tmp_folder(config)).traffic()
    assert traffic["dropped"] == {"refusal_7": 4 * (8 - len(AGREED))}, "the others did not agree"
    assert all(not device.problems for device in phones.devices.values())


def test_a_sum_is_charged_durably_before_anybody_is_asked(phones, config, monkeypatch):
    seen, ask = [], sum_queries.ask_cohort

    def watched(federation, plan, request, kind):
        charges = ServerFolder(tmp_folder(config)).charges(PLAN.sha256)
        seen.append((request["round"], charges.has(request["round"]), charges.has(request["round"] + 1)))
        return ask(federation, plan, request, kind)

    monkeypatch.setattr(sum_queries, "ask_cohort", watched)
    serve(phones.grid(), config)
    assert [(number, paid) for number, paid, _ in seen] == [(4, True), (6, True), (5, True), (7, True)]
    assert not any(ahead for number, _, ahead in seen if number in (4, 6))


def test_what_was_interrupted_stays_charged_and_is_not_asked_again(phones, config, monkeypatch):
    ask = sum_queries.ask_cohort

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sum_queries, "ask_cohort", killed)
    with pytest.raises(KeyboardInterrupt):
        serve(phones.grid(), config)
    asked = []

    def noted(federation, plan, request, kind):
        asked.append(request["round"])
        return ask(federation, plan, request, kind)

    monkeypatch.setattr(sum_queries, "ask_cohort", noted)
    serve(phones.grid(), config)
    assert asked == [6, 5, 7], "round 4 was charged when the process ended"
    account = account_in(config)
    assert [(line["line"], line["times"]) for line in account["lines"]][1] == ("evaluation", 2)
    assert [one["step"] for one in account["sums"] if one["recipe"] == "evaluation"] == DUE[1:]
    serve(phones.grid(), config)
    assert len(asked) == 3 and account_in(config)["sums"] == account["sums"]


def test_a_sum_of_too_few_is_not_opened(tmp_path, config):
    phones = Phones(tmp_path / "phones", 8, identified={3})
    serve(phones.grid(), config)
    for one in account_in(config)["sums"]:
        assert (one["answered"], one["noise_sd"], one["reading"]) == (1, None, None)


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    file = tmp_path / "sums.jsonl"
    whole = {"recipe": "alert_counts", "step": 14, "round": 6, "asked": 8, "answered": 5, "values": [1.0] * 24}
    file.write_text('{"recipe": "eval\n' + json.dumps(whole) + "\n" + '{"recipe"')
    assert [one["step"] for one in sums_account(file, PLAN)] == [14]
    assert sums_account(tmp_path / "nothing", PLAN) == []
