"""Every file, name and command that a page, a docstring or a comment cites is there."""

import re
import tomllib

import pytest

from tests.world.cited import ROOT, Repository, prose_of

PAGES = [*(ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG")),
         *sorted((ROOT / "docs").glob("*.md"))]  # fmt: skip
CODE = ("client", "server", "shared", "simulations", "ebbtide")


@pytest.fixture(scope="module")
def repository() -> Repository:
    return Repository()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_name_of_a_page_is_there(repository, page):
    text, folder = page.read_text(encoding="utf-8"), page.parent.relative_to(ROOT).as_posix()
    assert repository.missing_files(text, folder) + repository.missing_names(text) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_exists(repository, page):
    assert repository.unknown_commands(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("room", (*CODE, "tests"))
def test_every_file_and_name_that_docstrings_and_comments_cite_is_there(repository, room):
    stale = {
        f"{file.relative_to(ROOT)}:{line}": found
        for file in sorted((ROOT / room).rglob("*.py"))
        for line, text in prose_of(file.read_text(encoding="utf-8"))
        if (found := repository.missing_files(text, str(file.parent)) + repository.missing_names(text))
    }
    assert stale == {}


@pytest.mark.parametrize("room", CODE)
def test_every_module_says_what_it_is(room):
    files = sorted((ROOT / room).rglob("*.py"))
    bare = [file for file in files if len(file.read_text(encoding="utf-8").partition("\n")[0]) < 20]
    assert bare == [], "a first line that says something"


BAD_FILES = {
    "a moved module": ("see client/vault.py for it", "client/vault.py"),
    "a file that was renamed": ("rules in `lapse.py` say so", "lapse.py"),
    "a page that is not there": ("[the wire](docs/wire.md)", "docs/wire.md"),
    "a link without an ending": ("[the licence](LICENCE)", "LICENCE"),
    "a folder": ("the rooms of simulations/insights/ are", "simulations/insights/"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_is_not_there_is_noticed(repository, case):
    text, missing = BAD_FILES[case]
    assert repository.missing_files(text) == [missing]


def test_files_that_are_there_are_not_complained_about(repository):
    text = "client/gate.py, `gate.py`, [a page](docs/learning.md), simulations/people/, `results.json`, e.g. 0.5.md5"
    assert repository.missing_files(text) == []
    assert repository.missing_files("[a page](learning.md)", "docs") == []


BAD_NAMES = {
    "a module": ("server.strategy averages", "server.strategy"),
    "a name of a module": ("client.gate.Door lets out", "client.gate.Door"),
    "a method of a class": ("`Device.told_before` says", "Device.told_before"),
    "a class that is gone": ("see `Rights`", "Rights"),
    "a name of a renamed module": ("as `rounds.score_table` does", "rounds.score_table"),
}


@pytest.mark.parametrize("case", BAD_NAMES)
def test_a_name_that_is_not_there_is_noticed(repository, case):
    text, missing = BAD_NAMES[case]
    assert repository.missing_names(text) == [missing]


def test_names_that_are_there_are_not_complained_about(repository):
    text = "`Device.forget`, client.gate.Gate.release, `Gate`, simulations.people, `data.seed`, `turn_rows.Silences`"
    assert repository.missing_names(text) == []


BAD_COMMANDS = (
    "make everything",
    "ebbtide simulates demo",
    "ebbtide simulate --nonsense demo",
    "ebbtide enrol sign --nonsense",
    "python -m tests.kill9",
    "python -m simulations.people.planted",
)


@pytest.mark.parametrize("command", BAD_COMMANDS)
def test_a_command_that_does_not_exist_is_noticed(repository, command):
    assert repository.unknown_commands(f"run `{command}` first") == [command]
    assert repository.unknown_commands(f"```console\n$ {command}\n```\n") == [command]


def test_commands_that_exist_are_not_complained_about(repository):
    text = (
        "`make demo`, `make figures ONLINE_RETAIL=folder`, `ebbtide simulate demo --users 5`, `python -m server.export`"
    )
    assert repository.unknown_commands(text) == []


def test_the_map_names_every_room_in_the_order_of_the_contracts():
    """ARCHITECTURE's three tables of layers are pyproject's, top to bottom."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for room in ("client", "server", "simulations"):
        table = page.split(f"| inside `{room}/`")[1].split("\n\n")[0].splitlines()[2:]
        drawn = [set(re.findall(r"`(\w+)(?:/|\.py)`", line.split("|")[1])) for line in table]
        layers = next(c["layers"] for c in contracts if c.get("containers") == [room])
        assert drawn == [{name.strip() for name in layer.split("|")} for layer in layers]
        here = {file.name.removesuffix(".py") for file in (ROOT / room).iterdir() if file.name[0] != "_"}
        assert here == set().union(*drawn), "every file and folder of the room stands in a layer"
