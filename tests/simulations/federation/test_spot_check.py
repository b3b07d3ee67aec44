"""A run on hosts has a result only if the real protocol gives the sums that it gave."""

import json
from dataclasses import replace

import numpy as np
import pytest

from server.app import run
from shared.errors import RunError
from shared.plan import SumPlan
from simulations import run as simulations_run
from simulations.federation.equivalence import scenario_without_noise, some_people
from simulations.federation.in_process import LocalHost
from simulations.federation.run_folder import RunFolder
from simulations.federation.run_settings import run_settings
from simulations.federation.sums import spot_check
from simulations.federation.sums.spot_check import CHECKED_DEVICES, IDEAL, check, expect_equal_sums, read_check
from simulations.people.setup import Setup
from simulations.report.report import render
from simulations.report.summary import result_rows
from tests.world.basics import make_plan
from tests.world.run_results import changed, make_results

SEATS = SumPlan(0, 12, 12, 7, 9)
HOLDERS = {
    "2 helpers": SumPlan(2),
    "3 helpers": SumPlan(3),
    "5 helpers": SumPlan(5),
    "12 device seats": SEATS,
    "12 device seats and 1 helper": replace(SEATS, helpers=1),
    "12 device seats and 3 helpers": replace(SEATS, helpers=3),
}


def vectors_of(n_devices: int, n_values: int) -> np.ndarray:
    drawn = np.random.default_rng(5).integers(-2000, 2000, (n_devices, n_values))
    return drawn.astype(np.int32).view(np.uint32)


@pytest.fixture
def off_by_one(monkeypatch):
    """A device whose shares are those of another vector: the sum is not the plain one."""
    real = spot_check.contribute

    def other(header, leaf, identity, values):
        return real(header, leaf, identity, values + (np.arange(len(values)) == 0))

    monkeypatch.setattr(spot_check, "contribute", other)


@pytest.mark.parametrize("held_by", HOLDERS)
def test_the_real_protocol_gives_the_plain_sum(held_by):
    plan = replace(make_plan(), sum=HOLDERS[held_by])
    for kind in plan.updates:
        assert expect_equal_sums(plan, kind, vectors_of(9, kind.n_values)) == held_by


@pytest.mark.parametrize("held_by", ["3 helpers", "12 device seats and 1 helper"])
def test_another_sum_is_an_error_that_is_written_down(tmp_path, off_by_one, held_by):
    plan, file = replace(make_plan(), sum=HOLDERS[held_by]), tmp_path / "sum.json"
    kind = plan.updates[0]
    with pytest.raises(RunError, match="the real protocol's sum to equal the ideal sum"):
        check(plan, kind, vectors_of(4, kind.n_values), file)
    with pytest.raises(RunError, match="the real protocol's sum to equal the ideal sum"):
        read_check(file)


def test_a_vector_that_the_protocol_refuses_is_an_error_by_name():
    plan = replace(make_plan(), sum=SumPlan(2))
    with pytest.raises(RunError, match="but it refused: .*values"):
        expect_equal_sums(plan, plan.updates[0], vectors_of(4, 3))


def test_at_most_so_many_go_through_it_and_a_missing_or_torn_check_is_an_error(tmp_path):
    plan, file = replace(make_plan(), sum=SumPlan(2)), tmp_path / "sum.json"
    check(plan, plan.updates[0], vectors_of(CHECKED_DEVICES + 1, plan.updates[0].n_values), file)
    assert (
        read_check(file)
        == f"{CHECKED_DEVICES} of the devices went through the real one, over 2 helpers, with the same sum"
    )
    for torn in (b"", b"[]", b"{}"):
        file.write_bytes(torn)
        with pytest.raises(RunError, match="sum.json, a check of ideal sums"):
            read_check(file)
    with pytest.raises(RunError, match="none.json, a check of ideal sums"):
        read_check(tmp_path / "none.json")


@pytest.fixture
def hosted(tmp_path):
    """A run on one host in this process, before its first round."""
    scenario = scenario_without_noise(
        "privacy.rounds=2", 'simulation.fidelity="hosts"', "simulation.query_every_steps=60", "data.users=50"
    )
    people, folder = some_people(), RunFolder(tmp_path / "run")
    setup = Setup.of(scenario, people)
    folder.prepare(setup, people)
    folder.write_public(setup)
    return folder, setup


def test_one_sum_of_a_run_is_tried_and_its_results_say_so(hosted, monkeypatch):
    folder, setup = hosted
    tried = []
    real = spot_check.expect_equal_sums
    monkeypatch.setattr(spot_check, "expect_equal_sums", lambda *of: tried.append(len(of[2])) or real(*of))
    settings = run_settings(setup, folder)
    run(LocalHost(folder), settings, settings.schedule.clock())
    assert tried == [50], "once a run, of vectors of all devices that there are"
    said = "50 of the devices went through the real one, over 3 helpers, with the same sum"
    folder.server.keep_traffic({"received": {"update": 100}})  # as hosts behind Flower count it
    assert simulations_run.sum_words(folder, setup) == f"{IDEAL}; update: {said}"
    folder.sum_check_file("update").unlink()
    with pytest.raises(RunError, match="sum-update.json, a check of ideal sums"):
        simulations_run.sum_words(folder, setup)


def test_a_host_whose_vectors_come_to_something_else_has_no_sum_and_the_run_no_result(hosted, off_by_one):
    folder, setup = hosted
    settings = run_settings(setup, folder)
    with pytest.raises(RunError, match="the real protocol's sum to equal the ideal sum"):
        run(LocalHost(folder), settings, settings.schedule.clock())
    assert "failed" in json.loads(folder.sum_check_file("update").read_text())
    assert not folder.server.has_models()


def test_report_and_console_of_hosts_say_that_the_sum_is_ideal():
    said = f"{IDEAL}; update: 50 of the devices went through the real one, over 3 helpers, with the same sum"
    results = changed(make_results(), {"fidelity": "hosts", "sum": said})
    assert ("rounds are added up by", said) in result_rows(results)
    assert said in render(results)
