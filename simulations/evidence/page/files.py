"""The pages as files of a folder of evidence: names, and what each is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from ..document import Document
from ..fields import Field, FieldTable, Source
from .header import Header
from .pages import evidence_page, label, plain_page
from .words import LANGUAGES, Language

Page = Callable[[Header, list[FieldTable], Language], str]
#: What each page is called, without its language; reviewers' own in English is what people open first.
PAGES: Final[Mapping[str, Page]] = MappingProxyType({"evidence": evidence_page, "plain": plain_page, "label": label})


def header_of(document: Document) -> Header:
    """What a page says of a document's run."""
    *verify, check = document.verify
    log = document.log
    return Header(
        run=document.run,
        simulated=document.simulated,
        verifier="\n".join(verify),
        check=check,
        key=log.key if log else "",
        checkpoint=log.note if log else "",
        commit=document.commit,
    )


def tables_of(document: Document) -> list[FieldTable]:
    """The answers of a document, as they were before they were written down."""
    return [
        FieldTable(
            table.key,
            tuple(
                Field(
                    a.key,
                    a.state,
                    a.value,
                    tuple(Source(s.kind, s.name, s.sha256, s.at) for s in a.sources),
                    a.row,
                    a.why,
                )
                for a in table.answers
            ),
        )
        for table in document.tables
    ]


def page_bytes(page: str, language: Language, document: Document) -> bytes:
    """One page of a document as its file holds it."""
    return PAGES[page](header_of(document), tables_of(document), language).encode()


def _name(page: str, language: Language) -> str:
    return f"{page}.html" if (page, language) == ("evidence", "en") else f"{page}.{language}.html"


#: By name: what makes the file's bytes of a document.
PAGE_FILES: Final[Mapping[str, Callable[[Document], bytes]]] = MappingProxyType(
    {_name(page, language): partial(page_bytes, page, language) for page in PAGES for language in LANGUAGES}
)
