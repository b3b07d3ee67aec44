"""Every file of a folder of evidence, and who makes it: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from .case import Case
from .document import DOCUMENT_FILE, Document, bytes_of
from .files.dpia import dpia_bytes
from .files.registry import registry_bytes
from .files.sbom import sbom

#: By name: what makes the file's bytes of a case and its document. The same two give the same bytes.
WRITERS: Final[Mapping[str, Callable[[Case, Document], bytes]]] = MappingProxyType(
    {
        DOCUMENT_FILE: lambda _, document: bytes_of(document),
        "registry.yaml": lambda _, document: registry_bytes(document),
        "dpia.json": lambda _, document: dpia_bytes(document),
        "sbom.json": lambda *_: sbom(),
    }
)


def files_of(case: Case, document: Document) -> dict[str, bytes]:
    """All files of the folder, by name."""
    return {name: write(case, document) for name, write in WRITERS.items()}
