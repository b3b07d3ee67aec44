"""How many of a reviewer's questions about the demo's run have an answer that was measured, and how many have none."""

from __future__ import annotations

from pathlib import Path

from ..evidence.case import Case
from ..evidence.document import document_of
from .measured import Measured


def evidence_numbers(run: Path) -> dict[str, Measured]:
    """Of a run that has ended, without any answer of an operator's."""
    counts = document_of(Case.of(run)).counts
    total = f"of {sum(counts.model_dump().values())} answers, before the operator answers any"
    return {
        "evidence.fields_measured": Measured(counts.measured, None, "answers", total),
        "evidence.fields_missing": Measured(counts.missing, None, "answers", total),
    }
