"""What the project's own pages state, row by row: so that nothing is told of them in other words here."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.files import text_of

from .case import PROJECT, code
from .fields import Field, missing
from .grounds import held_by


def rows_under(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading of a page, without its head, as plain text; none if the page is not here."""
    table = re.search(r"(?:^\|.*\n?)+", _section(page, heading), re.M)
    lines = table[0].splitlines()[2:] if table else []
    return [[plain(cell) for cell in line.strip("|").split(" | ")] for line in lines]


def points_under(page: str, heading: str) -> list[tuple[str, str]]:
    """(what it begins with, the whole) of each point of the lists under a heading, as plain text."""
    found = re.findall(r"^(?:-|\d+\.) (.*(?:\n  +\S.*)*)", _section(page, heading), re.M)
    return [(_beginning(point), plain(point)) for point in found]


def stated(key: str, page: str, heading: str, held: tuple[str, ...] = ()) -> list[Field]:
    """A field for each row, or point, under a heading of a page: measured where the page names tests that hold it, or where `held`
    does, else a rule of the design. One that is missing if the page is not here, or says nothing there."""
    fields = list(_stated(key, page, heading, held))
    return fields or [missing(key, f'{page} is not here, or says nothing under "{heading}": a checkout has it')]


def _stated(key: str, page: str, heading: str, held: tuple[str, ...]) -> Iterator[Field]:
    if (PROJECT / page).is_file():
        said = [(cells[0], "; ".join(cell for cell in cells[1:] if cell)) for cells in rows_under(page, heading)]
        for row, value in said or points_under(page, heading):
            tests = dict.fromkeys([*re.findall(r"tests/[\w/]+\.py", value), *held])
            if value:
                yield Field(key, "measured" if tests else "configured", value, (code(page), *map(held_by, tests)), row)


def plain(text: str) -> str:
    """Markdown as text: the words of a link, no marks, one space for any.

    >>> plain("**One** of `a`, [see](#there)  <!-- c -->")
    'One of a, see'
    """
    text = re.sub(r"<!--.*?-->", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(re.sub(r"\*\*|`|(?<!\w)\*|\*(?!\w)", "", text).split())


def _beginning(point: str) -> str:
    bold = re.match(r"\*\*(.+?)\*\*", point)
    return plain(bold[1] if bold else re.split(r"[,.:;]", point, maxsplit=1)[0]).rstrip(".:,")


def _section(page: str, heading: str) -> str:
    file = PROJECT / page
    text = text_of(file) if file.is_file() else ""
    found = re.search(rf"^##? {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return found[1] if found else ""
