"""In which order a page tells the answers: what the operator owes first, then a light for each requirement, then all of them.

A light says how much of a requirement is answered, not whether the answer is good: nobody is told that something is lawful.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ..fields import STATES, Field, FieldTable, Source, State, measured_by

#: What an operator answers, by how its key begins; and the tables of what is not claimed.
OPERATORS: Final = "operator."
NOT_CLAIMED: Final = "claims-not-made"
#: Tables whose rows are messages, by how their keys begin.
BY_MESSAGE: Final = ("messages-", "privacy-account")

#: `answered`: every question has an answer. `operator`: what is missing is the operator's to say. `open`: something else is missing.
Light = Literal["answered", "operator", "open"]
LIGHTS: Final[tuple[Light, ...]] = ("answered", "operator", "open")


@dataclass(frozen=True)
class Group:
    """Fields that are told together: all of one thing (`row`), or one question (`key`) asked of several things, or one field."""

    fields: tuple[Field, ...]
    row: str = ""
    key: str = ""


@dataclass(frozen=True)
class Cited:
    """A source, and its number on the page."""

    number: int
    source: Source


def counts(fields: Iterable[Field]) -> Mapping[State, int]:
    """How many answers rest on each ground."""
    states = [field.state for field in fields]
    return {state: states.count(state) for state in STATES}


def grounds_of_measured(fields: Iterable[Field]) -> Mapping[str, int]:
    """How many measured answers rest on this run's own files, on the code and its tests, and on numbers published once."""
    rests = [measured_by(field.sources) for field in fields if field.state == "measured"]
    return {name: rests.count(name) for name in ("run", "code", "published")}


def every_field(tables: Iterable[FieldTable]) -> list[Field]:
    return [field for table in tables for field in table.fields]


def light_of(table: FieldTable) -> Light:
    """How much of a requirement is answered; a test that failed leaves it open, whatever is answered."""
    lacking = [field for field in table.fields if field.state == "missing"]
    failed = any(isinstance(field.value, Mapping) and field.value.get("result") == "failed" for field in table.fields)
    if failed or not all(field.key.startswith(OPERATORS) for field in lacking):
        return "open"
    return "operator" if lacking else "answered"


def blanks(tables: Iterable[FieldTable]) -> list[Field]:
    """What the operator has not answered yet, each question once, in the order of the tables."""
    lacking = (f for f in every_field(tables) if f.state == "missing" and f.key.startswith(OPERATORS))
    return list({field.name: field for field in reversed(list(lacking))}.values())[::-1]


def groups_of(fields: Sequence[Field]) -> Iterator[Group]:
    """The fields of a table in their order: neighbours that are about one thing together, or that ask one question."""
    at = 0
    while at < len(fields):
        first, end = fields[at], at + 1
        after = fields[end] if end < len(fields) else None
        if after and first.row and after.row == first.row:
            while end < len(fields) and fields[end].row == first.row:
                end += 1
            yield Group(tuple(fields[at:end]), row=first.row)
        elif after and after.key == first.key:
            while end < len(fields) and fields[end].key == first.key:
                end += 1
            yield Group(tuple(fields[at:end]), key=first.key)
        else:
            yield Group((first,), key=first.key)
        at = end


def cited(tables: Iterable[FieldTable]) -> dict[Source, Cited]:
    """Every source of the tables without its pointer, numbered from 1 as they come."""
    found: dict[Source, Cited] = {}
    for field in every_field(tables):
        for source in field.sources:
            whole = whole_of(source)
            if whole not in found:
                found[whole] = Cited(len(found) + 1, whole)
    return found


def whole_of(source: Source) -> Source:
    """A source without the place in it that is pointed at."""
    return Source(source.kind, source.name, source.sha256)
