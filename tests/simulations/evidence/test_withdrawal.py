"""What withdrawing comes to: who is left out moves p, noise moves it more, a device is silent at once; and it comes out again."""

import json
from pathlib import Path

import numpy as np
import pytest

from client.vault.consent import Consent
from client.vault.erasure import MARKER
from server.app import log_of, run
from server.channel import Channel, Traffic
from server.device_nodes import DeviceNodes
from server.inbox import Inbox
from server.signing import Signer, signing_key
from server.state import ServerFolder
from shared.errors import ConfigError, RefusalCode
from simulations.evidence import verifier, withdrawal
from simulations.evidence.case import WITHDRAWAL, Case
from simulations.evidence.tables.withdrawal import STAYS, withdrawal_tables
from simulations.evidence.withdrawal import canonical, measure, recompute, write
from simulations.evidence.withdrawing.joined import rounds_joined
from simulations.evidence.withdrawing.left_out import (
    FEWEST_PEOPLE,
    MOST_PEOPLE,
    NOISE_PAIRS,
    EverybodyBut,
    drawn_people,
    influence,
)
from simulations.evidence.withdrawing.opt_out import silences
from simulations.federation.equivalence import run_devices, scenario_without_noise
from simulations.federation.in_process import LocalHost
from simulations.federation.run_folder import RunFolder
from simulations.federation.run_settings import run_settings
from simulations.people.planted import plant
from simulations.people.setup import Setup
from simulations.scenarios.config import load_scenario
from simulations.search.trials import Trials
from tests.world.basics import event_stream, make_plan, make_profile, open_device, ready
from tests.world.fake_grid import SIGNER, FakeGrid, device_node

N_USERS, ROUNDS, SEED = 24, 3, 5
SCENARIO = [
    "simulation.fidelity=hosts", "simulation.hosts=2", f"data.users={N_USERS}", "simulation.query_every_steps=28",
    f"privacy.rounds={ROUNDS}", "caps.table=none", "privacy.max_epsilon=inf", "risk.rounds=2", "data.held_out_share=0.25",
    "simulation.dropout=0.0", "privacy.noise_multiplier=1.0",
]  # fmt: skip


@pytest.fixture(scope="module")
def people():
    return plant(N_USERS, 182, seed=1)


@pytest.fixture(scope="module")
def ended(tmp_path_factory, people) -> RunFolder:
    """A run that has ended, with what withdrawing from it comes to."""
    folder = RunFolder(tmp_path_factory.mktemp("run") / "run")
    setup = Setup.of(load_scenario("demo", SCENARIO), people)
    folder.prepare(setup, people)
    folder.write_public(setup)
    settings = run_settings(setup, folder)
    clock, log = settings.schedule.clock(), log_of(settings)
    Signer(signing_key(settings.key_file), clock, log)
    run(LocalHost(folder), settings, clock, log=log)
    folder.results_file.write_text('{"commit": "0123456"}')
    write(folder, SEED)
    return folder


@pytest.fixture(scope="module")
def told(ended):
    return json.loads((ended.path / WITHDRAWAL).read_bytes())


# ---- influence


def test_who_is_left_out_moves_p_and_who_has_no_rows_does_not(tmp_path, people):
    """The neighbours of the statement: a null contribution, from a device that takes part."""
    scenario = load_scenario("demo", [*SCENARIO, "privacy.noise_multiplier=0.0", "risk.rounds=0"])
    trials = Trials(people, tmp_path)
    setup, away = trials.setup(scenario), trials.held_out(scenario)

    def theta(without):
        return trials.train(setup, host=lambda *of: EverybodyBut(*of, seed=SEED, without=without)).theta

    whole = theta(None)
    assert np.array_equal(theta(None), whole), "nothing is left to chance"
    assert np.array_equal(theta(int(np.flatnonzero(away)[0])), whole)
    assert not np.array_equal(theta(int(np.flatnonzero(~away)[0])), whole)


def test_a_sum_without_one_is_the_sum_less_that_one_s_vector(tmp_path, people):
    scenario = load_scenario("demo", [*SCENARIO, "privacy.noise_multiplier=0.0"])
    setup = Setup.of(scenario, people)
    asked = []

    class Watched(EverybodyBut):
        def collect(self, cohort, plan, request, kind):
            asked.append((self, plan, request, kind))
            return super().collect(cohort, plan, request, kind)

    Trials(people, tmp_path).train(setup, host=lambda *of: Watched(*of, seed=SEED, without=4))
    host, plan, request, kind = asked[0]
    without, n = EverybodyBut.collect(host, range(N_USERS), plan, request, kind)
    alone, _ = EverybodyBut.collect(host, [2], plan, request, kind)
    fewer, _ = EverybodyBut.collect(host, [k for k in range(N_USERS) if k != 2], plan, request, kind)
    assert n == N_USERS - 1 and np.array_equal(fewer + alone, without)


def test_cohorts_that_a_plan_samples_are_drawn_alike_and_otherwise_under_another_seed(tmp_path):
    def cohorts(seed):
        host = EverybodyBut({}, 200, tmp_path, seed=seed)
        return [list(host.sample(0.5)) for _ in range(3)]

    assert cohorts(1) == cohorts(1) != cohorts(2)
    assert len({tuple(cohort) for cohort in cohorts(1)}) == 3


def test_who_is_left_out_follows_from_the_seed_trains_and_is_as_many_as_the_time_allows():
    scenario = load_scenario("demo", SCENARIO)
    drawn = drawn_people(scenario, 300, 12, SEED)
    assert len(set(drawn.tolist())) == len(drawn) == MOST_PEOPLE
    assert np.array_equal(drawn, drawn_people(scenario, 300, 12, SEED))
    assert not np.array_equal(drawn, drawn_people(scenario, 300, 12, SEED + 1))
    assert len(drawn_people(scenario, 12_500, 12, SEED)) == 10 and len(drawn_people(scenario, 10**6, 60, SEED)) == 0


def test_too_few_people_are_no_figure(people):
    few = people.take(np.arange(2 * FEWEST_PEOPLE - 1))
    assert influence(few, load_scenario("demo", SCENARIO), ROUNDS, SEED) is None


# ---- silence


@pytest.mark.slow
def test_a_device_answers_until_its_user_says_no_and_nothing_after_that(people):
    found = {one.how: one for one in silences(load_scenario("demo", SCENARIO), people)}
    assert list(found) == ["pause", "consent to bits", "consent to evaluation", "consent to alert_counts", "forget"]
    for one in found.values():
        assert (one.answered_before, one.asked_after, one.answered_after) == (1, 4, 0) and one.seconds > 0
    refused = {how: set(one.said) for how, one in found.items()}
    assert refused.pop("pause") == {"refusal: paused"}
    assert found["forget"].said == ("deletion", *["refusal: forgotten"] * 3) and found["forget"].left == (MARKER,)
    refused.pop("forget")
    assert set(map(frozenset, refused.values())) == {frozenset({f"refusal: {RefusalCode.CONSENT.name.lower()}"})}


def test_what_was_told_stays_with_the_server_when_its_device_is_gone(tmp_path):
    detection = {"detector": "rate", "rate_threshold": 0.01, "quiet_steps": 0, "min_active_steps": 1}
    device = ready(open_device(tmp_path / "phone", make_profile(Consent.IDENTIFIED)), make_plan(detection=detection))
    assert device.catch_up(event_stream(np.random.default_rng(1), 30, 0.3), 30)
    nodes, inbox = (
        DeviceNodes(Channel(FakeGrid({7: device_node(7, device)}), Traffic(), SIGNER), [7]),
        Inbox(ServerFolder(tmp_path / "server").inbox_file),
    )

    def asked(step):
        for node, reply in nodes.ask("alerts_query", {"audience": "", "step": step}):
            inbox.add(node, reply["alerts"])
        return inbox.count()

    before = asked(28)
    assert before and device.forget()
    assert (
        asked(29) == before == Inbox(ServerFolder(tmp_path / "server").inbox_file).count()
        and nodes.traffic.received["deletion"] == 1
    )


# ---- rounds that were joined


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.mark.slow
def test_rounds_that_were_joined_are_those_of_the_journals(tmp_path):
    people, scenario = plant(6, 182, seed=1), scenario_without_noise()
    folder = RunFolder(tmp_path / "run")
    settings = run_devices(folder, people, scenario)
    before = contents(folder.devices)
    assert rounds_joined(folder, settings.plan, np.arange(6)) == {"update": float(settings.plan.privacy.rounds)}
    assert contents(folder.devices) == before, "who looks changes nothing"


# ---- the file


@pytest.mark.slow
def test_the_file_says_aggregates_and_what_they_rest_on_and_the_log_vouches_for_it(ended, told):
    assert (ended.path / WITHDRAWAL).read_bytes() == canonical(told)
    assert set(told) == {"format", "seed", "rounds", "influence", "joined", "opt_out"}
    assert told["seed"] == SEED and told["rounds"] == ROUNDS
    found = told["influence"]
    assert set(found) == {"people", "rows", "without_one", "noise"} and found["people"] == N_USERS // 2
    assert 0 < found["without_one"]["median"] < found["noise"]["median"], "noise hides one person"
    assert len(found["noise"]["pairs"]) == NOISE_PAIRS
    assert told["joined"]["update"] == {"planned": ROUNDS, "median": float(ROUNDS)}
    assert verifier.check(ended.path) == []
    (ended.path / WITHDRAWAL).write_bytes(canonical(told) + b" ")
    assert verifier.check(ended.path) == [f"{WITHDRAWAL} is not what the log says it is"]
    (ended.path / WITHDRAWAL).write_bytes(canonical(told))


def _leaves(document, at=()):
    if isinstance(document, dict | list):
        items = document.items() if isinstance(document, dict) else enumerate(document)
        return [leaf for key, value in items for leaf in _leaves(value, (*at, key))]
    return [at]


def _changed(value):
    if isinstance(value, str):
        return value + "x"
    return -1.0 if isinstance(value, float) else value + 1


@pytest.mark.slow
def test_what_is_changed_does_not_come_out_again(ended, told, monkeypatch):
    """Every leaf, one after the other; measured once more, for all of them."""
    again = measure(ended, SEED)
    monkeypatch.setattr(withdrawal, "measure", lambda *_: again)
    file = ended.path / WITHDRAWAL
    try:
        assert recompute(ended.path) == []
        for path in _leaves(told):
            copy = json.loads(canonical(told))
            inner = copy
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = _changed(inner[path[-1]])
            file.write_bytes(canonical(copy))
            found = recompute(ended.path)
            assert found and WITHDRAWAL in found[0], path
        quieter = json.loads(canonical(told))
        for one in (quieter["influence"]["noise"], *quieter["influence"]["noise"]["pairs"]):
            one["median"] /= 100
        file.write_bytes(canonical(quieter))
        assert "further away than chance has it" in recompute(ended.path)[0]
        for data in (b"", b"{}", b"[]", canonical(told) + b"\n", b'{"seed":"x"}'):
            file.write_bytes(data)
            assert len(recompute(ended.path)) == 1
    finally:
        file.write_bytes(canonical(told))


def test_a_folder_without_it_has_nothing_to_come_out_again_and_one_without_a_run_cannot_be_measured(tmp_path):
    assert recompute(tmp_path) == []
    with pytest.raises(ConfigError, match="a run that has ended"):
        measure(RunFolder(tmp_path))
    (tmp_path / WITHDRAWAL).write_bytes(canonical({"seed": SEED}))
    assert "a run that has ended" in recompute(tmp_path)[0]


# ---- the fields


def fields_of(case: Case):
    (table,) = withdrawal_tables(case)
    return {field.name: field for field in table.fields}


@pytest.mark.slow
def test_every_field_is_told_with_its_source_or_missing(ended, told):
    fields = fields_of(Case.of(ended.path))
    assert all(field.state == "measured" for field in fields.values())
    assert fields["withdrawal.moved_by_one"].value == told["influence"]["without_one"]
    assert f"{told['influence']['without_one']['median']:.2g} (median" in fields["withdrawal.sentence"].value
    assert fields["withdrawal.silence[forget]"].value["answered_after"] == 0
    assert {row for row in STAYS} == {field.row for field in fields.values() if field.key == "withdrawal.stays"}
    (ended.path / WITHDRAWAL).rename(ended.path / "elsewhere")
    try:
        fields = fields_of(Case.of(ended.path))
    finally:
        (ended.path / "elsewhere").rename(ended.path / WITHDRAWAL)
    assert (
        fields["withdrawal.sentence"].state == "missing"
        and "simulations.evidence.withdrawal" in fields["withdrawal.sentence"].why
    )


@pytest.mark.parametrize("row", STAYS)
def test_what_stays_names_code_and_tests_that_are_there(row):
    root = Path(__file__).parents[3]
    _, files, tests = STAYS[row]
    assert all((root / file).is_file() for file in files) and tests
    for test in tests:
        file, _, name = test.partition("::")
        assert not name or f"def {name}(" in (root / file).read_text(encoding="utf-8")
