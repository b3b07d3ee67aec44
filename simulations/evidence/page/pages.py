"""The pages themselves: one HTML file each that loads nothing and runs nothing, in one of the languages.

Whatever comes from elsewhere, an operator's answers above all, is written out where it would hide (`shown.visible`) and escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..fields import STATES, FieldTable, Source
from .facts import Facts
from .header import Header
from .layout import (
    BY_MESSAGE,
    LIGHTS,
    NOT_CLAIMED,
    OPERATORS,
    blanks,
    cited,
    counts,
    every_field,
    grounds_of_measured,
    groups_of,
    light_of,
    whole_of,
)
from .shown import is_figure, lines_of, number, shown
from .words import Language, Words

TEMPLATES: Final = Path(__file__).parent / "templates"
#: Of a table with more answers than these, a screen shows the first line; paper shows all.
MOST_UNFOLDED: Final = 12


def evidence_page(header: Header, tables: Sequence[FieldTable], language: Language) -> str:
    """All answers, for a reviewer: what is missing first, each with its ground and its sources, and how to check it."""
    claims = [table for table in tables if table.key.startswith(NOT_CLAIMED)]
    return _render(
        "evidence.html",
        language,
        header=header,
        tables=tables,
        claims=claims,
        answers=[table for table in tables if table not in claims],
        counts=counts(every_field(tables)),
        measured=grounds_of_measured(every_field(tables)),
        blanks=blanks(tables),
        cited=cited(tables),
        folded=MOST_UNFOLDED,
    )


def plain_page(header: Header, tables: Sequence[FieldTable], language: Language) -> str:
    """What a run does with what people do, in plain words, for them."""
    return _render("plain.html", language, header=header, facts=Facts.of(tables))


def label(header: Header, tables: Sequence[FieldTable], language: Language) -> str:
    """The same as a label on one page: what stays, what leaves, how sure that is, who sees what, how to leave."""
    return _render("label.html", language, header=header, facts=Facts.of(tables))


def file_link(source: Source) -> str:
    """Where a file of the run's folder lies, seen from the folder of evidence in it."""
    return f"../{quote(source.name)}"


def _render(template: str, language: Language, **values: object) -> str:
    return _environment().get_template(template).render(words=Words(language), **values)


@cache
def _environment() -> Environment:
    out = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    out.filters.update(number=number)
    out.globals.update(
        counts_of=counts,
        file_link=file_link,
        groups_of=groups_of,
        is_figure=is_figure,
        light_of=light_of,
        lights=LIGHTS,
        lines_of=lines_of,
        operators=OPERATORS,
        states=STATES,
        told_by_message=BY_MESSAGE,
        whole_of=whole_of,
    )
    return out
