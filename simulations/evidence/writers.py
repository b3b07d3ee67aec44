"""Every file of a folder of evidence, and who makes it: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from . import verifier
from .case import Case
from .document import DOCUMENT_FILE, Document, bytes_of, tables_of
from .fields import FieldTable
from .files.dpia import dpia_bytes
from .files.registry import registry_bytes
from .files.sbom import sbom
from .page.header import Header
from .page.pages import evidence_page, label, plain_page
from .page.words import Language

Page = Callable[[Header, Sequence[FieldTable], Language], str]


def _page(page: Page, language: Language, _: Case, document: Document) -> bytes:
    """A page about a document, in a language."""
    log = document.log
    header = Header(
        run=document.run,
        simulated=document.simulated,
        verifier="ebbtide verify RUN",
        check="ebbtide evidence RUN --check",
        key=log.key if log else "",
        checkpoint=log.note if log else "",
        commit=document.commit,
    )
    return page(header, tables_of(document), language).encode()


#: By name: what makes the file's bytes of a case and its document. The same two give the same bytes.
WRITERS: Final[Mapping[str, Callable[[Case, Document], bytes]]] = MappingProxyType(
    {
        DOCUMENT_FILE: lambda _, document: bytes_of(document),
        "evidence.html": partial(_page, evidence_page, "en"),
        "evidence.zh.html": partial(_page, evidence_page, "zh"),
        "plain.en.html": partial(_page, plain_page, "en"),
        "plain.zh.html": partial(_page, plain_page, "zh"),
        "label.en.html": partial(_page, label, "en"),
        "label.zh.html": partial(_page, label, "zh"),
        "registry.yaml": lambda _, document: registry_bytes(document),
        "dpia.json": lambda _, document: dpia_bytes(document),
        "sbom.json": lambda *_: sbom(),
        "verifier.py": lambda *_: Path(verifier.__file__).read_bytes(),
    }
)


def files_of(case: Case, document: Document) -> dict[str, bytes]:
    """All files of the folder, by name."""
    return {name: write(case, document) for name, write in WRITERS.items()}
