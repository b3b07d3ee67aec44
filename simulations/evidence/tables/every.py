"""Every table of answers, in the order in which a reviewer reads them. Whoever adds one adds a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..case import Case
from ..fields import FieldTable
from .anonymity import unclaimed_tables
from .audit import audit_tables
from .compute import compute_tables
from .controls import controls_tables
from .edpb_iso import lifecycle_tables
from .gdpr import gdpr_tables
from .identifiers import identifier_tables
from .messages import message_tables
from .nist import nist_tables
from .pipl import pipl_tables
from .privacy import privacy_tables
from .registry import registry_tables
from .reproduce import reproduce_tables
from .risks import risk_tables
from .robustness import robustness_tables
from .stored import stored_tables
from .supply import supply_tables
from .withdrawal import withdrawal_tables

TABLES: Final[tuple[Callable[[Case], list[FieldTable]], ...]] = (
    gdpr_tables,
    risk_tables,
    controls_tables,
    withdrawal_tables,
    pipl_tables,
    privacy_tables,
    nist_tables,
    lifecycle_tables,
    unclaimed_tables,
    identifier_tables,
    audit_tables,
    robustness_tables,
    compute_tables,
    message_tables,
    stored_tables,
    registry_tables,
    supply_tables,
    reproduce_tables,
)


def every_table(case: Case) -> list[FieldTable]:
    """All tables of a case, in their order."""
    return [table for tables in TABLES for table in tables(case)]
