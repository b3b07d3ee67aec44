"""A command that somebody types by mistake: one line, exit code 2, before any work, and nothing is changed on the disk."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from simulations.cli.main import main
from tests.world.basics import SOAK
from tests.world.mistakes import fill, look, mistakes

ROOT = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to work in, with things in it that are not to be touched."""
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def keep_signals():
    """A command watches signals in its own way until its process ends; this process goes on."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def worked(*_: object, **__: object) -> None:
    raise AssertionError("work was begun")


def test_two_hundred_mistakes_are_one_line_and_exit_code_2(place, monkeypatch, capsys, keep_signals):
    monkeypatch.setattr("simulations.people.of_scenario.plant", worked)
    monkeypatch.setattr("simulations.streams.measure.curves", worked)
    monkeypatch.setattr("simulations.streams.measure.measure", worked)
    every, before, wrong = mistakes(place), look(place), []
    assert len(every) >= 200
    for arguments in every:
        code: object = 0
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code
        except AssertionError as begun:
            code = str(begun)
        err = capsys.readouterr().err
        if code != 2 or err.count("\n") != 1 or not err.startswith("ebbtide: "):
            wrong.append((arguments, code, err))
        if look(place) != before:
            wrong.append((arguments, "changed the disk", sorted(set(look(place)) ^ set(before))))
            break
    assert not wrong, "\n".join(map(repr, wrong))


def test_a_sample_of_them_as_processes(place):
    every, before = mistakes(place), look(place)
    for arguments in random.Random(7).sample(every, 40 if SOAK else 2):
        command = [sys.executable, "-m", "simulations.cli", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), (arguments, done.stderr)
        assert done.stderr.startswith("ebbtide: ")
    assert look(place) == before
