"""The audit of whole runs: nothing is found in honest ones, mistakes are, and whoever has the folder comes to the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from server.app import log_of
from server.app import run as serve
from server.optimizer import ServerOptimizer, ServerSettings
from server.run_log.log import LOG_FILE
from shared import rdp
from shared.errors import ConfigError, RunError
from shared.mechanisms import protect
from shared.plan import BitsPlan, Plan
from simulations.audit.__main__ import main
from simulations.audit.audit import (
    NOBODY_HELD_OUT,
    NOT_PRIVATE,
    Audit,
    audit_run,
    expect_kept,
    keep_audit,
)
from simulations.audit.bounds import CONFIDENCE
from simulations.audit.canaries import canaries_in, expected
from simulations.audit.mechanism import tried, views_of
from simulations.audit.noise import noise_in
from simulations.audit.opened import opened_sums, sums_of
from simulations.audit.power import power_of_canaries
from simulations.audit.recompute import recompute
from simulations.audit.words import in_a_line, table_of
from simulations.federation.equivalence import run_hosted, scenario_without_noise, settings_for, some_people
from simulations.federation.in_process import LocalHost
from simulations.federation.run_folder import RunFolder
from simulations.people.population import Population
from simulations.people.setup import Setup
from simulations.run import evaluate_run
from simulations.scenarios.config import Scenario
from tests.simulations.audit.faults import a_quarter_of_the_noise, a_seed_used_again
from tests.world.basics import full, make_plan

DRAWS = 2000
ROUNDS, NOISE = 12, 8.0
DAMAGED = "audit.json: it is damaged, or not of this run"


def noisy(*overrides: str) -> Scenario:
    """A small run with noise, whose server moves as the one of these tests does."""
    server = ServerSettings()
    return scenario_without_noise(
        f"privacy.noise_multiplier={NOISE}",
        f"privacy.rounds={ROUNDS}",
        "privacy.steps_per_clip=4096",
        *(f"server.{name}={value}" for name, value in vars(server).items()),
        *overrides,
    )


Run = tuple[RunFolder, Setup, Population]


def a_run(folder: Path, *overrides: str) -> Run:
    people, scenario, run = some_people(), noisy(*overrides), RunFolder(folder)
    run_hosted(run, people, scenario)
    return run, Setup.of(scenario, people), people


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return a_run(tmp_path_factory.mktemp("honest") / "run", "data.held_out_share=0.4")


@pytest.fixture(scope="module")
def audit(honest: Run) -> Audit:
    return audit_run(*honest, DRAWS)


def test_an_honest_run_breaks_nothing_and_every_part_says_something(honest, audit):
    assert audit.breaches == ()
    expect_kept(audit)
    assert {one.key for one in audit.mechanism} == {"update", "update.twice"} == set(audit.power)
    found, noise = audit.canaries, audit.noise
    assert found.rounds == ROUNDS and found.canaries == honest[1].plan.network.n_parameters
    assert 0 <= found.at_least < found.stated
    assert noise.planned == NOISE <= noise.at_most < 2 * noise.planned, "tells a quarter of it apart by far"
    assert noise.fresh_at_most > noise.planned and noise.at_least < noise.stated
    assert 0 < audit.membership.auc < 1 and 0.02 < audit.membership.by_chance_sd < 0.2
    assert audit.why == {}
    assert audit.canaries_find_quarter > 0.9 and audit.stated == pytest.approx(noise.stated)
    assert table_of(audit).row_count == 4
    assert re.fullmatch(
        r"nothing that is stated is broken; of the opened sum of one round epsilon [0-9.e-]+ at least is shown, "
        r"0\.434 is stated; noise four times too small would be found in \d+% of audits",
        in_a_line(audit),
    )


@pytest.mark.parametrize("fault", ["a quarter", "used again"])
def test_a_mistake_is_found_in_the_very_run_that_made_it(fault, tmp_path, monkeypatch):
    inject = {"a quarter": a_quarter_of_the_noise, "used again": a_seed_used_again}[fault]
    with monkeypatch.context() as patch:
        inject(patch)
        run = a_run(tmp_path / "run")
    made_later = audit_run(*run, DRAWS)
    assert not any(one.breaks for one in made_later.mechanism), "the code is right again, the run is not"
    noise = made_later.noise
    assert noise.breaks and noise.at_least > noise.stated, "noise that was used before is none: it is what is expected"
    assert noise.repeats == (fault == "used again") and made_later.canaries.breaks
    keep_audit(run[0], made_later)
    with pytest.raises(RunError, match=r"of this run: a multiplier of \d\.\d+ at most, 8 is planned"):
        expect_kept(made_later)
    assert recompute(run[0].path) == [], "what was found is what is there"


def test_whoever_has_the_folder_comes_to_the_same(honest, audit):
    keep_audit(honest[0], audit)
    assert recompute(honest[0].path) == []
    assert honest[0].audit_file.read_text() == audit.canonical
    honest[0].audit_file.unlink()
    assert recompute(honest[0].path) == [], "nothing is said, so nothing is wrong"


@pytest.mark.slow
def test_a_breach_fails_the_run_after_all_is_written_down(tmp_path, monkeypatch):
    monkeypatch.setattr("simulations.baselines.interest_models.DNN_BATCHES", 20)
    people, run = some_people(), RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        a_quarter_of_the_noise(patch)
        scenario = noisy(f"data.users={people.n_users}")
        settings = settings_for(run, people, scenario)
        serve(LocalHost(run), settings, settings.schedule.clock(), log=log_of(settings))
    with pytest.raises(RunError, match=r"its audit found: .*noise of this run: a multiplier of \d\.\d+ at most"):
        evaluate_run(run.path)
    assert re.search(r"broken: .*noise of this run", run.report_file.read_text())
    assert run.has_ended and json.loads(run.audit_file.read_text())["breaches"]
    leaves = (run.server_path / LOG_FILE).read_bytes()
    assert hashlib.sha256(run.audit_file.read_bytes()).hexdigest().encode() in leaves, "the log vouches for the audit"


CHANGES: list[tuple[str, Callable[[dict], object]]] = [
    ("/mechanism/0/at_least", lambda a: a["mechanism"][0].update(at_least=0.001)),
    ("/mechanism/0/stated", lambda a: a["mechanism"][0].update(stated=99.0)),
    ("/mechanism/0/at_least", lambda a: a["mechanism"][0].update(right=[DRAWS] * 20)),
    ("/power/update/finds_quarter", lambda a: a["power"]["update"].update(finds_quarter=0.123)),
    ("/canaries/right/0", lambda a: a["canaries"].update(seed=a["canaries"]["seed"] + 1)),
    ("/canaries/at_least", lambda a: a["canaries"].update(at_least=0.5)),
    ("/noise/at_most", lambda a: a["noise"].update(at_most=9.0)),
    ("/noise/nearest/1", lambda a: a["noise"].update(nearest=[1])),
    ("/membership/auc", lambda a: a["membership"].update(auc=0.5)),
    ("/plan_sha256", lambda a: a.update(plan_sha256="00")),
    ("/breaches", lambda a: a.update(breaches=["none"])),
    ("/more", lambda a: a.update(more=1)),
    ("", lambda a: a.pop("mechanism")),
]


@pytest.mark.parametrize(("at", "change"), CHANGES, ids=[f"{i}{at}" for i, (at, _) in enumerate(CHANGES)])
def test_what_was_changed_is_named(honest, audit, at, change):
    changed = json.loads(audit.canonical)
    change(changed)
    honest[0].audit_file.write_text(json.dumps(changed))
    assert any(said.startswith(f"{honest[0].audit_file.name}{at}: ") for said in recompute(honest[0].path)), recompute(
        honest[0].path
    )


def test_other_iterates_than_the_run_s_are_named(honest, audit, tmp_path):
    run = honest[0]
    keep_audit(run, audit)
    file = run.server_path / "checkpoint.npz"
    kept = file.read_bytes()
    with np.load(file) as arrays:
        changed = dict(arrays)
    changed["iterates"] = changed["iterates"] * 1.5
    try:
        np.savez(file, **changed)
        found = recompute(run.path)
        assert {"audit.json/canaries/at_least", "audit.json/noise/at_most"} <= {said.split(": ")[0] for said in found}
        assert "another optimiser, or damaged" in audit_run(*honest, 10).why["noise"], "no sums of whole numbers"
    finally:
        file.write_bytes(kept)


def test_the_file_holds_nothing_of_anybody(honest, audit):
    """No list is as long as there are people or values; no number is a size of a cohort, a value, a seed of a device."""
    kept, people = json.loads(audit.canonical), honest[2]

    def lists(value: object) -> list[int]:
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        own = [len(value)] if isinstance(value, list) else []
        return own + [n for part in parts for n in lists(part)]

    assert max(lists(kept)) <= 20 < people.n_users
    assert set(kept) == {field.name for field in dataclasses.fields(Audit)}
    told = str(sum(honest[0].server.traffic()["received"].values()))
    leaves = [json.dumps(leaf) for leaf in kept["noise"].values()] + [
        json.dumps(leaf) for leaf in kept["membership"].values()
    ]
    assert told not in leaves and set(kept["membership"]) == {"auc", "by_chance_sd", "found_at_one_percent"}


def test_a_run_without_noise_is_told_as_one(tmp_path):
    people, scenario, run = some_people(), scenario_without_noise(), RunFolder(tmp_path / "run")
    run_hosted(run, people, scenario)
    audit = audit_run(run, Setup.of(scenario, people), people)
    assert audit.why == {
        **dict.fromkeys(("mechanism", "canaries", "noise"), NOT_PRIVATE),
        "membership": NOBODY_HELD_OUT,
    }
    assert audit.stated is audit.canaries is audit.noise is audit.membership is None and audit.mechanism == ()
    assert audit.breaches == () and audit.power == {} and table_of(audit).row_count == 4
    assert in_a_line(audit) == NOT_PRIVATE


def test_a_run_is_audited_again_with_as_many_draws_as_wanted(honest, capsys):
    run = honest[0]
    main([str(run.path), "--draws", "500", "--whole"])
    kept = json.loads(run.audit_file.read_text())
    assert {(one["key"], one["trials"]) for one in kept["mechanism"]} == {
        (key, 500) for key in ("update", "update.twice", "whole")
    }
    assert recompute(run.path) == []
    assert "canaries in this run" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="a run that has ended"):
        main([str(run.path / "nothing")])


# ---- made-up runs


def made_up(plan: Plan, random: np.random.Generator, rounds: int = 4) -> np.ndarray:
    """The sums of rounds whose devices drift, each clipped and noised by the real code, as few as the plan counts on: (R, P)."""
    privacy, n_values = plan.privacy, plan.network.n_parameters
    teach = random.normal(size=n_values) * privacy.clip_norm / math.sqrt(n_values)
    out = []
    for _ in range(rounds):
        teach = 0.9 * teach + 0.05 * random.normal(size=n_values) * privacy.clip_norm / math.sqrt(n_values)
        raw = teach + 0.3 * random.normal(size=(privacy.honest, n_values)) * privacy.clip_norm / math.sqrt(n_values)
        how = {"clip_norm": privacy.clip_norm, "steps_per_clip": privacy.steps_per_clip}
        out.append(protect(raw, **how, share_sigma=privacy.share_sigma).sum(axis=0, dtype=np.uint32))
    return np.stack(out).view(np.int32).astype(np.int64)


def test_of_200_honest_runs_at_most_2_bounds_exceed_what_is_stated():
    plan = make_plan(
        privacy={"noise_multiplier": 1.0, "population": 12, "min_survivors": 8, "steps_per_clip": 4096},
        bits=BitsPlan(1_000_000, 28, 2),
    )
    random, delta = np.random.default_rng(3), plan.privacy.delta
    once = rdp.gaussian_epsilon(1.0, delta)
    exceeded, bounds = 0, 0
    views = views_of(plan)
    for seed in range(full(10)):
        sums = made_up(plan, random)
        canaries = canaries_in(sums, plan.privacy, seed, once, delta)
        noise = noise_in(sums, plan.privacy, rdp.gaussian_epsilon(2.0, delta), once, delta)
        exceeded += canaries.breaks + noise.breaks + noise.repeats
        exceeded += sum(tried(view, 2000, delta).breaks for view in views)
        bounds += 3 + len(views)
        assert noise.at_most < 1.3, "and it is no idle bound"
    assert bounds == 6 * full(10) and exceeded <= 2


def test_the_noise_of_made_up_runs_is_bounded_as_often_as_stated():
    """Gaussian rounds whose devices do nothing: the bound is as tight as it can be, and below the truth in one of 1,000."""
    privacy = make_plan(privacy={"noise_multiplier": 1.0, "steps_per_clip": 4096}).privacy
    random, n = np.random.default_rng(4), full(200)
    found = []
    for _ in range(n):
        sums = np.round(random.normal(size=(1, 300)) * privacy.steps_per_clip).astype(np.int64)
        found.append(noise_in(sums, privacy, 1.0, 1.0, 1e-5))
    assert np.mean([one.breaks for one in found]) <= 1 - CONFIDENCE + 4 * math.sqrt((1 - CONFIDENCE) / n)
    assert all(one.nearest is one.fresh_at_most is None and not one.repeats for one in found)
    assert np.median([one.at_most for one in found]) == pytest.approx(1.13, abs=0.03)


def test_sums_are_worked_back_from_iterates():
    plan = make_plan(privacy={"steps_per_clip": 4096})
    random, settings = np.random.default_rng(5), ServerSettings(1.7, 0.8, 0.5)
    start = random.normal(size=30).astype(np.float32)
    sums, optimizer = random.integers(-(2**20), 2**20, (7, 30)), ServerOptimizer(start, settings)
    for one in sums:
        optimizer.step(one * plan.privacy.grid_step / plan.privacy.expected_cohort)
    iterates = optimizer.to_arrays()["iterates"]
    assert np.array_equal(sums_of(start, iterates, settings, plan.privacy), sums)
    assert sums_of(start, np.empty((0, 30)), settings, plan.privacy).shape == (0, 30)
    with pytest.raises(ConfigError, match="another optimiser, or damaged"):
        sums_of(start, iterates, ServerSettings(1.7, 0.7, 0.5), plan.privacy)


def test_a_run_s_sums_carry_the_noise_of_those_who_took_part(honest):
    run, setup, _ = honest
    sums = opened_sums(run, setup)
    assert sums.shape == (ROUNDS, setup.plan.network.n_parameters)
    steps, most = setup.plan.privacy.steps_per_clip, setup.plan.privacy.expected_cohort / setup.plan.privacy.honest
    spread = (sums[1:] - expected(sums)[1:]).std() / steps
    assert NOISE < spread < NOISE * math.sqrt(2 * most) + 1


def test_canaries_find_more_the_less_noise_there_is():
    few, many = (
        power_of_canaries(4, 400, sigma, rdp.gaussian_epsilon(1 / sigma, 1e-5), 1e-5) for sigma in (200.0, 3.0)
    )
    assert few < 0.2 < 0.8 < many
