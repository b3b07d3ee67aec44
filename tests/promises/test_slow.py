"""`make quick` is quick: a test that starts Flower or another environment says so, or fails."""

import subprocess
import sys
from functools import partial

import pytest

COMMANDS = [
    ["flwr", "--version"],
    ["flower-superlink", "--help"],
    [sys.executable, "-c", "import ray"],
    [sys.executable, "-m", "simulations.federation.flower_runtime"],
    ["elsewhere/.venv-tflite/bin/python", "-V"],
]
harmless = partial(subprocess.run, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("command", COMMANDS)
def test_who_is_not_marked_slow_starts_neither_flower_nor_another_environment(command):
    with pytest.raises(pytest.fail.Exception, match="to be marked slow"):
        harmless(command)


def test_any_other_process_is_nobody_s_business():
    assert harmless([sys.executable, "-c", "print('array')"]).stdout == b"array\n"


@pytest.mark.slow
def test_who_is_marked_slow_may():
    assert harmless([sys.executable, "-c", "print('flwr')"]).stdout == b"flwr\n"


@pytest.mark.parametrize("attempt", range(2))
def test_what_is_made_once_is_made_once(made_once, attempt):
    def make(folder):
        (folder / "word").write_text("whole")

    def make_again(folder):
        raise AssertionError("it is there")

    folder = made_once("for-test-slow", make)
    assert made_once("for-test-slow", make_again) == folder and (folder / "word").read_text() == "whole"
