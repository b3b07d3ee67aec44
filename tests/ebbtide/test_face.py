"""`import ebbtide`: names that are there, and nothing loaded before one is used."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import ebbtide
from tests.promises.test_rooms import ROOT, packages_after

#: Modules that are there after `import ebbtide`, beside those that Python itself loads.
FRESH = """
import json, sys
before = set(sys.modules)
import ebbtide
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_every_name_is_there_and_says_what_it_is():
    assert sorted(dir(ebbtide)) == ebbtide.__all__ == sorted(ebbtide._WHERE)
    for name in ebbtide.__all__:
        found = getattr(ebbtide, name)
        assert inspect.getdoc(found), name
        assert found.__module__.split(".")[0] in ("simulations", "shared"), name


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ebbtide.nothing


def test_it_loads_next_to_nothing_and_neither_flower_nor_ray():
    done = subprocess.run([sys.executable, "-c", FRESH], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    foreign = {name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names}
    assert foreign == {"ebbtide"} and len(loaded) < 30
    assert not packages_after("ebbtide") & {"flwr", "ray", "numpy", "pandas", "simulations", "shared"}


def test_people_come_without_flower_and_ray():
    assert not packages_after("simulations.frames.people") & {"ray", "tensorflow", "matplotlib"}


def test_it_only_re_exports():
    """What type checkers see is what is given, from the same places."""
    tree = ast.parse(Path(ebbtide.__file__).read_text(encoding="utf-8"))
    shown = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert shown == ebbtide._WHERE
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
