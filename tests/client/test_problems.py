"""Every name that a device can count says what to do about it."""

import ast
import threading
from pathlib import Path

import pytest

from client.problems import ERRORS, FOREIGN, OWN_NAMES, Problems, what_to_do
from shared import errors
from tests.world.basics import view

CLIENT = Path(__file__).parents[2] / "client"


def counted_names() -> set[str]:
    """Names that the code of the device counts as they are: `problems["name"] += 1`."""
    found = set()
    for file in CLIENT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Subscript):
                of, at = ast.unparse(node.target.value), node.target.slice
                if of.endswith("problems") and isinstance(at, ast.Constant):
                    found.add(at.value)
    return found


def test_the_tables_are_complete_and_hold_nothing_else():
    of_the_tree = {
        name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.EbbtideError)
    }
    assert set(ERRORS) == of_the_tree
    assert set(OWN_NAMES) | set(ERRORS) >= counted_names() >= set(OWN_NAMES)


@pytest.mark.parametrize("name", [*OWN_NAMES, *ERRORS, "RuntimeError"])
def test_each_name_has_one_sentence_of_what_to_do(name):
    said = what_to_do(name)
    assert 40 < len(said) < 160 and not said.endswith(".") and ":" in said
    assert (said == FOREIGN) is (name == "RuntimeError")


def test_a_device_says_what_to_do_about_what_it_counted(new_device):
    device = new_device()
    assert device.advice() == {}
    device.record(view(0, category=99))
    device.record(None)
    assert list(device.advice()) == list(device.problems)
    assert device.advice()["event_out_of_range"] == OWN_NAMES["event_out_of_range"]


def test_problems_are_read_while_others_count():
    problems, ended = Problems(), threading.Event()

    def count():
        for i in range(20_000):
            problems[f"name {i % 5000}"] += 1
        ended.set()

    thread = threading.Thread(target=count)
    thread.start()
    seen = 0
    while not ended.is_set():
        seen = max(
            seen, sum(1 for _ in problems), len(dict(problems)), len([*problems.items(), *problems.values()]) // 2
        )
    thread.join()
    assert len(problems) == 5000 == len(problems.keys()) and sum(problems.values()) == 20_000 and seen <= 5000
