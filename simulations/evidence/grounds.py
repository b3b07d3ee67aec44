"""Fields by the ground that they stand on: quoted from a file of the run, read from the code, declared by the operator."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

from shared.errors import ConfigError
from shared.files import text_of

from .case import PROJECT, RESULTS, Case, code, pointer_part, value_at
from .fields import Field, Source, State, blank, missing

#: What stands where a file says null for an epsilon that has no end.
INFINITE: Final = "infinite: not private"
#: Numbers that were measured once, on made-up people, by the command that each of them names.
FIGURES: Final = "docs/figures.json"


def quoted(
    case: Case,
    key: str,
    pointer: str,
    *,
    name: str = RESULTS,
    row: str = "",
    state: State = "measured",
    why: str = "",
    tests: tuple[str, ...] = (),
) -> Field:
    """What a JSON file of the run's folder says at a pointer; missing, and why, where there is no such file or nothing in it."""
    if not case.has(name):
        return missing(key, f"{name} is not in the run's folder", row)
    try:
        value = value_at(case.json_of(name), pointer)
    except ConfigError:
        value = None
    if blank(value):
        return missing(key, why or f"{name} holds nothing at {pointer}: this run has none", row)
    return Field(key, state, value, (case.file(name, pointer), *map(held_by, tests)), row)


def chosen(case: Case, key: str, pointer: str, *, row: str = "", why: str = "", tests: tuple[str, ...] = ()) -> Field:
    """A setting, as the run's results say it."""
    return quoted(case, key, pointer, row=row, state="configured", why=why, tests=tests)


def epsilon(case: Case, key: str, name: str, pointer: str, row: str = "") -> Field:
    """An epsilon of a JSON file, where null is one without end; missing only where there is no such file."""
    found = quoted(case, key, pointer, name=name, row=row)
    if found.state == "missing" and case.has(name):
        return Field(key, "measured", INFINITE, (case.file(name, pointer),), row)
    return found


def of_code(
    key: str, value: Any, *names: str, row: str = "", tests: tuple[str, ...] = (), state: State = "measured"
) -> Field:
    """What the code says, read from it as it runs: `names` are its files, `tests` those that hold it to that. Missing
    where a page is not here, which comes with a checkout only."""
    if absent := [name for name in names if not (PROJECT / name).is_file()]:
        return missing(key, f"{absent[0]} is not here: it is in a checkout", row)
    return Field(key, state, value, (*map(code, names), *map(held_by, tests)), row)


def declared(case: Case, question: str) -> Field:
    """What the operator answered; missing, with the key to fill, if nothing."""
    key = f"operator.{question}"
    if question in case.answers:
        return Field(key, "declared", case.answers[question], (Source("operator", question),))
    return missing(key, f"the operator has not answered: `{question}` in the operator's file")


def held_by(name: str) -> Source:
    """A test of the project, as pytest names it, as a source."""
    return Source("test", name)


def figure(key: str, number: str, row: str = "") -> Field:
    """A number that was measured once, with what it is compared with and the command that makes it again; missing where it was
    not, or where there is no checkout."""
    known = figures()
    if number not in known:
        where = f"{FIGURES} has no {number}" if known else f"{FIGURES} is not here: it is in a checkout"
        return missing(key, where, row or number)
    entry = known[number]
    sources = code(FIGURES, f"/{pointer_part(number)}"), Source("command", entry["command"])
    return Field(key, "measured", entry, sources, row or number)


def figures() -> dict[str, Any]:
    """Every published number by its key; none without a checkout."""
    file = PROJECT / FIGURES
    return _figures(text_of(file)) if file.is_file() else {}


@cache
def _figures(text: str) -> dict[str, Any]:
    known: dict[str, Any] = json.loads(text)
    return known
