"""A hosted run's training without noise is that of its own rows, draws and clip, made again from its folder."""

import math
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from simulations.baselines.interest_models import BARE, NO_NOISE
from simulations.evaluation import noiseless_rerun
from simulations.evaluation.evaluate import evaluate
from simulations.evaluation.noiseless_rerun import theta_without_noise
from simulations.federation.equivalence import run_hosted, scenario_without_noise, some_people
from simulations.federation.metering import CpuTimes, cpu_numbers
from simulations.federation.run_folder import RunFolder
from simulations.people.setup import Setup
from tests.world.dump_run import leave_dump
from tests.world.hosted import on_two_hosts

SERVER = ("server.learning_rate=2.0", "server.momentum=0.9", "server.tail=0.5", "risk.rounds=0")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A run of two hosts that had no noise; its folder, its plan with noise, and what it learned."""
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    settings = run_hosted(folder, some_people(), scenario_without_noise(*SERVER), on_two_hosts)
    privacy = replace(settings.plan.privacy, noise_multiplier=0.05, max_epsilon=math.inf)
    return folder, replace(settings.plan, privacy=privacy), folder.server.models()


def test_it_ends_where_the_run_without_noise_ended(ran):
    folder, plan, models = ran
    found = theta_without_noise(folder, plan, models[0])
    assert np.abs(models[-1] - models[0]).max() > 0.01
    np.testing.assert_allclose(found, models[-1], rtol=0, atol=1e-6)


def test_there_is_none_where_it_would_be_another_training_or_take_long(ran, tmp_path, monkeypatch):
    folder, plan, models = ran
    for changed in ({"noise_multiplier": 0.0}, {"sampling_rate": 0.5, "min_survivors": 20}):
        other = replace(plan, privacy=replace(plan.privacy, **changed))
        assert theta_without_noise(folder, other, models[0]) is None
    assert theta_without_noise(RunFolder(tmp_path), plan, models[0]) is None, "no hosts"
    monkeypatch.setattr(noiseless_rerun, "MOST_UPDATES", 149)
    assert theta_without_noise(folder, plan, models[0]) is None, "50 devices, three rounds"


def test_cpu_time_of_every_message_to_a_host_is_written_down(ran):
    folder, _, _ = ran
    lines = [(folder.cpu / f"{host}.txt").read_text().split() for host in (0, 1)]
    for words in lines:
        assert words[::2].count("train") == 3 and {"query.model", "query.alerts"} <= set(words[::2])
    trained = [float(s) for words in lines for kind, s in zip(words[::2], words[1::2], strict=True) if kind == "train"]
    every = [float(s) for words in lines for s in words[1::2]]
    found = cpu_numbers(folder, updates=150, n_devices=50)
    assert found.round_ms == pytest.approx(1000 * sum(trained) / 150) and found.round_ms > 0
    assert found.s_per_device == pytest.approx(sum(every) / 50) and sum(every) > sum(trained)


def test_cpu_time_of_devices_of_their_own_is_written_down(tmp_path, made_once):
    runs = made_once("fifty-devices", partial(leave_dump, "devices"))
    run = RunFolder(tmp_path)
    shutil.copytree(RunFolder(runs / "quiet").cpu, run.cpu)
    assert len(list(run.cpu.glob("*.txt"))) == 50
    with (run.cpu / "7.txt").open("a") as file:
        file.write("train")  # a worker that was killed in between
    found = cpu_numbers(RunFolder(tmp_path), updates=150, n_devices=50)
    assert 0 < found.round_ms / 1000 < found.s_per_device


def test_nothing_is_known_of_a_run_that_wrote_nothing(tmp_path):
    assert cpu_numbers(RunFolder(tmp_path), updates=3, n_devices=2) == CpuTimes(round_ms=None, s_per_device=None)


def test_it_is_a_row_of_the_run_s_table_beside_pooled_models(tmp_path, monkeypatch):
    run, people = RunFolder(tmp_path), some_people()
    loud = scenario_without_noise("privacy.noise_multiplier=1.0", "privacy.steps_per_clip=4096", *SERVER)
    run_hosted(run, people, loud)
    for name in ("fitted_models", "lapse_scores", "takeoff_scores"):
        monkeypatch.setattr(f"simulations.evaluation.beforehand.{name}", lambda *_, **__: {})
    for name in ("lapse_quality", "rise_quality"):
        monkeypatch.setattr(f"simulations.evaluation.evaluate.{name}", lambda *_, **__: None)
    tables = {
        with_models: evaluate(run, Setup.of(loud, people), people, every_model=with_models)
        for with_models in (True, False)
    }
    assert [row.kind for row in tables[True].baselines if row.name == NO_NOISE] == [BARE]
    assert NO_NOISE not in {row.name for row in tables[False].baselines}, "a minute's work, with the models only"
    assert tables[True].commit.startswith("unknown"), "this run was not made through Flower, which stamps it"
    assert tables[True].cpu.s_per_device is None
