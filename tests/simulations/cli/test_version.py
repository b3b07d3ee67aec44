"""`ebbtide --version`, and completion for three shells, none of which needs a terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SHELLS = {
    "bash": "complete -o default -F _ebbtide_completion ebbtide",
    "zsh": "#compdef ebbtide",
    "fish": "complete --command ebbtide",
}


def said(*arguments: str, **environment: str) -> str:
    """What the command prints, called without a terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "simulations.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_version_is_that_of_the_package_with_its_commit():
    assert re.fullmatch(
        rf"ebbtide {re.escape(version('ebbtide'))}( \(commit [0-9a-f]+(-dirty)?\))?\n", said("--version")
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_is_shown_without_a_terminal(shell: str):
    assert SHELLS[shell] in said(_EBBTIDE_COMPLETE=f"source_{shell}")


def test_completion_is_shown_for_the_shell_that_asks():
    command = f"{sys.executable} -m simulations.cli --show-completion </dev/null; true"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert SHELLS["bash"] in done.stdout, done.stderr


def test_a_command_that_was_begun_is_completed():
    found = said(_EBBTIDE_COMPLETE="complete_bash", COMP_WORDS="ebbtide eval", COMP_CWORD="1")
    assert found.split() == ["evaluate"]
    options = said(_EBBTIDE_COMPLETE="complete_bash", COMP_WORDS="ebbtide simulate --ri", COMP_CWORD="2")
    assert options.split() == ["--rival"]
