"""Rivals from files: found by name, run as they are, and whatever is wrong with them is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import ConfigError, InputError
from simulations.rivals.code import load_rivals

CODE = """
from helper_of_theirs import weight
from simulations.rivals.scores import rival

def mine(history):
    return history.count.sum(-1) * weight

def share(history):
    return history.active.mean(-1)
share.of = "interest"

also = rival(share, of="interest", name="their share")
number = 3
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "helper_of_theirs.py").write_text("weight = 2.0\n")
    (tmp_path / "rules.py").write_text(CODE)
    (tmp_path / "broken.py").write_text("import numpy\n\nsecret = [4711]\nsecret[3]\n")
    (tmp_path / "unfinished.py").write_text("def rule(history):\n    return (\n")
    (tmp_path / "numpy.py").write_text("raise RuntimeError('theirs stood in for the real one')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "rules.py"


def test_functions_come_from_files_and_modules_under_their_names(file: Path) -> None:
    words = [f"{file}:mine", "own=rules.py:share", f"{file}:also", "rules:share"]
    found = load_rivals(words)
    assert [(each.name, each.of) for each in found] == [
        ("mine", "leaving"),
        ("own", "interest"),
        ("their share", "interest"),
        ("share", "interest"),
    ]
    history: Any = type("Past", (), {"count": np.ones((2, 3, 4))})
    assert found[0].rule(history).tolist() == [[8.0] * 3] * 2


WRONG = {
    "rules.py": "expected --rival",
    "rules.py:": "expected --rival",
    ":mine": "expected --rival",
    "nowhere.py:mine": "nowhere.py: it is not there",
    "no_such_module:mine": "expected a module or a file",
    "rules.py:other": "a function other in rules.py: it is not there",
    "rules.py:number": "expected a function as rival 'number', got int",
    "broken.py:rule": "broken.py to be imported, but it ended with IndexError at broken.py:4",
    "unfinished.py:rule": "it ended with SyntaxError at unfinished.py:2",
}


@pytest.mark.parametrize("word", WRONG)
def test_what_is_wrong_is_one_line_without_their_data(file: Path, word: str) -> None:
    with pytest.raises(InputError, match=WRONG[word]) as refused:
        load_rivals([word])
    assert "4711" not in str(refused.value) and "\n" not in str(refused.value)


def test_two_of_one_name_are_refused(file: Path) -> None:
    with pytest.raises(InputError, match="a name of its own for rival 'mine'"):
        load_rivals(["rules.py:mine", "mine=rules.py:share"])


def test_a_refusal_ends_a_command_with_2(file: Path) -> None:
    with pytest.raises(ConfigError):
        load_rivals(["nowhere.py:mine"])
