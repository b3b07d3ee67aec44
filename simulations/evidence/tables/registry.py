"""The registry of deployments of differential privacy: what of its record only the operator knows. The rest is in the record."""

from __future__ import annotations

from ..case import Case
from ..fields import FieldTable
from ..grounds import declared

QUESTIONS = ("data_curators", "intended_use", "data_region", "data_sector", "publication_date", "registry_authors")


def registry_tables(case: Case) -> list[FieldTable]:
    """The operator's part of the record."""
    return [FieldTable("dp-registry", tuple(declared(case, question) for question in QUESTIONS))]
