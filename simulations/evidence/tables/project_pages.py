"""What the project's own pages state, row by row: so that nothing is told of them in other words here."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..case import PROJECT, code
from ..fields import Field, missing
from .grounds import held_by


def rows_under(page: str, heading: str) -> list[list[str]]:
    """The cells of the tables under a heading of a page, without their heads, as plain text; none if the page is not here."""
    lines = [line for line in _section(page, heading).splitlines() if line.startswith("|")]
    bare = [[plain(cell) for cell in line.strip("|").split(" | ")] for line in lines]
    heads = {at - 1 for at, line in enumerate(lines) if re.fullmatch(r"[|\s:-]+", line)}
    return [cells for at, cells in enumerate(bare) if at not in heads and at - 1 not in heads]


def points_under(page: str, heading: str) -> list[tuple[str, str]]:
    """(what it begins with, the whole) of each point of the lists under a heading, as plain text."""
    found = re.findall(r"^(?:-|\d+\.) (.*(?:\n  +\S.*)*)", _section(page, heading), re.M)
    return [(_beginning(point), plain(point)) for point in found]


def stated(key: str, page: str, heading: str) -> list[Field]:
    """A field for each row, or point, under a heading of a page, with the tests that the page names for it; one that is missing
    if the page is not here, or says nothing there."""
    fields = list(_stated(key, page, heading))
    return fields or [missing(key, f'{page} is not here, or says nothing under "{heading}": a checkout has it')]


def _stated(key: str, page: str, heading: str) -> Iterator[Field]:
    if (PROJECT / page).is_file():
        said = [(cells[0], "; ".join(cell for cell in cells[1:] if cell)) for cells in rows_under(page, heading)]
        for row, value in said or points_under(page, heading):
            tests = dict.fromkeys(re.findall(r"tests/[\w/]+\.py", value))
            if value:
                yield Field(key, "measured", value, (code(page), *map(held_by, tests)), row)


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
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    found = re.search(rf"^##? {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return found[1] if found else ""
