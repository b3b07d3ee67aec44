"""Examples in docstrings are true: every `>>>` of the rooms that import in no time gives what stands below it."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("shared", "client")
LEFT_OUT = {"client/app.py"}  # needs Flower


def modules_with_examples() -> list[str]:
    files = sorted(file.relative_to(ROOT) for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    asked = [file for file in files if ">>> " in (ROOT / file).read_text(encoding="utf-8")]
    return [".".join(file.with_suffix("").parts) for file in asked if file.as_posix() not in LEFT_OUT]


MODULES = modules_with_examples()


def test_there_are_examples_in_both_rooms():
    assert len(MODULES) >= 8 and {module.partition(".")[0] for module in MODULES} == set(ROOMS)


@pytest.mark.parametrize("module", MODULES)
def test_examples_give_what_stands_below_them(module):
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted and not found.failed
