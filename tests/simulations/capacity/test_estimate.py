"""What a run is said to take: linear in its devices, never less for more, as measured; and told before anything is done."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError
from simulations.capacity.estimate import LONG_S, TOLERANCE, Estimate, Work
from simulations.capacity.words import Room, announced
from simulations.federation import checks
from simulations.people.of_scenario import to_plant
from simulations.people.setup import Setup
from simulations.published.capacity.measure import Case
from simulations.report.figures_json import read
from simulations.run import simulate
from simulations.scenarios.config import load_scenario
from tests.promises.test_stopping import begin, stop
from tests.world.basics import examples

WORKS = st.builds(
    Work,
    fidelity=st.sampled_from(["devices", "hosts"]),
    devices=st.integers(1, 10_000_000),
    categories=st.integers(1, 500),
    steps=st.integers(1, 4000),
    rounds=st.integers(1, 1000),
    down_bytes=st.floats(0, 1e9),
    up_bytes=st.floats(0, 1e9),
)
ENDLESS = Room(float("inf"), float("inf"))
#: So few devices are a long run, whatever the constants come to.
LONG = next(
    n for n in range(1000, 1_000_000, 1000) if Estimate.of(Work("hosts", n, 12, 182, 18)).seconds > 1.1 * LONG_S
)


def setup_of(name: str, users: int) -> Setup:
    scenario = load_scenario(name, [f"data.users={users}"])
    return Setup.of(scenario, to_plant(scenario))


@examples(50)
@given(WORKS, st.integers(1, 1_000_000))
def test_of_very_many_every_further_device_costs_the_same(work, more):
    """More than figures look at, or than rows are written out of."""
    first = 1_000_000
    none, some, all_of_them = (
        vars(Estimate.of(replace(work, devices=n))) for n in (first, first + work.devices, first + work.devices + more)
    )
    for name, fixed in none.items():
        each = (some[name] - fixed) / work.devices
        assert all_of_them[name] >= some[name] >= fixed
        if work.categories * work.steps > 100:
            assert all_of_them[name] == pytest.approx(fixed + each * (work.devices + more), rel=1e-6)


@examples(50)
@given(WORKS, st.sampled_from(["devices", "categories", "steps", "rounds", "down_bytes", "up_bytes"]))
def test_more_of_anything_never_takes_less(work, what):
    less, more = Estimate.of(work), Estimate.of(replace(work, **{what: 2 * getattr(work, what)}))
    assert all(value <= getattr(more, name) for name, value in vars(less).items())


MEASURED = sorted(key.removeprefix("capacity.minutes_") for key in read() if key.startswith("capacity.minutes_"))
MEASURED += ["million"] if "million.minutes" in read() else []


@pytest.mark.parametrize(
    "label", MEASURED or [pytest.param("", marks=pytest.mark.skip(reason="nothing is measured yet"))]
)
def test_what_is_estimated_is_what_was_measured(label):
    """The published figures, docs/capacity.md."""
    figures, case = read(), Case.named(label)
    said = Estimate.of(case.work())

    def measured(name: str) -> float:
        return figures[f"million.{name}" if label == "million" else f"capacity.{name}_{label}"].value

    within = {"rel": TOLERANCE}
    assert said.seconds / 60 == pytest.approx(measured("minutes"), **within)
    assert said.memory_bytes / 2**30 == pytest.approx(measured("peak_gib"), **within)
    assert said.disk_bytes / case.devices / 1000 == pytest.approx(measured("highest_kb"), **within)
    traffic = case.devices * 1000 * (measured("down_kb") + measured("up_kb"))
    assert said.traffic_bytes == pytest.approx(traffic, **within)


def test_a_run_s_work_is_that_of_its_people_and_its_plan():
    work = Work.of(setup_of("million", 2000))
    assert (work.fidelity, work.devices, work.categories, work.steps, work.rounds) == ("hosts", 2000, 12, 182, 18)
    assert Work.of(setup_of("demo", 300)).fidelity == "devices"


def test_only_long_runs_and_those_that_do_not_fit_are_announced():
    short, long = (Estimate(seconds, 2 * 2**30, 3e9, 0.0) for seconds in (LONG_S, 1500.0))
    assert announced(short, ENDLESS) == ""
    assert announced(long, ENDLESS) == (
        "about 25 minutes, 2.0 GiB of memory and 3.0 GB of disk on two cores (docs/capacity.md); "
        "Ctrl-C now, --resume later goes on"
    )
    assert "; too little is free here: 1.0 GiB of memory; Ctrl-C now" in announced(short, Room(2**30, 4e9))
    assert "; too little is free here: 1.0 GiB of memory and 2.5 GB of disk; " in announced(long, Room(2**30, 2.5e9))


@pytest.mark.parametrize("users", [1000, 1_000_000])
def test_a_run_is_refused_where_its_disk_is_surely_too_small_and_warned_of_where_it_may_be(
    users, tmp_path, monkeypatch
):
    """The disk is the machine's, its size is ours."""
    setup = setup_of("million", users)
    needed = Estimate.of(Work.of(setup)).disk_bytes

    def says(free: float) -> str:
        monkeypatch.setattr(checks.Room, "at", classmethod(lambda cls, folder: Room(1e15, free)))
        return checks.check_room(setup, tmp_path)

    with pytest.raises(ConfigError, match=f"MB of free disk for {users} users, got"):
        says((1 - TOLERANCE) * needed - 1)
    assert "of disk; Ctrl-C now" in says(0.9 * needed)
    assert "too little" not in says(needed)


class EnoughError(Exception):
    """What was to be seen was seen."""


def test_a_long_run_is_announced_before_anything_is_done(tmp_path):
    told, done = [], []

    def announce(line: str) -> None:
        told.append(line)
        raise EnoughError

    with pytest.raises(EnoughError):
        simulate(
            setup_of("million", LONG).scenario, tmp_path / "run", lambda *phase: done.append(phase), announce=announce
        )
    assert len(told) == 1 and told[0].startswith("about ") and not done
    assert not (tmp_path / "run").exists()


def test_the_command_says_so_on_a_line_of_its_own_and_can_be_stopped_there(tmp_path: Path):
    process = begin(("simulate", "million", "--users", str(LONG), "--out", "run"), tmp_path)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert line.startswith("about ") and line.endswith("; Ctrl-C now, --resume later goes on\n"), line
        assert stop(process, signal.SIGINT)
    finally:
        process.kill()


def test_a_short_run_says_nothing_of_it():
    assert announced(Estimate.of(Work.of(setup_of("million", 1000))), ENDLESS) == ""
