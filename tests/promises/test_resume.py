"""kill -9 at any moment: the run that goes on ends, what was spent stays spent, and no round makes noise twice."""

from __future__ import annotations

import json
import multiprocessing
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import psutil
import pytest

from server.app import run
from server.heads import CROWD, CURVATURE, HEADS
from server.state import INTEREST, PARTS, RISK
from simulations.cli import main as cli
from simulations.federation.flower_runtime import processes_of
from simulations.federation.host_training import COMMITMENTS_FILE, commitments
from simulations.federation.in_process import LocalHost
from simulations.federation.run_folder import RunFolder
from simulations.federation.run_settings import run_settings
from simulations.people.of_scenario import population_of
from simulations.people.setup import Setup
from simulations.scenarios.config import load_scenario
from tests.world.basics import SOAK

pytestmark = pytest.mark.slow

#: Trials in one process, and through Flower.
TRIALS, FLOWER_TRIALS = (50, 20) if SOAK else (2, 1)
#: Kills in one trial, at random moments; if none of them fell into a round, the last one waits for one.
KILLS = 20 if SOAK else 2
ROUNDS, RISK_ROUNDS = 40, 10
P_BEFORE_HEADS, HEAD_ROUNDS = 10, 40
#: Everybody in every round, loud noise on a coarse grid and few queries: a run is rounds, and its epsilon quickly told.
OVERRIDES = [
    "data.users=30",
    f"privacy.rounds={ROUNDS}",
    "privacy.sampling_rate=1.0",
    "simulation.dropout=0.0",
    "caps.table=none",
    "privacy.noise_multiplier=16.0",
    "privacy.steps_per_clip=256",
    f"risk.rounds={RISK_ROUNDS}",
    "risk.noise_multiplier=16.0",
    "risk.public_users=20",
    "simulation.query_every_steps=60",
    "bits.every_steps=0",
    "evaluation.every_steps=0",
    "counts.every_steps=0",
]


#: The same with heads in the place of phi.
HEADS_TOO = [
    *OVERRIDES,
    f"privacy.rounds={P_BEFORE_HEADS}",
    "risk.rounds=0",
    "warm_start.users=30",
    "warm_start.epochs=1",
    f"heads.rounds={HEAD_ROUNDS}",
    "heads.crowd_noise_multiplier=16.0",
    "heads.curvature_noise_multiplier=16.0",
    "heads.noise_multiplier=16.0",
    "heads.epochs=1",
    "detection.detector=risk",
    "detection.takeoff_line=0.25",
]


def begin_or_go_on(folder: Path, overrides: Sequence[str] = OVERRIDES) -> None:
    """One process of a run: the server and a host. The first one prepares the folder."""
    own, scenario = RunFolder(folder), load_scenario("demo", overrides)
    people = population_of(scenario)
    if own.begun:
        own.expect_same_run(scenario)
        setup = own.setup(scenario, people)
    else:
        setup = Setup.of(scenario, people)
        own.prepare(setup, people)
    own.write_public(setup)
    settings = run_settings(setup, own)
    run(LocalHost(own), settings, settings.schedule.clock())


@dataclass(frozen=True)
class Left:
    """What a run has on disk: (round, noise key) as they were committed, rounds that were charged, rounds that ended."""

    keys: list[tuple[int, str]]
    charged: int
    ended: int

    @classmethod
    def by(cls, folder: Path) -> Left:
        own = RunFolder(folder)
        committed, server = own.host(0).path / COMMITMENTS_FILE, own.server_path
        keys = commitments(committed.parent)
        charged = 0
        if (file := server / "charges.db").exists():
            with suppress(sqlite3.OperationalError), closing(sqlite3.connect(file)) as charges:  # no table yet
                charged = charges.execute("SELECT count(*) FROM charged_rounds").fetchone()[0]
        parts = [name for name in PARTS if (server / f"{name}.npz").exists()]
        ended = sum(len(own.server.models(name)) - 1 for name in parts)
        return cls(keys, charged, ended)

    @property
    def interrupted(self) -> int:
        """Rounds that were paid for and did not end."""
        return self.charged - self.ended

    def expect_after(self, earlier: Left) -> None:
        """Nothing that was there before is gone, and no round has two keys."""
        assert self.keys[: len(earlier.keys)] == earlier.keys, "committed keys are gone: the run began anew"
        rounds = [number for number, _ in self.keys]
        assert len(set(rounds)) == len(rounds), "a round made noise twice"
        assert len({key for _, key in self.keys}) == len(self.keys), "two rounds on one key"
        assert self.charged >= earlier.charged and self.ended >= earlier.ended
        assert self.ended <= len(self.keys) <= self.charged, "noise that nobody paid for"


def ebbtide(*arguments: str) -> None:
    sys.argv = ["ebbtide", *arguments]
    cli.main()


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])


def start(do: Callable[..., None], *arguments: object) -> ForkServerProcess:
    """A process of its own that has the imports behind it."""
    process = FORKS.Process(target=do, args=arguments)
    process.start()
    return process


def finish(folder: Path, overrides: Sequence[str] = OVERRIDES) -> dict:
    process = start(begin_or_go_on, folder, overrides)
    process.join(240)
    assert process.exitcode == 0
    return json.loads(RunFolder(folder).server.account_file.read_text())


def meet_a_round(process: ForkServerProcess, folder: Path, left: Left) -> None:
    """Returns with the process stopped between the charge of a round and its end, or ended. Stopped, it can be looked at: a round
    that is over by then is let go, and the next one waited for."""
    watched = psutil.Process(process.pid)
    with suppress(psutil.NoSuchProcess):
        while process.is_alive():
            watched.suspend()
            if Left.by(folder).interrupted > left.interrupted:
                return
            watched.resume()
            process.join(0.01)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The account of a run that nobody killed, and how long it took."""
    start(str).join()
    folder = tmp_path_factory.mktemp("whole") / "run"
    began_s = time.monotonic()
    account = finish(folder)
    return account, time.monotonic() - began_s


@pytest.mark.parametrize("trial", range(TRIALS))
def test_killed_at_random_moments_a_run_still_ends_and_spends_no_less(tmp_path, uninterrupted, trial):
    whole, seconds = uninterrupted
    folder, chance = tmp_path / "run", random.Random(trial)
    left, kills, in_a_round = Left([], 0, 0), 0, 0
    while kills < KILLS:
        process = start(begin_or_go_on, folder)
        if kills == KILLS - 1 and not in_a_round:
            meet_a_round(process, folder, left)
        else:
            process.join(chance.uniform(0, 0.3 * seconds))
        process.kill()
        process.join()
        now = Left.by(folder)
        now.expect_after(left)
        in_a_round += now.interrupted > left.interrupted
        kills, left = kills + 1, now
    account = finish(folder)
    Left.by(folder).expect_after(left)
    assert in_a_round, "no kill fell into a round"
    assert [line["times"] for line in account["lines"]] == [ROUNDS, RISK_ROUNDS]
    assert account["epsilon_to_public"] >= whole["epsilon_to_public"]
    server = RunFolder(folder).server
    for part in (INTEREST, RISK):
        assert np.isfinite(server.models(part)).all()


def test_killed_while_heads_are_learned_a_run_still_ends_and_spends_no_less(tmp_path):
    """Each kill falls into a round, of p, of the crowd, of curvature or of the heads."""
    folder, left = tmp_path / "run", Left([], 0, 0)
    for after in (P_BEFORE_HEADS - 1, P_BEFORE_HEADS + 3, P_BEFORE_HEADS + 8)[: max(KILLS, 3)]:
        process = start(begin_or_go_on, folder, HEADS_TOO)
        while process.is_alive() and Left.by(folder).ended < after:
            process.join(0.01)
        meet_a_round(process, folder, left)
        process.kill()
        process.join()
        now = Left.by(folder)
        now.expect_after(left)
        assert now.interrupted > left.interrupted, "it fell into no round"
        left = now
    account = finish(folder, HEADS_TOO)
    Left.by(folder).expect_after(left)
    times = [line["times"] for line in account["lines"]]
    assert times[:3] == [P_BEFORE_HEADS, 1, 1]
    server = RunFolder(folder).server
    learned = server.has_models(CURVATURE) and server.models(CURVATURE)[-1].any()
    assert times[3] == (HEAD_ROUNDS if learned else 0)
    for part in (INTEREST, CROWD, *([HEADS] if learned else [])):
        assert np.isfinite(server.models(part)).all()
    assert account["stopped"] is None


@pytest.mark.timeout(600)  # Flower starts twice: slow on a busy machine
@pytest.mark.parametrize("trial", range(FLOWER_TRIALS))
def test_a_run_through_flower_whose_processes_were_killed_goes_on(tmp_path, trial):
    """The first trial kills all of them in the middle of training. Others kill the command alone, or all, at any moment."""
    folder, home = tmp_path / "run", RunFolder(tmp_path / "run").flower
    overrides = [*OVERRIDES, "risk.rounds=0", 'simulation.fidelity="hosts"', "simulation.hosts=1"]
    command = ["simulate", "demo", "--out", str(folder), *(part for each in overrides for part in ("--set", each))]
    ours = start(ebbtide, *command)
    try:
        if trial:
            ours.join(random.Random(trial).uniform(0, 40))
        while not trial and Left.by(folder).ended < 3:
            assert ours.is_alive()
            time.sleep(0.1)
    finally:
        ours.kill()
        for process in processes_of(home) if trial % 2 == 0 else ():
            with suppress(psutil.Error):
                process.kill()
    ours.join()
    while not trial and processes_of(home):
        time.sleep(0.05)
    own = RunFolder(folder)
    if own.has_ended:
        return
    left, moved = Left.by(folder) if own.begun else Left([], 0, 0), {} if trial else own.server.traffic()
    assert trial or left.charged < ROUNDS, "killed in the middle of training"
    again = start(ebbtide, *command, *(["--resume"] if own.begun else []))
    again.join()
    assert again.exitcode == 0
    assert processes_of(home) == []
    now = Left.by(folder)
    now.expect_after(left)
    assert now.charged == ROUNDS
    if trial:
        return
    assert now.interrupted == left.interrupted
    results = json.loads(RunFolder(folder).results_file.read_text())
    assert results["privacy"]["rounds_charged"] == ROUNDS
    sent = results["traffic"]["by_message"]["train_request"]["messages"]
    assert sent == 30 * now.ended > moved["sent"]["train_request"], "both processes' messages"
